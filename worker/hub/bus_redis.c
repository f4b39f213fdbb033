#include "worker/hub/bus_redis.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "worker/hub/bus_redis_expect.h"
#include "worker/hub/bus_redis_link.h"

#include <event2/event_struct.h>
#include <sys/un.h>

#define ROOM "bus"

#define CHANNELS_PER_COMMAND 512
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define HEALTHY_MS                                                                       \
    10000 /* up for so long: the next loss starts with the shortest back-off */
#define SILENT_MS                                                                        \
    10000 /* silence that calls for a PING; three times as long is the end */
#define SUBSCRIBE_OUT_MAX (64u << 20)
#define ACKS_MAX 65536 /* publishes with an answer owed */

enum state { STATE_WAITING, STATE_CONNECTING, STATE_UP };

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
    enum state state;
    struct event
        timer; /* the next attempt, the end of this one, or a look at the links */
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

static void arm(struct bus_redis *b, int64_t ms)
{
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    event_add(&b->timer, &tv);
}

/* ---- the end of a connection, and the wait for the next ---- */

static int64_t next_delay(struct bus_redis *b)
{
    uint32_t chance;
    int64_t base = (int64_t)BACKOFF_MIN_MS << MIN(b->failures, 10u);
    base = MIN(base, BACKOFF_MAX_MS);
    b->failures++;
    random_bytes(&chance, sizeof(chance));
    return base / 2 + (int64_t)(chance % (uint32_t)(base / 2 + 1));
}

static unsigned count_words(struct str s)
{
    unsigned n = 0;
    for (struct str word; s.n; n += word.n > 0)
        word = str_split(s, ' ', &s);
    return n;
}

/* A host's other addresses are tried at once, one after the other; then comes a pause. */
static int64_t delay_after(struct bus_redis *b, bool was_connecting)
{
    if (was_connecting && b->url.kind == REDIS_TCP &&
        ++b->address < count_words(addresses_find(b->book, str_of(b->url.host))))
        return 0;
    b->address = 0;
    return next_delay(b);
}

static bool may_tell(struct bus_redis *b)
{
    unsigned swallowed = 0;
    return log_permit(&b->telling, 4, 60000, &swallowed);
}

/* One line a change of state, and one when the reason changes. */
static void tell(struct bus_redis *b, bool was_up, bool is_refusal)
{
    bool is_news = was_up || !b->told[0];
    if (!is_news && (strcmp(b->told, b->why) == 0 || !may_tell(b)))
        return;
    snprintf(b->told, sizeof(b->told), "%s", b->why);
    enum log_level level = is_refusal ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN;
    LOG_AT(level, "%s Redis at %s: %s; trying again", was_up ? "lost" : "cannot use",
           b->where, b->why);
}

/* Each publish that was not answered counts as lost; each that somebody waits for is
 * answered. */
static void settle(struct bus_redis *b, struct expect_queue *q, uint64_t written)
{
    for (struct expect *e; (e = expect_first(q)); expect_drop_first(q)) {
        if (e->kind == EXPECT_PUBLISH || e->kind == EXPECT_PUBLISH_ACK)
            COUNT_ADD(b->counters, bus_publish_lost, e->left);
        if (e->kind == EXPECT_PUBLISH_ACK)
            e->fn(e->ctx, false, e->at < written ? "bus-uncertain" : b->why);
    }
    expect_fini(q);
}

static void hang_up(struct bus_redis *b)
{
    redis_link_close(&b->pub.link);
    redis_link_close(&b->sub.link);
    expect_fini(&b->sub.expects);
    b->pub.is_ready = b->sub.is_ready = false;
    buf_free(&b->channels);
    b->channels_n = 0;
    b->confirmed = b->declared;
    b->is_congested = false;
    COUNT_SET(b->counters, bus_up, 0);
    COUNT_SET(b->counters, bus_subscriptions, 0);
}

static void end_connection(struct bus_redis *b, const char *why, bool is_refusal)
{
    enum state was = b->state;
    if (was == STATE_WAITING)
        return;
    snprintf(b->why, sizeof(b->why), "%s", why);
    struct expect_queue unanswered = b->pub.expects;
    b->pub.expects = (struct expect_queue){0};
    hang_up(b);
    b->state = STATE_WAITING;
    if (was == STATE_UP && clock_now_ms() - b->up_ms >= HEALTHY_MS)
        b->failures = 0;
    arm(b, delay_after(b, was == STATE_CONNECTING));
    tell(b, was == STATE_UP, is_refusal);
    if (was == STATE_UP)
        b->bus.events.down(b->bus.ctx, b->why);
    settle(b, &unanswered, b->pub.link.written);
}

