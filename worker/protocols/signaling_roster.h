/* signaling_roster: who is in a room, wherever they are connected, as its log has told.
 * Owns its peers. Never decides who may be in it. */
#ifndef WORKER_PROTOCOLS_SIGNALING_ROSTER_H
#define WORKER_PROTOCOLS_SIGNALING_ROSTER_H

#include "common/uuid.h"

struct signaling_member;
struct peer {
    struct uuid id, worker;
    char *role;
    struct signaling_member *member; /* NULL: connected elsewhere, or leaving */
    const char *reason; /* of a local one that is leaving: what the others will be told;
                           static. NULL: none */
    uint16_t code;      /* … and the code; of a lost one that may return: with which */
    bool is_away;
    bool is_marked; /* for whoever compares */
};
/* Peers are in the order in which they came; rooms are small, so they are searched. */
struct roster {
    struct peer *v;
    uint16_t n, cap;
};

void roster_free(struct roster *r);
/* NULL: not there. Pointers are good until the next put or remove. */
struct peer *roster_find(const struct roster *r, const struct uuid *id);
struct peer *roster_put(struct roster *r, const struct uuid *id,
                        const struct uuid *worker, struct str role);
void roster_remove(struct roster *r, struct peer *p);
void roster_unmark(struct roster *r);

#endif
