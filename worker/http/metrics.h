/* metrics: the counters of all workers as Prometheus reads them (text format 0.0.4). Owns
 * the list of those who wait for the supervisor's answer; one question is under way at a
 * time, however many ask. Never counts anything itself. */
#ifndef WORKER_HTTP_METRICS_H
#define WORKER_HTTP_METRICS_H

#include "common/buf.h"
#include "common/counters.h"
#include "common/list.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics {
    struct list waiting;
    bool is_asked;
    bool (*ask)(void *ctx); /* puts the question to the supervisor; false: cannot */
    void *ctx;
};
struct metrics_wait {
    struct list link; /* unlink it to wait no longer */
    void (*fn)(struct metrics_wait *w, struct str page);
};

void metrics_init(struct metrics *m, bool (*ask)(void *ctx), void *ctx);
/* fn is called once, perhaps before metrics_await returns; page p NULL: there is none. */
void metrics_await(struct metrics *m, struct metrics_wait *w,
                   void (*fn)(struct metrics_wait *w, struct str page));
/* The answer: a struct counters for each slot. */
void metrics_came(struct metrics *m, struct str pages);
/* It does not come: the next one asks again. */
void metrics_give_up(struct metrics *m);

/* Appends the page. */
void metrics_write(struct buf *out, const struct counters *slots, size_t n);

#endif