static void fail(struct bus_redis *b, const char *why)
{
    end_connection(b, why, false);
}

/* An error reply that only an operator can change. */
static void refused(struct bus_redis *b, const char *what, struct str text)
{
    char why[256];
    snprintf(why, sizeof(why), "%s: %s", what, log_esc(text));
    end_connection(b, why, true);
}

/* ---- connecting ---- */

static void command(struct peer *p, enum expect_kind kind, size_t n,
                    const struct str *arguments)
{
    redis_link_command(&p->link, n);
    for (size_t i = 0; i < n; i++)
        redis_link_argument(&p->link, STR_NONE, arguments[i]);
    expect_put(&p->expects, (struct expect){.kind = kind, .left = 1});
}

#define COMMAND(peer, kind, ...)                                                         \
    do {                                                                                 \
        const struct str arguments_[] = {__VA_ARGS__};                                   \
        command(peer, kind, ARRAY_LEN(arguments_), arguments_);                          \
    } while (0)

static struct bus_redis *bus_of(struct redis_link *l)
{
    return l->ctx;
}

static struct peer *peer_of(struct redis_link *l)
{
    return container_of(l, struct peer, link);
}

static void on_connected(struct redis_link *l)
{
    struct bus_redis *b = bus_of(l);
    struct peer *p = peer_of(l);
    struct str user = str_of(b->url.user), password = str_of(b->url.password);
    char db[16];
    snprintf(db, sizeof(db), "%u", b->url.db);
    if (password.n && user.n)
        COMMAND(p, EXPECT_AUTH, STR("AUTH"), user, password);
    else if (password.n)
        COMMAND(p, EXPECT_AUTH, STR("AUTH"), password);
    if (b->url.db)
        COMMAND(p, EXPECT_SELECT, STR("SELECT"), str_of(db));
    COMMAND(p, EXPECT_NAME, STR("CLIENT"), STR("SETNAME"), STR("heliod"));
    COMMAND(p, EXPECT_READY, STR("PING"));
    redis_link_flush(l);
}

static socklen_t tcp_address(struct bus_redis *b, struct sockaddr_storage *out)
{
    struct str rest = addresses_find(b->book, str_of(b->url.host)), ip = STR_NONE;
    for (unsigned i = 0; rest.n && i <= b->address;) {
        ip = str_split(rest, ' ', &rest);
        i += ip.n > 0;
    }
    if (!ip.n)
        return 0;
    snprintf(b->where, sizeof(b->where), "%s:%u (" STR_FMT ")", b->url.host, b->url.port,
             STR_ARG(ip));
    return address_parse(ip, b->url.port, out);
}

static socklen_t unix_address(const struct bus_redis *b, struct sockaddr_storage *out)
{
    struct sockaddr_un *un = (struct sockaddr_un *)out;
    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof(un->sun_path), "%s", b->url.path);
    return sizeof(*un);
}

static void attempt(struct bus_redis *b)
{
    struct sockaddr_storage ss = {0};
    struct sockaddr *sa = (struct sockaddr *)&ss;
    struct err e;
    b->state = STATE_CONNECTING;
    socklen_t n = b->url.kind == REDIS_TCP ? tcp_address(b, &ss) : unix_address(b, &ss);
    if (n == 0) {
        fail(b, "no address is known for the host");
        return;
    }
    arm(b, b->connect_timeout_ms);
    if (redis_link_open(&b->pub.link, sa, n, &e) != 0 ||
        redis_link_open(&b->sub.link, sa, n, &e) != 0)
        fail(b, e.text);
}

static void go_up(struct bus_redis *b)
{
    b->state = STATE_UP;
    b->up_ms = clock_now_ms();
    b->why[0] = b->told[0] = 0;
    if (b->was_ever_up)
        COUNT(b->counters, bus_reconnects);
    b->was_ever_up = true;
    COUNT_SET(b->counters, bus_up, 1);
    arm(b, MAX(b->silent_ms / 4, 1));
    log_info("connected to Redis at %s", b->where);
    b->bus.events.up(b->bus.ctx);
}

static void ready(struct bus_redis *b, struct peer *p)
{
    p->is_ready = true;
    if (b->pub.is_ready && b->sub.is_ready)
        go_up(b);
}

static void on_lost(struct redis_link *l, const char *why)
{
    fail(bus_of(l), why);
}

