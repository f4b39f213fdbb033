/* bus_redis_life: the life of the pair of links: connecting, greeting, back-off,
 * liveness, loss; and the struct that the three bus_redis rooms share. Owns the timer and
 * what is said about it in the log. Never knows what a channel is. */
#ifndef WORKER_HUB_BUS_REDIS_LIFE_H
#define WORKER_HUB_BUS_REDIS_LIFE_H

#include "common/log.h"
#include "worker/hub/bus_redis.h"
#include "worker/hub/bus_redis_expect.h"
#include "worker/hub/bus_redis_link.h"

#include <event2/event_struct.h>

/* Silence that calls for a PING; twice as long without an answer to it is the end. */
#define LIFE_SILENT_MS 10000

enum life_state { LIFE_WAITING, LIFE_CONNECTING, LIFE_UP };

/* One of the two links with what it has asked. */
struct peer {
    struct redis_link link;
    struct expect_queue expects;
    bool is_ready;     /* greeted */
    int64_t pinged_ms; /* last PING for the sake of liveness */
};

struct bus_redis {
    struct bus bus; /* first */
    struct event_base *base;
    struct counters *counters;
    const struct addresses *book;
    struct redis_url url;
    struct buf prefix;
    size_t queue_max;
    int64_t connect_timeout_ms, silent_ms;

    struct peer pub, sub;
    enum life_state state;
    struct event timer; /* next attempt, end of this one, or a look at the links */
    unsigned failures, address; /* in a row; which of the host's addresses is tried */
    bool was_ever_up;
    int64_t up_ms;
    char where[400], why[256], told[256]; /* told: the last reason logged, "" while up */
    struct log_limit telling, refusals;

    struct buf channels; /* collected, formatted: of one kind only */
    uint32_t channels_n;
    bool are_leaving;
    uint64_t declared, confirmed;
    bool is_congested;
};

static inline struct peer *life_peer(struct redis_link *l)
{
    return container_of(l, struct peer, link);
}

void life_init(struct bus_redis *b);
void life_fini(struct bus_redis *b); /* every answer owed is given */
/* Both links end; it is tried again later. */
void life_fail(struct bus_redis *b, const char *why);
/* An error reply that only an operator can change. */
void life_refused(struct bus_redis *b, const char *what, struct str text);
/* The greeting of this link has been answered. */
void life_ready(struct bus_redis *b, struct peer *p);
/* The server has no password and was told one. */
void life_needless_password(struct bus_redis *b, const struct peer *p);

#endif
