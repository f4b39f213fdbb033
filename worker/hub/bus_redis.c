#include "worker/hub/bus_redis.h"

#include "common/mem.h"
#include "worker/hub/bus_redis_life.h"

#define CHANNELS_PER_COMMAND 512
#define SUBSCRIBE_OUT_MAX (64u << 20)
#define ACKS_MAX 65536 /* answers owed */

static struct bus_redis *self(struct bus *bus)
{
    return container_of(bus, struct bus_redis, bus);
}

/* The collected channels become one command. */
static void issue(struct bus_redis *b)
{
    if (b->channels_n == 0)
        return;
    struct redis_link *l = &b->sub.link;
    redis_link_command(l, b->channels_n + 1u);
    redis_link_argument(l, STR_NONE,
                        b->are_leaving ? STR("UNSUBSCRIBE") : STR("SUBSCRIBE"));
    redis_link_raw(l, buf_view(&b->channels));
    enum expect_kind kind = b->are_leaving ? EXPECT_UNSUBSCRIBE : EXPECT_SUBSCRIBE;
    expect_put(&b->sub.expects, (struct expect){.kind = kind, .left = b->channels_n});
    buf_clear(&b->channels);
    b->channels_n = 0;
}

static void collect(struct bus_redis *b, struct str channel, bool is_leaving)
{
    if (b->channels_n == CHANNELS_PER_COMMAND || b->are_leaving != is_leaving)
        issue(b);
    b->are_leaving = is_leaving;
    redis_link_format(&b->channels, buf_view(&b->prefix), channel);
    b->channels_n++;
}

static void subscribe(struct bus *bus, struct str channel)
{
    struct bus_redis *b = self(bus);
    if (b->state != LIFE_UP)
        return;
    collect(b, channel, false);
    b->declared++;
}

static void unsubscribe(struct bus *bus, struct str channel)
{
    if (self(bus)->state == LIFE_UP)
        collect(self(bus), channel, true);
}

/* An empty queue takes one message of any size. Once over the limit, half of it must be
 * free again. */
static bool has_room(struct bus_redis *b, size_t more)
{
    struct redis_link *l = &b->pub.link;
    if (redis_link_unsent(l) && redis_link_unsent(l) + more > b->queue_max)
        redis_link_flush(l);
    size_t unsent = redis_link_unsent(l);
    if (b->is_congested)
        b->is_congested = unsent > b->queue_max / 2;
    else
        b->is_congested = unsent && unsent + more > b->queue_max;
    return !b->is_congested;
}

/* NULL, or why it was not sent. */
static const char *send_publish(struct bus_redis *b, struct str channel,
                                struct str payload, struct expect e)
{
    if (b->state != LIFE_UP)
        return b->why;
    if (!has_room(b, channel.n + payload.n))
        return "the publish queue is full";
    struct redis_link *l = &b->pub.link;
    e.left = 1;
    e.at = l->queued;
    redis_link_command(l, 3);
    redis_link_argument(l, STR_NONE, STR("PUBLISH"));
    redis_link_argument(l, buf_view(&b->prefix), channel);
    redis_link_argument(l, STR_NONE, payload);
    expect_put(&b->pub.expects, e);
    return NULL;
}

static int publish(struct bus *bus, struct str channel, struct str payload)
{
    struct expect e = {.kind = EXPECT_PUBLISH};
    return send_publish(self(bus), channel, payload, e) ? -1 : 0;
}

static void publish_acked(struct bus *bus, struct str channel, struct str payload,
                          bus_ack_fn fn, void *ctx)
{
    struct expect e = {.kind = EXPECT_PUBLISH_ACK, .fn = fn, .ctx = ctx};
    const char *why = self(bus)->pub.expects.n < ACKS_MAX
                          ? send_publish(self(bus), channel, payload, e)
                          : "too many publishes are unanswered";
    if (why)
        fn(ctx, false, why);
}

static size_t bytes_of(const struct str *argv, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += argv[i].n;
    return bytes;
}

/* NULL, or why it is not sent. */
static const char *why_no_call(struct bus_redis *b, size_t bytes)
{
    if (b->state != LIFE_UP)
        return b->why;
    if (b->pub.expects.n >= ACKS_MAX)
        return "too many calls are unanswered";
    return has_room(b, bytes) ? NULL : "the publish queue is full";
}