/* ---- liveness ---- */

/* Whole replies count, not bytes: a server that drips is as good as dead. Only an
 * unanswered PING condemns it: the one that was stopped for a while may have been this
 * process. false: the bus has gone down. */
static bool check_peer(struct bus_redis *b, struct peer *p, int64_t now)
{
    bool is_asked = p->pinged_ms > p->link.heard_ms;
    if (is_asked && now - p->pinged_ms >= 2 * b->silent_ms) {
        fail(b, "it has stopped answering");
        return false;
    }
    if (!is_asked && now - p->link.heard_ms >= b->silent_ms) {
        COMMAND(p, EXPECT_PING, STR("PING"));
        redis_link_flush(&p->link);
        p->pinged_ms = now;
    }
    return true;
}

static void on_timer(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct bus_redis *b = arg;
    int64_t now = clock_now_ms();
    switch (b->state) {
    case STATE_WAITING:
        attempt(b);
        break;
    case STATE_CONNECTING:
        fail(b, "it does not answer");
        break;
    case STATE_UP:
        arm(b, MAX(b->silent_ms / 4, 1));
        if (check_peer(b, &b->pub, now))
            check_peer(b, &b->sub, now);
        break;
    }
}

/* ---- replies ---- */

static void note_refusal(struct bus_redis *b, const char *command, struct str text)
{
    unsigned swallowed = 0;
    if (!log_permit(&b->refusals, 5, 60000, &swallowed))
        return;
    log_error("Redis refused %s: %s", command, log_esc(text));
    if (swallowed)
        log_error("%u more refusals before it", swallowed);
}

static void confirm(struct bus_redis *b, uint32_t channels)
{
    b->confirmed += channels;
    b->bus.events.confirmed(b->bus.ctx, b->confirmed);
}

/* A server without a password is told one: harmless, and other clients take it so too. */
static bool is_needless_password(struct str text)
{
    return memmem(text.p, text.n, "without any password", 20) ||
           memmem(text.p, text.n, "no password is set", 18);
}

static void on_auth_error(struct bus_redis *b, const struct peer *p, struct str text)
{
    if (!is_needless_password(text))
        refused(b, "AUTH was refused", text);
    else if (p == &b->pub && !b->was_ever_up && may_tell(b))
        log_warn("redis.url has a password, the server at %s has none", b->where);
}

/* The link stays, whatever the answer to one command. */
static void on_error(struct bus_redis *b, struct peer *p, struct expect e,
                     struct str text)
{
    switch (e.kind) {
    case EXPECT_AUTH:
        on_auth_error(b, p, text);
        break;
    case EXPECT_SELECT:
        refused(b, "its database cannot be selected", text);
        break;
    case EXPECT_NAME:
        log_debug("CLIENT SETNAME: %s", log_esc(text));
        break;
    case EXPECT_READY:
        if (str_starts(text, STR("NOPERM")))
            ready(b, p);
        else
            refused(b, "it answered", text);
        break;
    case EXPECT_PING:
        break; /* it lives */
    case EXPECT_SUBSCRIBE:
        note_refusal(b, "SUBSCRIBE", text);
        confirm(b, e.left); /* nothing more will come: nobody shall wait for it */
        break;
    case EXPECT_UNSUBSCRIBE:
        note_refusal(b, "UNSUBSCRIBE", text);
        break;
    case EXPECT_PUBLISH:
    case EXPECT_PUBLISH_ACK:
        COUNT(b->counters, bus_publish_lost);
        note_refusal(b, "PUBLISH", text);
        if (e.kind == EXPECT_PUBLISH_ACK)
            e.fn(e.ctx, false, log_esc(text));
        break;
    }
}

/* A plain answer to a command that has just one. */
static void on_answer(struct bus_redis *b, struct peer *p, struct expect e)
{
    if (e.kind == EXPECT_READY)
        ready(b, p);
    if (e.kind == EXPECT_PUBLISH || e.kind == EXPECT_PUBLISH_ACK)
        COUNT(b->counters, bus_published);
    if (e.kind == EXPECT_PUBLISH_ACK)
        e.fn(e.ctx, true, "");
}

static void on_interest(struct bus_redis *b, struct peer *p, enum expect_kind kind,
                        const struct link_reply *r)
{
    const struct expect *e = expect_first(&p->expects);
    if (!e || e->kind != kind) {
        fail(b, "it confirmed what was not asked");
        return;
    }
    COUNT_SET(b->counters, bus_subscriptions, r->integer);
    bool is_whole = expect_answered(&p->expects);
    if (kind != EXPECT_SUBSCRIBE)
        return;
    b->confirmed++;
    if (is_whole)
        confirm(b, 0);
}

