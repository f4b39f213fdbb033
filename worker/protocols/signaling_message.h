/* signaling_message: what peers say (PROTOCOL part B): judged, and rewritten so that
 * nobody can speak in another's name. Owns nothing. Pure; never looks into what peers
 * tell each other. */
#ifndef WORKER_PROTOCOLS_SIGNALING_MESSAGE_H
#define WORKER_PROTOCOLS_SIGNALING_MESSAGE_H

#include "common/scan.h"

enum signal_type { SIGNAL_BAD, SIGNAL_PING, SIGNAL_LEAVE, SIGNAL_RELAY };

struct signal_parts {
    struct scan_value to; /* type SCAN_BAD: absent */
    const char *fault;    /* SIGNAL_BAD: a sentence */
};
enum signal_type signal_read(struct str text, struct signal_parts *out);

/* Appends a message that was SIGNAL_RELAY: every member as it came, but no `from`,
 * however it was spelt, except ours at the end. */
void signal_write(struct buf *out, struct str text, struct str id, struct str role);

#endif
