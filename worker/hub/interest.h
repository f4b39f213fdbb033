/* interest: which channels Redis must send us: the rooms and users that have members
 * here, and each client's own two. Owns the lingering of empty rooms, the re-subscription
 * after a reconnect and those who wait for a confirmation. Never keeps a list of
 * channels: what is wanted is read from the rooms and the connections. */
#ifndef WORKER_HUB_INTEREST_H
#define WORKER_HUB_INTEREST_H

#include "worker/hub/rooms.h"
#include "worker/hub/sweep.h"

struct interest {
    struct net *net;
    struct rooms *rooms;
    struct bus *bus; /* NULL: down */
    uint32_t epoch;  /* of the bus connection: rooms of an older one are not subscribed */
    int64_t linger_ms;
    struct list idle;  /* empty rooms, by due time */
    struct list waits; /* hub_wait, by mark */
    struct event linger;
    struct sweep sweep;
    size_t sweep_left; /* connections (from the end of net->conns) still to be declared
                          again */
};

void interest_init(struct interest *in, struct net *net, struct rooms *rooms);
void interest_fini(struct interest *in);
void interest_set_linger(struct interest *in, int64_t linger_ms);

/* A room that has members, or gets one now: makes sure of its subscription. */
void interest_room(struct interest *in, struct room *room);
/* It has become empty: forgotten after the linger, unless somebody comes back. */
void interest_room_empty(struct interest *in, struct room *room);
void interest_client(struct interest *in, const struct conn *c);
void interest_client_gone(struct interest *in, const struct conn *c);

void interest_up(struct interest *in, struct bus *b);
void interest_down(struct interest *in);
void interest_confirmed(struct interest *in, uint64_t mark);
void interest_await(struct interest *in, struct hub_wait *w,
                    void (*fn)(struct hub_wait *w));

#endif
