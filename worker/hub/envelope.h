/* envelope: the message between servers as PROTOCOL §A8 has it: read from Redis, written
 * byte-exactly. Owns nothing; views live as long as the payload and the scratch. Never
 * re-serialises event and data. */
#ifndef WORKER_HUB_ENVELOPE_H
#define WORKER_HUB_ENVELOPE_H

#include "worker/hub/hub.h"

struct envelope {
    enum hub_kind kind;
    struct str target;                /* unescaped; p NULL for broadcast */
    struct str event_json, data_json; /* raw; data p NULL: absent */
    struct str exclude_json;          /* raw, of any type; p NULL: absent */
};
enum envelope_verdict { ENVELOPE_OK, ENVELOPE_OWN, ENVELOPE_BAD };

/* scratch: holds the target if that was escaped. *why: a few words when ENVELOPE_BAD. */
enum envelope_verdict envelope_read(struct str payload, struct str own_id,
                                    struct buf *scratch, struct envelope *out,
                                    const char **why);
/* Appends. The id of ev->except joins the exclude list (room and broadcast; the others
 * know none). */
void envelope_write(struct buf *out, struct str server_id, const struct hub_event *ev);
/* Appends what clients get: {"event":…,"data":…}. */
void envelope_delivery(struct buf *out, struct str event_json, struct str data_json);
/* Appends the channel it is published to. */
void envelope_channel(struct buf *out, enum hub_kind kind, struct str target);

#endif
