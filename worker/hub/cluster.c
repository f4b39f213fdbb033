#include "worker/hub/cluster.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/scan.h"

#include <unistd.h>

#define ROOM "cluster"
#define CHANNEL_ALL TOPIC_PREFIX "w"
#define ABOUT_MAX 1024
#define MEMBERS_MAX 1024 /* as cluster.lua lists them */

extern const struct str cluster_lua;
static struct script script = {.text = &cluster_lua};
static const struct str keys[] = {STR(TOPIC_PREFIX "{workers}"),
                                  STR(TOPIC_PREFIX "{workers}:about")};

struct cluster {
    struct hub *hub;
    struct net *net;
    struct cluster_self self;
    struct buf about; /* of this worker, for the register */
    struct topic all, own;
    struct hub_watch watch;
    struct event renew;
    struct renewal *renewal; /* under way */
    struct list asks;
    unsigned asks_n;
    uint64_t last_ask;
    size_t held; /* bytes of all answers */
    bool has_left;
    struct log_limit malformed, unregistered;
};

/* A question under way. Redis owes the list of members even after its end. */
struct ask {
    struct list link;
    struct cluster *cluster;
    uint64_t id;
    cluster_answered_fn fn; /* NULL: it is over */
    void *ctx;
    struct event deadline;
    struct cluster_member *v;
    size_t n, cap;
    bool is_listed;
};

/* Outlives the cluster if need be. */
struct renewal {
    struct cluster *cluster;
};

static const char *const what_names[] = {
    [CLUSTER_ROOMS] = "rooms",
    [CLUSTER_ROOM] = "room",
    [CLUSTER_USER] = "user",
    [CLUSTER_STATS] = "stats",
    [CLUSTER_KICK_CLIENT] = "kick-client",
    [CLUSTER_KICK_USER] = "kick-user",
};
static_assert(ARRAY_LEN(what_names) == CLUSTER_WHATS, "a name for each");

/* ---- the register ---- */

static void arm(struct event *ev, int64_t ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    event_add(ev, &tv);
}

/* about empty: it leaves. question empty: none. */
static void enter(struct cluster *c, struct str id, struct str about, struct str question,
                  bus_reply_fn fn, void *ctx)
{
    char lease[16];
    snprintf(lease, sizeof(lease), "%d", CLUSTER_LEASE_MS);
    struct str args[] = {id, about, str_of(lease), question};
    hub_eval(c->hub, &script, keys, ARRAY_LEN(keys), args, ARRAY_LEN(args), fn, ctx);
}

static void renew(struct cluster *c, struct str question, bus_reply_fn fn, void *ctx)
{
    enter(c, str_of(hub_server_id(c->hub)), c->has_left ? STR_NONE : buf_view(&c->about),
          question, fn, ctx);
}

static void on_renewed(void *ctx, const struct bus_reply *r)
{
    struct renewal *renewal = ctx;
    struct cluster *c = renewal->cluster;
    unsigned swallowed = 0;
    free(renewal);
    if (!c)
        return;
    c->renewal = NULL;
    if (r->type == BUS_ERROR && log_permit(&c->unregistered, 1, 60000, &swallowed))
        log_warn("not in the register of workers, the HTTP API cannot show them all: %s "
                 "unlogged=%u",
                 log_esc(r->text), swallowed);
}

/* Between up and down, also while the bus takes no call for a while. */
static void on_renew(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct cluster *c = arg;
    if (c->has_left)
        return;
    arm(&c->renew, CLUSTER_RENEW_MS);
    if (c->renewal)
        return; /* Redis has not answered the last one yet */
    c->renewal = NEW(struct renewal);
    c->renewal->cluster = c;
    renew(c, STR_NONE, on_renewed, c->renewal);
}

static void on_up(struct hub_watch *w)
{
    on_renew(-1, 0, container_of(w, struct cluster, watch));
}

static void on_down(struct hub_watch *w, UNUSED const char *why)
{
    event_del(&container_of(w, struct cluster, watch)->renew);
}

static void on_struck(UNUSED void *ctx, UNUSED const struct bus_reply *r) {}

static void strike_off(struct cluster *c, struct str id)
{
    enter(c, id, STR_NONE, STR_NONE, on_struck, NULL);
}

void cluster_leave(struct cluster *c)
{
    if (c->has_left)
        return;
    c->has_left = true;
    event_del(&c->renew);
    strike_off(c, str_of(hub_server_id(c->hub)));
}

void cluster_lost(struct cluster *c, struct str server_id)
{
    strike_off(c, server_id);
}

/* ---- messages ---- */

static void drop(struct cluster *c, const char *why)
{
    unsigned swallowed = 0;
    COUNT(c->net->counters, bus_malformed);
    if (log_permit(&c->malformed, 5, 60000, &swallowed))
        log_warn("dropped a message of another worker: %s unlogged=%u", why, swallowed);
}

static bool is_uuid(const struct scan_value *v)
{
    struct uuid ignored;
    return v->type == SCAN_STRING && v->plain && v->raw.n == UUID_TEXT + 2 &&
           uuid_parse((struct str){v->raw.p + 1, UUID_TEXT}, &ignored);
}

