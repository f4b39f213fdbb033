/* memory: how this process' heap is kept: where what lives as long as the process goes,
 * and when free pages return to the system. Owns the settings of malloc and what libevent
 * keeps for each descriptor. Never moves anything that is in use. */
#ifndef WORKER_NET_MEMORY_H
#define WORKER_NET_MEMORY_H

#include "common/base.h"

/* Once, before anything else: libevent's memory must come from one place. */
void memory_init(void);

struct memory {
    int64_t looked_ms;
    size_t kept; /* free bytes whose pages were given back already, or are too few */
};
/* About once a second: gives free pages back when many have become free. churn: about how
 * many bytes were used and freed since the last call, whatever is free now. */
void memory_look(struct memory *m, int64_t now_ms, size_t churn);

/* What n bytes of malloc's cost: its head, and the next multiple of 16. */
static inline size_t memory_block(size_t n)
{
    return MAX((n + 8 + 15) & ~(size_t)15, (size_t)32);
}

struct memory_use {
    size_t in_use, is_free; /* malloc's: handed out; kept for the next that asks */
    size_t descriptors;     /* what libevent keeps for each, once used */
};
void memory_measure(struct memory_use *out);

#endif
