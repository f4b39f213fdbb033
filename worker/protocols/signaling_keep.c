#include "worker/protocols/signaling.h"

#include "common/clock.h"
#include "common/mem.h"

#define ROOM "signaling"
#define GATHER_MS 100
#define RENEWALS_A_TICK 1000 /* the rest waits for the next one */

extern const struct str signaling_epoch_lua;
static struct script epoch_script = {.text = &signaling_epoch_lua};

/* ---- renewing ---- */

/* The arguments of a renewal: views into text, made when all of it is there. */
struct listing {
    struct buf text; /* five words for each */
    size_t n;
};

static void list(struct listing *l, const struct uuid *id, const char *role,
                 const struct uuid *worker)
{
    uuid_put(&l->text, id);
    buf_printf(&l->text, " %s ", role);
    uuid_put(&l->text, worker);
    buf_char(&l->text, ' ');
    l->n += 5;
}

/* Not those that still wait at the door: a crowd of them costs Redis nothing. */
static void list_own(struct listing *l, const struct signaling_room *r)
{
    LIST_EACH (node, &r->members) {
        struct signaling_member *m = container_of(node, struct signaling_member, link);
        if (m->state != MEMBER_IN && !entrance_was_asked(m))
            continue;
        list(l, &m->c->st.uuid, m->state == MEMBER_IN ? m->role : "-", &r->s->server);
        struct buf session = {0};
        signaling_claims(m, &l->text, &session);
        buf_char(&l->text, ' ');
        buf_str(&l->text, buf_view(&session));
        buf_char(&l->text, ' ');
        buf_free(&session);
    }
}

/* Those that their workers keep; needed only if Redis has forgotten everybody. */
static void list_others(struct listing *l, const struct signaling_room *r)
{
    for (size_t i = 0; i < r->roster.n; i++) {
        const struct peer *p = &r->roster.v[i];
        if (p->is_away || uuid_eq(&p->worker, &r->s->server))
            continue;
        list(l, &p->id, p->role, &p->worker);
        buf_str(&l->text, STR("- - "));
    }
}

void signaling_renew(struct signaling_room *r)
{
    struct listing l = {0};
    list_own(&l, r);
    if (r->is_asked)
        list_others(&l, r);
    struct str *args = mem_new((1 + l.n) * sizeof(*args));
    struct str rest = buf_view(&l.text);
    args[0] = r->is_asked ? STR("1") : STR("0");
    for (size_t i = 0; i < l.n; i++)
        args[1 + i] = str_split(rest, ' ', &rest);
    r->is_asked = false;
    signaling_call(r, STR("renew"), args, 1 + l.n, NULL, NULL);
    free(args);
    buf_free(&l.text);
}

static struct signaling_room *first_due(const struct signaling *s)
{
    return list_is_empty(&s->renewals)
               ? NULL
               : container_of(s->renewals.next, struct signaling_room, renewal);
}

/* The timer runs only while there is something to wait for, and gathers what comes
 * together. */
static void arm(struct signaling *s)
{
    const struct signaling_room *first = first_due(s);
    int64_t now_ms = clock_now_ms(), due_ms = s->open_ms;
    if (!s->is_up || !(first || due_ms))
        return;
    if (first)
        due_ms = due_ms ? MIN(due_ms, first->renew_ms) : first->renew_ms;
    due_ms = MAX(due_ms, now_ms + GATHER_MS);
    if (s->tick_ms && s->tick_ms <= due_ms)
        return;
    s->tick_ms = due_ms;
    int64_t wait_ms = due_ms - now_ms;
    event_add(&s->tick, &(struct timeval){wait_ms / 1000, wait_ms % 1000 * 1000});
}

/* In order of their time: nearly always at the end, else mostly at once. */
static void enqueue(struct signaling *s, struct signaling_room *r)
{
    const struct signaling_room *first = first_due(s);
    struct list *at = s->renewals.prev;
    if (first && r->renew_ms < first->renew_ms)
        at = &s->renewals;
    while (at != &s->renewals &&
           container_of(at, struct signaling_room, renewal)->renew_ms > r->renew_ms)
        at = at->prev;
    list_append(at->next, &r->renewal); /* before the next one */
}

void signaling_renew_soon(struct signaling_room *r, int64_t due_ms)
{
    if (!list_is_empty(&r->renewal) && r->renew_ms <= due_ms)
        return;
    list_unlink(&r->renewal);
    r->renew_ms = due_ms;
    enqueue(r->s, r);
    arm(r->s);
}

