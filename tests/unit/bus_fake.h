/* bus_fake: the tests' bus: writes down what the hub asks of it and says what it is told
 * to say. The log has a line per act: "+channel", "-channel", "P channel payload", "C
 * argument argument …". Calls wait for bus_fake_answer, in order. */
#ifndef TESTS_UNIT_BUS_FAKE_H
#define TESTS_UNIT_BUS_FAKE_H

#include "common/buf.h"
#include "worker/hub/bus.h"

struct bus_fake {
    struct bus bus;
    bool is_up, refuses; /* refuses: publishes come back -1 */
    uint64_t marked, confirmed;
    struct buf log;
    bus_ack_fn ack; /* of the last publish_acked */
    void *ack_ctx;
    struct str prefix;
    struct bus_fake_call {
        bus_reply_fn fn;
        void *ctx;
    } calls[64]; /* unanswered */
    size_t calls_n;
};

static inline struct bus_fake *bus_fake_of(struct bus *b)
{
    return (struct bus_fake *)b;
}
static inline void bus_fake_subscribe(struct bus *b, struct str channel)
{
    bus_fake_of(b)->marked++;
    buf_printf(&bus_fake_of(b)->log, "+" STR_FMT "\n", STR_ARG(channel));
}
static inline void bus_fake_unsubscribe(struct bus *b, struct str channel)
{
    buf_printf(&bus_fake_of(b)->log, "-" STR_FMT "\n", STR_ARG(channel));
}
static inline int bus_fake_publish(struct bus *b, struct str channel, struct str payload)
{
    struct bus_fake *f = bus_fake_of(b);
    if (!f->is_up || f->refuses)
        return -1;
    buf_printf(&f->log, "P " STR_FMT " " STR_FMT "\n", STR_ARG(channel),
               STR_ARG(payload));
    return 0;
}
static inline void bus_fake_publish_acked(struct bus *b, struct str channel,
                                          struct str payload, bus_ack_fn fn, void *ctx)
{
    struct bus_fake *f = bus_fake_of(b);
    if (bus_fake_publish(b, channel, payload) != 0) {
        fn(ctx, false, "down");
        return;
    }
    f->ack = fn;
    f->ack_ctx = ctx;
}
static inline void bus_fake_call(struct bus *b, const struct str *argv, size_t n,
                                 bus_reply_fn fn, void *ctx)
{
    struct bus_fake *f = bus_fake_of(b);
    if (!f->is_up || f->refuses) {
        fn(ctx, &(struct bus_reply){.type = BUS_DOWN, .text = STR("told so")});
        return;
    }
    buf_char(&f->log, 'C');
    for (size_t i = 0; i < n; i++)
        buf_printf(&f->log, " " STR_FMT, STR_ARG(argv[i]));
    buf_char(&f->log, '\n');
    BUG_ON(f->calls_n == ARRAY_LEN(f->calls));
    f->calls[f->calls_n++] = (struct bus_fake_call){fn, ctx};
}
/* The oldest call is answered. */
static inline void bus_fake_answer(struct bus_fake *f, struct bus_reply reply)
{
    BUG_ON(f->calls_n == 0);
    struct bus_fake_call first = f->calls[0];
    memmove(f->calls, f->calls + 1, --f->calls_n * sizeof(first));
    first.fn(first.ctx, &reply);
}
static inline struct str bus_fake_prefix(const struct bus *b)
{
    return ((const struct bus_fake *)b)->prefix;
}
static inline uint64_t bus_fake_mark(struct bus *b)
{
    return bus_fake_of(b)->marked;
}
static inline uint64_t bus_fake_confirmed(struct bus *b)
{
    return bus_fake_of(b)->confirmed;
}
static inline bool bus_fake_is_up(struct bus *b)
{
    return bus_fake_of(b)->is_up;
}
static inline const char *bus_fake_why_down(UNUSED struct bus *b)
{
    return "told so";
}
static inline void bus_fake_flush(UNUSED struct bus *b) {}
static inline void bus_fake_close(struct bus *b)
{
    buf_free(&bus_fake_of(b)->log);
}

static inline void bus_fake_init(struct bus_fake *f, const struct bus_events *events,
                                 void *ctx)
{
    static const struct bus_ops ops = {
        .subscribe = bus_fake_subscribe,
        .unsubscribe = bus_fake_unsubscribe,
        .publish = bus_fake_publish,
        .publish_acked = bus_fake_publish_acked,
        .call = bus_fake_call,
        .prefix = bus_fake_prefix,
        .mark = bus_fake_mark,
        .confirmed = bus_fake_confirmed,
        .is_up = bus_fake_is_up,
        .why_down = bus_fake_why_down,
        .flush = bus_fake_flush,
        .close = bus_fake_close,
    };
    *f = (struct bus_fake){.bus = {&ops, *events, ctx}};
}
static inline void bus_fake_up(struct bus_fake *f)
{
    f->is_up = true;
    f->bus.events.up(f->bus.ctx);
}
static inline void bus_fake_down(struct bus_fake *f)
{
    f->is_up = false;
    f->confirmed = f->marked;
    f->bus.events.down(f->bus.ctx, "told so");
    while (f->calls_n)
        bus_fake_answer(f, (struct bus_reply){BUS_UNCERTAIN, STR("told so"), 0});
}
static inline void bus_fake_confirm(struct bus_fake *f, uint64_t mark)
{
    f->confirmed = mark;
    f->bus.events.confirmed(f->bus.ctx, mark);
}
static inline void bus_fake_receive(struct bus_fake *f, const char *channel,
                                    const char *payload)
{
    f->bus.events.message(f->bus.ctx, str_of(channel), str_of(payload));
}
/* How often that line stands in the log. */
static inline unsigned bus_fake_did(struct bus_fake *f, const char *line)
{
    unsigned n = 0;
    struct str rest = buf_view(&f->log);
    while (rest.n)
        n += str_is(str_split(rest, '\n', &rest), line);
    return n;
}

#endif
