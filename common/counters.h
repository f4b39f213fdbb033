/* counters: one page per slot in a memfd sealed against shrinking: one writer (the
 * worker), any reader, no round trip. Owns the mapping it made. Never reset while the
 * supervisor lives: a successor goes on counting; gauges are zeroed by it. */
#ifndef COMMON_COUNTERS_H
#define COMMON_COUNTERS_H

#include "common/err.h"

struct counters {
#define COUNTER(name, kind, help) uint64_t name;
#include "common/counters.def"
};
struct counter_row {
    const char *name, *help;
    bool is_gauge;
    size_t offset;
};
extern const struct counter_row counter_rows[];
extern const size_t counter_rows_n;

/* A new zeroed page: returns its descriptor and the mapping. */
int counters_create(struct counters **out, struct err *e) NODISCARD;
struct counters *counters_map(int fd, struct err *e) NODISCARD; /* in the worker */
void counters_unmap(struct counters *c);
void counters_zero_gauges(struct counters *c);
/* A whole value, read from another process. */
uint64_t counters_read(const struct counters *c, const struct counter_row *row);

/* One writer: a relaxed store is enough. */
#define COUNT(c, name) COUNT_ADD(c, name, 1)
#define COUNT_ADD(c, name, by)                                                           \
    __atomic_store_n(&(c)->name, (c)->name + (uint64_t)(by), __ATOMIC_RELAXED)
#define COUNT_SET(c, name, v)                                                            \
    __atomic_store_n(&(c)->name, (uint64_t)(v), __ATOMIC_RELAXED)

#endif