/* Whoever has been away too long is found so by the first renewal after that. */
static int64_t next_renewal(struct signaling_room *r, int64_t now_ms)
{
    if (r->away_ms <= now_ms)
        r->away_ms = 0;
    int64_t next_ms = now_ms + SIGNALING_RENEW_MS;
    return r->away_ms ? MIN(next_ms, r->away_ms) : next_ms;
}

static void renew_due(struct signaling *s, int64_t now_ms)
{
    for (unsigned i = 0; i < RENEWALS_A_TICK && s->is_up; i++) {
        struct signaling_room *r = first_due(s);
        if (!r || r->renew_ms > now_ms)
            break;
        signaling_renew(r);
        list_unlink(&r->renewal);
        r->renew_ms = next_renewal(r, now_ms);
        enqueue(s, r);
    }
}

/* ---- the bus comes and goes ---- */

/* They may end by it, so they are gathered first. */
static void each_room(struct signaling *s, void (*fn)(struct signaling_room *r))
{
    struct signaling_room **all = mem_new((s->rooms.n + 1) * sizeof(*all));
    size_t n = 0;
    MAP_EACH (struct signaling_room, r, &s->rooms)
        all[n++] = r;
    for (size_t i = 0; i < n; i++)
        fn(all[i]);
    free(all);
}

static void open_doors(struct signaling *s)
{
    s->is_open = true;
    s->open_ms = 0;
    each_room(s, signaling_room_up);
}

/* Redis is asked whether it has forgotten everything since it was last known. */
struct inquiry {
    struct signaling *s; /* NULL: nobody wants to know any more */
};

/* Has it, the places of those who are in a room must not go to whoever comes first: until
 * every worker has had the time to put its members back, nobody enters. */
static void on_epoch(void *ctx, const struct bus_reply *r)
{
    struct inquiry *q = ctx;
    struct signaling *s = q->s;
    free(q);
    if (!s)
        return;
    s->inquiry = NULL;
    struct uuid epoch;
    if (r->type != BUS_TEXT || !uuid_parse(r->text, &epoch))
        epoch = (struct uuid){{0}};
    bool is_other = !uuid_eq(&epoch, &s->epoch);
    bool was_up = s->was_up;
    s->epoch = epoch;
    s->was_up = true;
    if (is_other && was_up)
        s->open_ms = clock_now_ms() + SIGNALING_LEASE_MS;
    else
        open_doors(s);
    arm(s);
}

static void inquire(struct signaling *s)
{
    struct str key = STR(TOPIC_PREFIX "sigepoch");
    struct uuid word;
    char text[UUID_TEXT + 1];
    uuid_make(&word);
    uuid_text(&word, text);
    s->inquiry = NEW(struct inquiry);
    s->inquiry->s = s;
    hub_eval(s->endpoint->services->hub, &epoch_script, &key, 1,
             &(struct str){text, UUID_TEXT}, 1, on_epoch, s->inquiry);
}

/* What was said meanwhile is lost: everybody is put back, and the rosters are compared.
 */
static void on_up(struct hub_watch *w)
{
    struct signaling *s = container_of(w, struct signaling, watch);
    int64_t now_ms = clock_now_ms();
    s->is_up = true;
    LIST_EACH (node, &s->renewals) { /* they stay in order */
        struct signaling_room *r = container_of(node, struct signaling_room, renewal);
        r->is_asked = r->is_known;
        r->renew_ms = MIN(r->renew_ms, now_ms);
    }
    inquire(s);
    arm(s);
}

static void forget_inquiry(struct signaling *s)
{
    if (s->inquiry)
        s->inquiry->s = NULL;
    s->inquiry = NULL;
}

static void on_down(struct hub_watch *w, UNUSED const char *why)
{
    struct signaling *s = container_of(w, struct signaling, watch);
    s->is_up = s->is_open = false;
    s->open_ms = 0;
    forget_inquiry(s);
    each_room(s, signaling_room_down);
}

static void on_tick(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct signaling *s = arg;
    int64_t now_ms = clock_now_ms();
    s->tick_ms = 0;
    renew_due(s, now_ms);
    if (s->open_ms && s->open_ms <= now_ms)
        open_doors(s);
    arm(s);
}

/* ---- probes ---- */

static void publish_answer(struct signaling *s, enum news_type type, struct str room,
                           const struct uuid *id, const struct probe *asker)
{
    struct hub *hub = s->endpoint->services->hub;
    struct str path = signaling_conf(s)->path;
    struct buf channel = {0}, text = {0};
    buf_printf(&channel, TOPIC_PREFIX "sigw:" STR_FMT ":", STR_ARG(path));
    uuid_put(&channel, &asker->worker);
    news_write_answer(&text, type, room, id, &asker->entrant);
    hub_publish_raw(hub, buf_view(&channel), buf_view(&text));
    buf_free(&channel);
    buf_free(&text);
}

