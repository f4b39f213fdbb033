/* load_flow: who says what to whom, how much of it may be under way, and the account of
 * every message: each receiver gets each of a sender's messages whole, once, in order,
 * and nobody else's. Owns senders and accounts. Never opens a connection. */
#ifndef BENCH_LOAD_FLOW_H
#define BENCH_LOAD_FLOW_H

#include "load_conn.h"
#include "load_hist.h"

struct flow_plan {
    uint32_t conns, room_size; /* 0: one sender, everybody listens; 1: each for itself */
    uint32_t size, window;
    double rate; /* messages a second of each sender; 0: as the window permits */
    bool feed;   /* the one sender is load_feed, not a connection */
};
struct flow_account {
    uint64_t sent, received, lost, duplicated, reordered, corrupted, misrouted;
};

void flow_init(const struct flow_plan *plan, struct conn *conns); /* all are ready */
void flow_start(void);
void flow_stop(void); /* nothing new is said */
void flow_measure(bool on);
void flow_message(struct conn *c, const char *p, size_t n);
void flow_refill(void);         /* after what came was told */
uint64_t flow_say_due(void);    /* at a rate: says what is due; when the next is */
bool flow_is_complete(void);    /* everything that was said has been heard */
uint64_t flow_deliveries(void); /* in the measured window */
uint64_t flow_heard(void);      /* in all */
const struct hist *flow_latencies(void);
struct flow_account flow_settle(void);

#endif
