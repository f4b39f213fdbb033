/* load_hist: how latencies are spread: 32 steps to each power of two (so within 3 %), in
 * nanoseconds. Owns nothing. Never averages what it can count. */
#ifndef BENCH_LOAD_HIST_H
#define BENCH_LOAD_HIST_H

#include <stdint.h>

struct hist {
    uint64_t count, sum, max;
    uint64_t bucket[60 * 32];
};

void hist_add(struct hist *h, uint64_t ns);
uint64_t hist_at(const struct hist *h,
                 double fraction); /* the value not exceeded by it */
double hist_mean(const struct hist *h);

#endif