void signaling_heard(struct signaling_member *m)
{
    for (size_t i = 0; i < m->probes_n; i++)
        publish_answer(m->room->s, NEWS_ALIVE, signaling_name(m->room), &m->c->st.uuid,
                       &m->probes[i]);
    free(m->probes);
    m->probes = NULL;
    m->probes_n = 0;
}

/* When there are too many, the oldest is told that the member lives: it has given up by
 * then, or is one of a crowd, which must not win the role by being one. */
static void remember(struct signaling_member *m, const struct probe *p)
{
    if (!m->probes)
        m->probes = mem_new(PROBES_MAX * sizeof(*m->probes));
    if (m->probes_n == PROBES_MAX) {
        publish_answer(m->room->s, NEWS_ALIVE, signaling_name(m->room), &m->c->st.uuid,
                       &m->probes[0]);
        memmove(m->probes, m->probes + 1, --m->probes_n * sizeof(*m->probes));
    }
    m->probes[m->probes_n++] = *p;
}

static void on_probe(struct signaling *s, const struct news *n)
{
    struct signaling_room *r = map_get(&s->rooms, n->room);
    struct signaling_member *m = r ? signaling_room_member(r, &n->id) : NULL;
    struct probe p = {n->worker, n->to};
    if (!m || !session_is_open(m->c)) {
        publish_answer(s, NEWS_GONE, n->room, &n->id, &p);
        return;
    }
    if (m->probes_n == 0)
        session_ping(m->c); /* its pong answers all who ask meanwhile */
    remember(m, &p);
}

static void on_asked(struct topic *t, struct str payload)
{
    struct signaling *s = container_of(t, struct signaling, own);
    struct signaling_room *r;
    struct signaling_member *m;
    struct news n;
    switch (news_read(payload, &n)) {
    case NEWS_PROBE:
        on_probe(s, &n);
        break;
    case NEWS_ALIVE:
    case NEWS_GONE:
        r = map_get(&s->rooms, n.room);
        m = r ? signaling_room_member(r, &n.to) : NULL;
        if (m)
            entrance_answer(m, &n);
        break;
    default:
        signaling_malformed(s, t);
    }
}

void signaling_malformed(struct signaling *s, const struct topic *t)
{
    unsigned swallowed = 0;
    COUNT(s->endpoint->services->net->counters, bus_malformed);
    if (log_permit(&s->malformed, 1, 10000, &swallowed))
        log_warn("dropped a Redis message on channel %s: %s%s",
                 log_esc((struct str){t->channel, t->channel_n}),
                 "no worker says that of a room",
                 swallowed ? " (and others before it)" : "");
}

/* ---- a worker of this broker died ---- */

static bool has_peers_of(const struct signaling_room *r, const struct uuid *worker)
{
    for (size_t i = 0; i < r->roster.n; i++) {
        if (uuid_eq(&r->roster.v[i].worker, worker))
            return true;
    }
    return false;
}

void signaling_bury(struct signaling *s, struct str server_id)
{
    struct uuid dead;
    if (!uuid_parse(server_id, &dead))
        return;
    MAP_EACH (struct signaling_room, r, &s->rooms) {
        if (has_peers_of(r, &dead))
            signaling_call(r, STR("bury"), &server_id, 1, NULL, NULL);
    }
}

/* ---- life of an endpoint ---- */

static struct str name_of(const void *room)
{
    return signaling_name(room);
}

void signaling_keep_open(struct signaling *s)
{
    struct hub *hub = s->endpoint->services->hub;
    struct buf channel = {0};
    struct str path = signaling_conf(s)->path;
    BUG_ON(!uuid_parse(str_of(hub_server_id(hub)), &s->server));
    map_init(&s->rooms, name_of);
    list_init(&s->renewals);
    buf_printf(&channel, TOPIC_PREFIX "sigw:" STR_FMT ":%s", STR_ARG(path),
               hub_server_id(hub));
    hub_listen(hub, &s->own, buf_view(&channel), on_asked);
    buf_free(&channel);
    s->watch = (struct hub_watch){.up = on_up, .down = on_down};
    hub_watch(hub, &s->watch);
    evtimer_assign(&s->tick, s->endpoint->services->net->base, on_tick, s);
}

void signaling_keep_close(struct signaling *s)
{
    event_del(&s->tick);
    forget_inquiry(s);
    hub_unwatch(&s->watch);
    hub_unlisten(s->endpoint->services->hub, &s->own);
    map_fini(&s->rooms);
}
