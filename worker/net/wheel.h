/* wheel: one timer for all connections. Coarse (64 ms) and lazy: traffic only stamps a
 * time; an entry that comes due asks its owner, who may name a later time. Owns no entry;
 * one libevent timer, which ticks at least once a second. */
#ifndef WORKER_NET_WHEEL_H
#define WORKER_NET_WHEEL_H

#include "common/list.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#define WHEEL_GRAIN_MS 64
#define WHEEL_SLOTS 1024

struct wheel_entry {
    struct list link;
    int64_t due_ms; /* 0: not set */
};
struct wheel {
    struct list slots[WHEEL_SLOTS];
    uint64_t busy[WHEEL_SLOTS / 64]; /* a bit per slot that may hold entries */
    int64_t tick;                    /* next grain to look at */
    struct event timer;
    void (*on_due)(struct wheel_entry *entry,
                   int64_t now_ms);               /* the entry is unset when called */
    void (*on_second)(void *ctx, int64_t now_ms); /* about once a second: chores */
    void *ctx;
    int64_t last_second_ms, armed_ms;
    bool in_grace; /* behind a stand-still of the process */
};

int wheel_init(struct wheel *w, struct event_base *base,
               void (*on_due)(struct wheel_entry *, int64_t),
               void (*on_second)(void *, int64_t), void *ctx, int64_t now_ms);
void wheel_fini(struct wheel *w);
void wheel_entry_init(struct wheel_entry *e);
/* Sets or moves: never earlier than due_ms, at most a grain and a loop turn later. due_ms
 * 0 unsets. */
void wheel_set(struct wheel *w, struct wheel_entry *e, int64_t due_ms);
/* For tests: what the libevent timer calls. */
void wheel_advance(struct wheel *w, int64_t now_ms);

#endif
