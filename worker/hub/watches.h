/* watches: who wants to know that the bus comes and goes. Owns the order in which they
 * hear of it; a watch is embedded in whatever watches. Never says "up" before all topics
 * are confirmed, nor "down" to anyone who was not told "up". */
#ifndef WORKER_HUB_WATCHES_H
#define WORKER_HUB_WATCHES_H

#include "worker/hub/hub.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct watches {
    struct hub *hub;
    const struct topics *topics;
    struct list fresh; /* each watch is in one of these: nothing is under way, … */
    struct list asked; /* … it waits for the confirmation, … */
    struct list told;  /* … it knows that the bus is up */
    struct event look;
};

void watches_init(struct watches *ws, struct hub *h, const struct topics *topics,
                  struct event_base *base);
void watches_fini(struct watches *ws); /* those that are left hear nothing more */
void watches_add(struct watches *ws, struct hub_watch *w);
/* All topics are declared in this connection. */
void watches_declared(struct watches *ws);
/* Nobody waits for a confirmation any more. */
void watches_down(struct watches *ws, const char *why);

#endif
