#include "worker/hub/bus_redis_life.h"

#include "common/clock.h"
#include "common/uuid.h"
#include "worker/hub/bus_redis_reply.h"

#include <sys/un.h>

#define ROOM "bus"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define HEALTHY_MS 10000    /* up for so long: the next back-off starts anew */
#define STARTING_FAILURES 4 /* of the first attempts: about a second and a half */

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

/* The managed Redis starts when we do: that it is not there at once is no news. */
static bool is_starting(const struct bus_redis *b)
{
    return b->url.kind == REDIS_MANAGED && !b->was_ever_up &&
           b->failures <= STARTING_FAILURES;
}

/* One line a change of state, and one when the reason changes. */
static void tell(struct bus_redis *b, bool was_up, bool is_refusal)
{
    if (is_starting(b) && !is_refusal)
        return;
    bool is_news = was_up || !b->told[0];
    if (!is_news && (strcmp(b->told, b->why) == 0 || !may_tell(b)))
        return;
    snprintf(b->told, sizeof(b->told), "%s", b->why);
    enum log_level level = is_refusal ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN;
    LOG_AT(level, "%s Redis at %s: %s; trying again", was_up ? "lost" : "cannot use",
           b->where, b->why);
}

/* What was asked and will not be answered any more. Taken from the bus, which may be
 * closed by the first who hears of it. */
struct unanswered {
    struct expect_queue expects;
    uint64_t written; /* bytes of the link */
    struct counters *counters;
    char why[256];
};

static struct unanswered take_unanswered(struct bus_redis *b)
{
    struct unanswered u = {b->pub.expects, b->pub.link.written, b->counters, ""};
    b->pub.expects = (struct expect_queue){0};
    snprintf(u.why, sizeof(u.why), "%s", b->why);
    return u;
}

static void settle_one(const struct unanswered *u, struct expect e)
{
    bool was_sent = e.at < u->written;
    if (e.kind == EXPECT_PUBLISH || e.kind == EXPECT_PUBLISH_ACK)
        COUNT_ADD(u->counters, bus_publish_lost, e.left);
    if (e.kind == EXPECT_PUBLISH_ACK)
        e.fn(e.ctx, false, was_sent ? "bus-uncertain" : u->why);
    if (e.kind == EXPECT_CALL)
        e.reply(e.ctx, &(struct bus_reply){was_sent ? BUS_UNCERTAIN : BUS_DOWN,
                                           str_of(u->why), 0});
}

/* Each publish that was not answered counts as lost; everybody who waits is answered. */
static void settle(struct unanswered *u)
{
    for (struct expect *e; (e = expect_first(&u->expects));
         expect_drop_first(&u->expects))
        settle_one(u, *e);
    expect_fini(&u->expects);
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
    enum life_state was = b->state;
    if (was == LIFE_WAITING)
        return;
    snprintf(b->why, sizeof(b->why), "%s", why);
    struct unanswered unanswered = take_unanswered(b);
    hang_up(b);
    b->state = LIFE_WAITING;
    if (was == LIFE_UP && clock_now_ms() - b->up_ms >= HEALTHY_MS)
        b->failures = 0;
    arm(b, delay_after(b, was == LIFE_CONNECTING));
    tell(b, was == LIFE_UP, is_refusal);
    if (was == LIFE_UP)
        b->bus.events.down(b->bus.ctx, b->why);
    settle(&unanswered); /* the bus may be closed by now */
}

void life_fail(struct bus_redis *b, const char *why)
{
    end_connection(b, why, false);
}

void life_refused(struct bus_redis *b, const char *what, struct str text)
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

static void on_connected(struct redis_link *l)
{
    struct bus_redis *b = l->ctx;
    struct peer *p = life_peer(l);
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
    b->state = LIFE_CONNECTING;
    socklen_t n = b->url.kind == REDIS_TCP ? tcp_address(b, &ss) : unix_address(b, &ss);
    if (n == 0) {
        life_fail(b, "no address is known for the host");
        return;
    }
    arm(b, b->connect_timeout_ms);
    if (redis_link_open(&b->pub.link, sa, n, &e) != 0 ||
        redis_link_open(&b->sub.link, sa, n, &e) != 0)
        life_fail(b, e.text);
}

static void go_up(struct bus_redis *b)
{
    b->state = LIFE_UP;
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

void life_needless_password(struct bus_redis *b, const struct peer *p)
{
    if (p == &b->pub && !b->was_ever_up && may_tell(b))
        log_warn("redis.url has a password, the server at %s has none", b->where);
}

void life_ready(struct bus_redis *b, struct peer *p)
{
    p->is_ready = true;
    if (b->pub.is_ready && b->sub.is_ready)
        go_up(b);
}

static void on_lost(struct redis_link *l, const char *why)
{
    life_fail(l->ctx, why);
}

/* ---- liveness ---- */

/* Whole replies count, not bytes: a server that drips is as good as dead. Only an
 * unanswered PING condemns it: the one that was stopped for a while may have been this
 * process. false: the bus has gone down. */
static bool check_peer(struct bus_redis *b, struct peer *p, int64_t now)
{
    bool is_asked = p->pinged_ms > p->link.heard_ms;
    redis_link_rest(&p->link);
    if (is_asked && now - p->pinged_ms >= 2 * b->silent_ms) {
        life_fail(b, "it has stopped answering");
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
    case LIFE_WAITING:
        attempt(b);
        break;
    case LIFE_CONNECTING:
        life_fail(b, "it does not answer");
        break;
    case LIFE_UP:
        arm(b, MAX(b->silent_ms / 4, 1));
        if (check_peer(b, &b->pub, now))
            check_peer(b, &b->sub, now);
        break;
    }
}

/* ---- birth and end ---- */

static const struct redis_link_events link_events = {
    .connected = on_connected,
    .reply = reply_take,
    .takes_any = reply_takes_any,
    .lost = on_lost,
};

void life_init(struct bus_redis *b)
{
    b->silent_ms = LIFE_SILENT_MS;
    snprintf(b->why, sizeof(b->why), "not connected yet");
    redis_link_init(&b->pub.link, b->base, &link_events, b);
    redis_link_init(&b->sub.link, b->base, &link_events, b);
    evtimer_assign(&b->timer, b->base, on_timer, b);
    arm(b, 0);
}

void life_fini(struct bus_redis *b)
{
    event_del(&b->timer);
    snprintf(b->why, sizeof(b->why), "the bus is closed");
    b->state = LIFE_WAITING;
    struct unanswered unanswered = take_unanswered(b);
    hang_up(b);
    settle(&unanswered);
    redis_link_fini(&b->pub.link);
    redis_link_fini(&b->sub.link);
}