static struct str uuid_of(const struct scan_value *v)
{
    return (struct str){v->raw.p + 1, UUID_TEXT};
}

static bool read_what(const struct scan_value *v, enum cluster_what *out)
{
    for (unsigned i = 0; v->type == SCAN_STRING && i < CLUSTER_WHATS; i++) {
        if (scan_string_is(v, what_names[i])) {
            *out = (enum cluster_what)i;
            return true;
        }
    }
    return false;
}

static void write_question(const struct cluster *c, uint64_t id,
                           const struct cluster_question *q, struct buf *out)
{
    buf_printf(out, "{\"from\":\"%s\",\"ask\":%" PRIu64 ",\"what\":\"%s\",\"name\":",
               hub_server_id(c->hub), id, what_names[q->what]);
    buf_json(out, q->name);
    buf_str(out, STR(",\"after\":"));
    buf_json(out, q->after);
    buf_printf(out, ",\"limit\":%u}", q->limit);
}

static void answer(struct cluster *c, struct str to, uint64_t ask,
                   const struct cluster_question *q)
{
    struct buf channel = {0}, text = {0};
    buf_printf(&channel, CHANNEL_ALL ":" STR_FMT, STR_ARG(to));
    buf_printf(&text, "{\"ask\":%" PRIu64 ",\"from\":\"%s\",\"about\":", ask,
               hub_server_id(c->hub));
    buf_str(&text, buf_view(&c->about));
    buf_str(&text, STR(",\"answer\":"));
    c->self.answer(c->self.ctx, q, &text);
    buf_char(&text, '}');
    hub_publish_raw(c->hub, buf_view(&channel), buf_view(&text));
    buf_free(&channel);
    buf_free(&text);
}

static void on_question(struct topic *t, struct str payload)
{
    enum { FROM, ASK, WHAT, NAME, AFTER, LIMIT, MEMBERS };
    struct cluster *c = container_of(t, struct cluster, all);
    struct scan_member m[MEMBERS] = {{"from"}, {"ask"},   {"what"},
                                     {"name"}, {"after"}, {"limit"}};
    struct cluster_question q = {0};
    struct buf name = {0}, after = {0};
    uint64_t ask, limit;
    if (scan_text(payload, m, MEMBERS) == SCAN_OBJECT && is_uuid(&m[FROM].value) &&
        str_to_u64(m[ASK].value.raw, UINT64_MAX, &ask) &&
        read_what(&m[WHAT].value, &q.what) && m[NAME].value.type == SCAN_STRING &&
        m[AFTER].value.type == SCAN_STRING &&
        str_to_u64(m[LIMIT].value.raw, CLUSTER_LIMIT_MAX, &limit) && limit > 0) {
        q.name = scan_string(&m[NAME].value, &name);
        q.after = scan_string(&m[AFTER].value, &after);
        q.limit = (unsigned)limit;
        answer(c, uuid_of(&m[FROM].value), ask, &q);
    } else {
        drop(c, "it is no question that is known here");
    }
    buf_free(&name);
    buf_free(&after);
}

/* ---- asking ---- */

static void release(struct ask *a)
{
    for (size_t i = 0; i < a->n; i++) {
        a->cluster->held -= a->v[i].answer.n;
        buf_free(&a->v[i].about);
        buf_free(&a->v[i].answer);
    }
    free(a->v);
    a->v = NULL;
    a->n = a->cap = 0;
}

/* why NULL: with what has come. */
static void finish(struct ask *a, const struct bus_reply *why)
{
    cluster_answered_fn fn = a->fn;
    struct cluster *c = a->cluster;
    a->fn = NULL;
    event_del(&a->deadline);
    list_unlink(&a->link);
    c->asks_n--;
    fn(a->ctx, why ? NULL : a->v, why ? 0 : a->n, why);
    release(a);
    if (a->is_listed)
        free(a);
}

static void on_deadline(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct ask *a = arg;
    static const struct bus_reply silence = {.type = BUS_UNCERTAIN};
    finish(a, a->is_listed ? NULL : &silence);
}

static bool is_complete(const struct ask *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i].is_registered && a->v[i].answer.n == 0)
            return false;
    return a->is_listed;
}

/* NULL: they are too many. */
static struct cluster_member *need_member(struct ask *a, struct str id)
{
    for (size_t i = 0; i < a->n; i++)
        if (str_is(id, a->v[i].id))
            return &a->v[i];
    if (a->n == MEMBERS_MAX)
        return NULL;
    if (a->n == a->cap) {
        a->cap = a->cap ? 2 * a->cap : 8;
        a->v = mem_resize(a->v, a->cap * sizeof(*a->v));
    }
    struct cluster_member *m = &a->v[a->n++];
    *m = (struct cluster_member){0};
    memcpy(m->id, id.p, UUID_TEXT);
    return m;
}

static void learn_about(struct cluster_member *m, struct str about)
{
    bool is_good =
        about.n <= ABOUT_MAX && scan_text(about, NULL, 0) == SCAN_OBJECT && !m->about.n;
    if (is_good)
        buf_str(&m->about, scan_value_of(about).raw); /* without blanks around it */
}