static void on_message(struct bus_redis *b, struct str channel, struct str payload)
{
    COUNT(b->counters, bus_received);
    if (!str_starts(channel, buf_view(&b->prefix)))
        return;
    struct str name = {channel.p + b->prefix.n, channel.n - b->prefix.n};
    b->bus.events.message(b->bus.ctx, name, payload);
}

/* What comes on a subscribed link: messages and confirmations. true: that was it. */
static bool take_push(struct bus_redis *b, struct peer *p, const struct link_reply *r)
{
    if (r->type != LINK_ARRAY || p != &b->sub || b->state != STATE_UP || r->n != 3)
        return false;
    if (str_is(r->element[0], "message"))
        on_message(b, r->element[1], r->element[2]);
    else if (str_is(r->element[0], "subscribe"))
        on_interest(b, p, EXPECT_SUBSCRIBE, r);
    else if (str_is(r->element[0], "unsubscribe"))
        on_interest(b, p, EXPECT_UNSUBSCRIBE, r);
    else
        return false;
    return true;
}

static bool is_answer_to(const struct expect *e, const struct link_reply *r)
{
    if (r->type == LINK_ERROR)
        return true;
    if (r->type == LINK_ARRAY) /* PING on a subscribed link */
        return e->kind == EXPECT_PING && r->n && str_is(r->element[0], "pong");
    if (e->kind == EXPECT_SUBSCRIBE || e->kind == EXPECT_UNSUBSCRIBE)
        return false;
    bool is_status = r->type == LINK_STATUS;
    bool is_publish = e->kind == EXPECT_PUBLISH || e->kind == EXPECT_PUBLISH_ACK;
    return is_status != is_publish;
}

static void on_reply(struct redis_link *l, const struct link_reply *r)
{
    struct bus_redis *b = bus_of(l);
    struct peer *p = peer_of(l);
    if (take_push(b, p, r))
        return;
    const struct expect *first = expect_first(&p->expects);
    if (!first && r->type == LINK_ERROR) {
        refused(b, "it says", r->text);
        return;
    }
    if (!first || !is_answer_to(first, r)) {
        fail(b, "it answered what was not asked");
        return;
    }
    struct expect e = *first;
    if (r->type != LINK_ERROR) {
        expect_answered(&p->expects);
        on_answer(b, p, e);
        return;
    }
    if (e.kind == EXPECT_PUBLISH)
        expect_answered(&p->expects);
    else
        expect_drop_first(&p->expects);
    on_error(b, p, e, r->text);
}

static const struct redis_link_events link_events = {on_connected, on_reply, on_lost};

/* ---- the bus' verbs ---- */

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
    if (b->state != STATE_UP)
        return;
    collect(b, channel, false);
    b->declared++;
}

static void unsubscribe(struct bus *bus, struct str channel)
{
    if (self(bus)->state == STATE_UP)
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
    if (b->state != STATE_UP)
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
    return b->state == STATE_UP && (!b->is_congested || has_room(b, 0));
}

static const char *why_down(struct bus *bus)
{
    struct bus_redis *b = self(bus);
    return b->state == STATE_UP && b->is_congested ? "the publish queue is full" : b->why;
}

static void flush(struct bus *bus)
{
    struct bus_redis *b = self(bus);
    if (b->state != STATE_UP)
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
    event_del(&b->timer);
    snprintf(b->why, sizeof(b->why), "the bus is closed");
    b->state = STATE_WAITING;
    hang_up(b);
    settle(b, &b->pub.expects, b->pub.link.written);
    redis_link_fini(&b->pub.link);
    redis_link_fini(&b->sub.link);
    buf_free(&b->prefix);
    mem_wipe_free(b, sizeof(*b)); /* the password */
}

static const struct bus_ops ops = {
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .publish = publish,
    .publish_acked = publish_acked,
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
    b->silent_ms = SILENT_MS;
    buf_str(&b->prefix, conf->prefix);
    snprintf(b->why, sizeof(b->why), "not connected yet");
    bus_redis_configure(&b->bus, conf);
    redis_link_init(&b->pub.link, base, &link_events, b);
    redis_link_init(&b->sub.link, base, &link_events, b);
    evtimer_assign(&b->timer, base, on_timer, b);
    arm(b, 0);
    return &b->bus;
}