static void call(struct bus *bus, const struct str *argv, size_t n, bus_reply_fn fn,
                 void *ctx)
{
    struct bus_redis *b = self(bus);
    struct redis_link *l = &b->pub.link;
    BUG_ON(n == 0); /* Redis would not answer */
    const char *why = why_no_call(b, bytes_of(argv, n));
    if (why) {
        fn(ctx, &(struct bus_reply){.type = BUS_DOWN, .text = str_of(why)});
        return;
    }
    expect_put(
        &b->pub.expects,
        (struct expect){
            .kind = EXPECT_CALL, .left = 1, .at = l->queued, .reply = fn, .ctx = ctx});
    redis_link_command(l, n);
    for (size_t i = 0; i < n; i++)
        redis_link_argument(l, STR_NONE, argv[i]);
}

static struct str prefix(const struct bus *bus)
{
    const struct bus_redis *b = container_of(bus, const struct bus_redis, bus);
    return buf_view(&b->prefix);
}

static uint64_t mark(struct bus *bus)
{
    return self(bus)->declared;
}

static uint64_t confirmed(struct bus *bus)
{
    return self(bus)->confirmed;
}

static bool is_up(struct bus *bus)
{
    struct bus_redis *b = self(bus);
    return b->state == LIFE_UP && (!b->is_congested || has_room(b, 0));
}

static const char *why_down(struct bus *bus)
{
    struct bus_redis *b = self(bus);
    return b->state == LIFE_UP && b->is_congested ? "the publish queue is full" : b->why;
}

static void flush(struct bus *bus)
{
    struct bus_redis *b = self(bus);
    if (b->state != LIFE_UP)
        return;
    issue(b);
    redis_link_flush(&b->sub.link);
    redis_link_flush(&b->pub.link);
    if (redis_link_unsent(&b->sub.link) > SUBSCRIBE_OUT_MAX)
        redis_link_break(&b->sub.link, "it does not take our subscriptions");
}

static void bus_close(struct bus *bus)
{
    struct bus_redis *b = self(bus);
    flush(bus);
    life_fini(b);
    buf_free(&b->prefix);
    mem_wipe_free(b, sizeof(*b)); /* the password */
}

static const struct bus_ops ops = {
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .publish = publish,
    .publish_acked = publish_acked,
    .call = call,
    .prefix = prefix,
    .mark = mark,
    .confirmed = confirmed,
    .is_up = is_up,
    .why_down = why_down,
    .flush = flush,
    .close = bus_close,
};

/* ---- birth ---- */

static int set_address(struct bus_redis *b, const struct conf_redis *conf,
                       struct str managed_socket, struct err *e)
{
    if (redis_url_parse(conf->url, &b->url, e) != 0)
        return -1;
    if (b->url.kind == REDIS_MANAGED) {
        if (managed_socket.n == 0 || managed_socket.n >= sizeof(b->url.path))
            return err_set(e, "the managed Redis has no usable socket path");
        memcpy(b->url.path, managed_socket.p, managed_socket.n);
        b->url.path[managed_socket.n] = 0;
    }
    struct str password = conf->password.value;
    if (password.n >= sizeof(b->url.password))
        return err_set(e, "redis.password is longer than %zu bytes",
                       sizeof(b->url.password) - 1);
    if (password.n) {
        memcpy(b->url.password, password.p, password.n);
        b->url.password[password.n] = 0;
    }
    if (b->url.kind == REDIS_TCP)
        snprintf(b->where, sizeof(b->where), "%s:%u", b->url.host, b->url.port);
    else
        snprintf(b->where, sizeof(b->where), "unix:%s", b->url.path);
    return 0;
}

void bus_redis_configure(struct bus *bus, const struct conf_redis *conf)
{
    self(bus)->queue_max = (size_t)conf->queue;
    self(bus)->connect_timeout_ms = conf->connect_timeout;
}

void bus_redis_set_silence(struct bus *bus, int64_t silent_ms)
{
    self(bus)->silent_ms = silent_ms;
}

struct bus *bus_redis_open(struct event_base *base, const struct conf_redis *conf,
                           struct str managed_socket, const struct addresses *book,
                           struct counters *counters, const struct bus_events *events,
                           void *ctx, struct err *e)
{
    struct bus_redis *b = NEW(struct bus_redis);
    if (set_address(b, conf, managed_socket, e) != 0) {
        mem_wipe_free(b, sizeof(*b));
        return NULL;
    }
    b->bus = (struct bus){&ops, *events, ctx};
    b->base = base;
    b->counters = counters;
    b->book = book;
    buf_str(&b->prefix, conf->prefix);
    bus_redis_configure(&b->bus, conf);
    life_init(b);
    return &b->bus;
}
