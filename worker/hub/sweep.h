/* sweep: after a reconnect everything is declared to the bus again, paced: so much in a
 * turn of the loop, and no more than so many channels unanswered. Owns its timer. Never
 * knows what is declared. */
#ifndef WORKER_HUB_SWEEP_H
#define WORKER_HUB_SWEEP_H

#include "worker/hub/bus.h"

#include <event2/event_struct.h>

struct sweep {
    struct event timer;
    struct bus *bus; /* NULL: at rest */
    /* Declares what is next; returns how much work that was, 0: nothing is left. */
    size_t (*next)(struct sweep *s);
    void (*done)(struct sweep *s); /* or NULL */
};

void sweep_init(struct sweep *s, struct event_base *base, size_t (*next)(struct sweep *s),
                void (*done)(struct sweep *s));
void sweep_fini(struct sweep *s);
/* Begins, from the loop: done is never called before sweep_start returns. */
void sweep_start(struct sweep *s, struct bus *b);
void sweep_stop(struct sweep *s); /* safe at rest; done is not called */
/* The bus has confirmed something: goes on, if it was waiting for that. */
void sweep_confirmed(struct sweep *s);

#endif