/* Lines of the register; who wrote what there is anybody's guess. */
static void take_list(struct ask *a, struct str lines)
{
    while (lines.n > 0) {
        struct uuid ignored;
        struct str about, line = str_split(lines, '\n', &lines);
        struct str id = str_split(line, ' ', &about);
        struct cluster_member *m = uuid_parse(id, &ignored) ? need_member(a, id) : NULL;
        if (!m)
            continue;
        m->is_registered = true;
        learn_about(m, about);
    }
}

static void on_listed(void *ctx, const struct bus_reply *r)
{
    struct ask *a = ctx;
    a->is_listed = true;
    if (!a->fn) {
        free(a);
        return;
    }
    if (r->type != BUS_TEXT) {
        finish(a, r);
        return;
    }
    take_list(a, r->text);
    if (is_complete(a))
        finish(a, NULL);
}

bool cluster_ask(struct cluster *c, const struct cluster_question *q,
                 cluster_answered_fn fn, void *ctx)
{
    struct buf question = {0};
    if (c->asks_n >= CLUSTER_ASKS_MAX)
        return false;
    struct ask *a = NEW(struct ask);
    *a = (struct ask){.cluster = c, .id = ++c->last_ask, .fn = fn, .ctx = ctx};
    evtimer_assign(&a->deadline, c->net->base, on_deadline, a);
    COUNT(c->net->counters, cluster_asked);
    list_append(&c->asks, &a->link);
    c->asks_n++;
    arm(&a->deadline, CLUSTER_ANSWER_MS);
    write_question(c, a->id, q, &question);
    renew(c, buf_view(&question), on_listed, a);
    buf_free(&question);
    return true;
}

static struct ask *find_ask(struct cluster *c, uint64_t id)
{
    LIST_EACH (node, &c->asks) {
        struct ask *a = container_of(node, struct ask, link);
        if (a->id == id)
            return a;
    }
    return NULL;
}

static void take_answer(struct ask *a, struct str from, struct str about, struct str text)
{
    struct cluster *c = a->cluster;
    struct cluster_member *m = need_member(a, from);
    if (!m || m->answer.n > 0 || c->held + text.n > CLUSTER_HELD_MAX)
        return;
    learn_about(m, about);
    buf_str(&m->answer, text);
    c->held += text.n;
    if (is_complete(a))
        finish(a, NULL);
}

static void on_answer(struct topic *t, struct str payload)
{
    enum { ASK, FROM, ABOUT, ANSWER, MEMBERS };
    struct cluster *c = container_of(t, struct cluster, own);
    struct scan_member m[MEMBERS] = {{"ask"}, {"from"}, {"about"}, {"answer"}};
    uint64_t ask;
    if (scan_text(payload, m, MEMBERS) != SCAN_OBJECT || !is_uuid(&m[FROM].value) ||
        !str_to_u64(m[ASK].value.raw, UINT64_MAX, &ask) ||
        m[ABOUT].value.type != SCAN_OBJECT || m[ANSWER].value.type != SCAN_OBJECT) {
        drop(c, "it is no answer");
        return;
    }
    struct ask *a = find_ask(c, ask); /* NULL: it comes too late */
    if (a)
        take_answer(a, uuid_of(&m[FROM].value), m[ABOUT].value.raw, m[ANSWER].value.raw);
}

/* ---- birth and end ---- */

static void describe_self(struct cluster *c)
{
    buf_printf(&c->about, "{\"worker\":\"%s\",\"node\":", hub_server_id(c->hub));
    buf_json(&c->about, c->self.node);
    buf_printf(&c->about, ",\"slot\":%u,\"number\":%u,\"pid\":%d,\"version\":\"%s\"}",
               c->self.slot, c->self.number, getpid(), HELIOD_VERSION);
}

struct cluster *cluster_new(struct hub *h, struct net *net,
                            const struct cluster_self *self)
{
    struct cluster *c = NEW(struct cluster);
    struct buf own = {0};
    *c = (struct cluster){.hub = h, .net = net, .self = *self};
    list_init(&c->asks);
    describe_self(c);
    evtimer_assign(&c->renew, net->base, on_renew, c);
    buf_printf(&own, CHANNEL_ALL ":%s", hub_server_id(h));
    hub_listen(h, &c->all, STR(CHANNEL_ALL), on_question);
    hub_listen(h, &c->own, buf_view(&own), on_answer);
    buf_free(&own);
    c->watch.up = on_up;
    c->watch.down = on_down;
    hub_watch(h, &c->watch);
    return c;
}

void cluster_free(struct cluster *c)
{
    static const struct bus_reply end = {.type = BUS_DOWN, .text = STR("stopping")};
    if (!c)
        return;
    LIST_EACH_SAFE (node, &c->asks)
        finish(container_of(node, struct ask, link), &end);
    if (c->renewal)
        c->renewal->cluster = NULL;
    hub_unwatch(&c->watch);
    hub_unlisten(c->hub, &c->all);
    hub_unlisten(c->hub, &c->own);
    event_del(&c->renew);
    buf_free(&c->about);
    free(c);
}
