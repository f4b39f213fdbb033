/* top: samples of what every worker does, and the rates between two of them.
 * Owns nothing but the samples it is given. Never asks for more than the list of workers
 * and the counters. */
#ifndef CTL_TOP_H
#define CTL_TOP_H

#include "common/buf.h"

#define TOP_SLOTS 256  /* the most `workers` can be */
#define TOP_SEATS 1024 /* workers of one sample, retiring ones included */

enum top_rate {
    TOP_MESSAGES_IN,
    TOP_MESSAGES_OUT,
    TOP_BYTES_IN,
    TOP_BYTES_OUT,
    TOP_WRITES,
    TOP_RATES
};

/* A worker in a sample. */
struct top_seat {
    int64_t slot, worker, pid, uptime_ms, connections, websockets;
    char state[16];
};
struct top_sample {
    int64_t at_us;
    size_t seats_n;
    struct top_seat seats[TOP_SEATS];
    uint64_t counts[TOP_SLOTS][TOP_RATES]; /* of a slot, not a worker: a successor goes on
                                              counting */
};

/* client_row_fns; ctx: the sample. */
void top_add_worker(void *ctx, struct str row);
void top_add_counter(void *ctx, struct str row);

/* Per second; -1: not known (no earlier sample, or the counter went backwards: another
 * broker). */
double top_rate(const struct top_sample *before, const struct top_sample *now,
                int64_t slot, enum top_rate rate);
/* 1234567 → "1.2M", -1 → "-" */
void top_format(struct buf *b, double rate);

#endif
