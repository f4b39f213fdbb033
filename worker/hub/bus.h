/* bus: the seam between the hub and Redis: channels in, payloads in and out, in order.
 * Owns nothing; implementations are bus_redis and the tests' bus_fake. Never queues for a
 * dead link, never replays. */
#ifndef WORKER_HUB_BUS_H
#define WORKER_HUB_BUS_H

#include "common/err.h"
#include "common/str.h"

struct bus;

/* Given at birth. Views die when the call returns. */
struct bus_events {
    void (*message)(void *ctx, struct str channel,
                    struct str payload);         /* channel without the prefix */
    void (*confirmed)(void *ctx, uint64_t mark); /* all interest up to this mark stands */
    void (*up)(void *ctx); /* both links stand; nothing is subscribed: declare all
                              interest again */
    void (*down)(void *ctx, const char *why);
};
typedef void (*bus_ack_fn)(void *ctx, bool ok, const char *why);

/* What Redis said to a command. text: of BUS_TEXT what it is, of the last three why, in
 * words; it dies when the call returns. */
enum bus_reply_type {
    BUS_TEXT,   /* a bulk or simple string */
    BUS_NUMBER, /* an integer */
    BUS_NIL,
    BUS_ERROR,     /* Redis refused it: its own words; or it answered with an array */
    BUS_DOWN,      /* nothing was sent */
    BUS_UNCERTAIN, /* sent, never answered: it may have been carried out */
};
struct bus_reply {
    enum bus_reply_type type;
    struct str text;
    long long number;
};
typedef void (*bus_reply_fn)(void *ctx, const struct bus_reply *r);

struct bus_ops {
    void (*subscribe)(
        struct bus *b,
        struct str channel); /* collected; sent by flush; ignored while down */
    void (*unsubscribe)(struct bus *b, struct str channel);
    /* 0, or -1 while down or when the queue is over its limit: nothing was sent. */
    int (*publish)(struct bus *b, struct str channel, struct str payload);
    /* Calls fn exactly once: after Redis' reply, or with ok false (why "bus-uncertain":
     * sent but unanswered). */
    void (*publish_acked)(struct bus *b, struct str channel, struct str payload,
                          bus_ack_fn fn, void *ctx);
    /* Any command that answers with one value, on the publishing link: what was asked
     * before is carried out before. The arguments are copied; nothing is prefixed. Calls
     * fn exactly once, perhaps before call returns; after `down`, when the bus is lost.
     * fn may call again, and may close the bus. */
    void (*call)(struct bus *b, const struct str *argv, size_t n, bus_reply_fn fn,
                 void *ctx);
    struct str (*prefix)(const struct bus *b); /* of channels and keys */
    uint64_t (*mark)(
        struct bus *b); /* after the last subscribe so far; counts channels */
    uint64_t (*confirmed)(struct bus *b); /* the highest confirmed mark */
    bool (*is_up)(struct bus *b);
    const char *(*why_down)(struct bus *b);
    void (*flush)(struct bus *b); /* end of turn: one write per link */
    /* What can be written at once still is; everybody who waits is answered. No event
     * follows. */
    void (*close)(struct bus *b);
};
struct bus {
    const struct bus_ops *ops;
    struct bus_events events;
    void *ctx; /* of the events */
};

#endif
