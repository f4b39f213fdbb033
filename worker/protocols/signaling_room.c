#include "worker/protocols/signaling.h"

#include "common/clock.h"
#include "common/mem.h"
#include "worker/protocols/signaling_ice.h"
#include "worker/ws/wire.h"

/* ---- life ---- */

static void on_news(struct topic *t, struct str payload);

static void listen_to_log(struct signaling_room *r)
{
    struct buf channel = {0};
    struct str path = signaling_conf(r->s)->path;
    buf_printf(&channel, TOPIC_PREFIX "sig:" STR_FMT ":%s", STR_ARG(path), r->name);
    hub_listen(r->s->endpoint->services->hub, &r->topic, buf_view(&channel), on_news);
    buf_free(&channel);
}

static struct signaling_room *make_room(struct signaling *s, struct str name)
{
    struct signaling_room *r = NEW(struct signaling_room);
    r->s = s;
    r->name = str_dup(name);
    list_init(&r->members);
    list_init(&r->renewal);
    BUG_ON(map_put(&s->rooms, r) != NULL);
    signaling_renew_soon(r, net_now(s->endpoint->services->net) + SIGNALING_RENEW_MS);
    listen_to_log(r);
    return r;
}

struct signaling_room *signaling_room_need(struct signaling *s, struct str name)
{
    struct signaling_room *r = map_get(&s->rooms, name);
    return r ? r : make_room(s, name);
}

static void free_room(struct signaling_room *r)
{
    map_remove(&r->s->rooms, signaling_name(r));
    hub_unlisten(r->s->endpoint->services->hub, &r->topic);
    list_unlink(&r->renewal);
    roster_free(&r->roster);
    free(r->name);
    free(r);
}

struct signaling_member *signaling_room_member(const struct signaling_room *r,
                                               const struct uuid *id)
{
    LIST_EACH (node, &r->members) {
        struct signaling_member *m = container_of(node, struct signaling_member, link);
        if (uuid_eq(&m->c->st.uuid, id))
            return m;
    }
    return NULL;
}

/* ---- telling ---- */

static void put_id(struct buf *out, const struct uuid *id)
{
    buf_char(out, '"');
    uuid_put(out, id);
    buf_char(out, '"');
}

/* `"id":…,"userType":…` */
static void put_peer(struct buf *out, const struct peer *p)
{
    buf_str(out, STR("\"id\":"));
    put_id(out, &p->id);
    buf_str(out, STR(",\"userType\":"));
    buf_json(out, str_of(p->role));
}

/* One who is too slow is out at once, not when its close handshake is through. */
static void send_to(struct signaling_member *m, struct frame *f)
{
    struct conn *c = m->c;
    session_send_frame(c, f);
    if (c->st.phase == CONN_CLOSING && c->proto)
        signaling_leave(member_of(c), c->st.close_code, "lost");
}

/* To every member here but one (NULL: to all). */
static void tell(struct signaling_room *r, const struct signaling_member *except,
                 struct str json)
{
    struct frame *f = frame_new(WIRE_TEXT, json);
    for (size_t i = 0; i < r->roster.n; i++) {
        struct signaling_member *m = r->roster.v[i].member;
        if (m && m != except)
            send_to(m, f);
    }
    frame_unref(f);
}

static void tell_joined(struct signaling_room *r, const struct peer *p,
                        const struct uuid *was)
{
    struct buf b = {0};
    buf_str(&b, was ? STR("{\"type\":\"user-returned\",")
                    : STR("{\"type\":\"user-joined\","));
    put_peer(&b, p);
    if (was) {
        buf_str(&b, STR(",\"was\":"));
        put_id(&b, was);
    }
    buf_char(&b, '}');
    tell(r, p->member, buf_view(&b));
    buf_free(&b);
}

/* It has left: the others are told, and forget it. */
static void depart(struct signaling_room *r, struct peer *p, unsigned code,
                   const char *reason)
{
    struct buf b = {0};
    buf_str(&b, STR("{\"type\":\"user-left\","));
    put_peer(&b, p);
    buf_printf(&b, ",\"code\":%u,\"reason\":\"%s\"}", code, reason);
    if (str_is(str_of(reason), "lost"))
        COUNT(r->s->endpoint->services->net->counters, signaling_lost);
    roster_remove(&r->roster, p);
    tell(r, NULL, buf_view(&b));
    buf_free(&b);
}

/* ---- leaving ---- */

static void tell_redis(struct signaling_room *r, const struct uuid *who, unsigned code,
                       const char *reason)
{
    char id[UUID_TEXT + 1], number[12];
    uuid_text(who, id);
    snprintf(number, sizeof(number), "%u", code);
    struct str args[] = {str_of(id), str_of(number), str_of(reason)};
    signaling_call(r, STR("leave"), args, ARRAY_LEN(args), NULL, NULL);
}

void signaling_leave(struct signaling_member *m, unsigned code, const char *reason)
{
    struct signaling_room *r = m->room;
    bool is_known = m->state == MEMBER_IN || entrance_end(m);
    m->state = MEMBER_OUT;
    if (!r)
        return;
    signaling_room_begin(r);
    struct peer *p = roster_find(&r->roster, &m->c->st.uuid);
    if (p && p->member == m) {
        p->member = NULL;
        p->code = (uint16_t)code;
        p->reason = reason;
    }
    if (is_known)
        tell_redis(r, &m->c->st.uuid, code, reason);
    m->room = NULL;
    list_unlink(&m->link);
    signaling_room_end(r);
}

/* Replaced: by the log, so that everybody sees it at the same place. */
static void replace(struct signaling_member *m)
{
    struct signaling_room *r = m->room;
    m->state = MEMBER_OUT;
    m->room = NULL;
    list_unlink(&m->link);
    struct peer *p = roster_find(&r->roster, &m->c->st.uuid);
    if (p)
        p->member = NULL;
    COUNT(m->c->net->counters, signaling_replaced);
    session_close(m->c, 4410, "Replaced by a newer connection of the same role");
}

/* Without Redis nobody else says that they left. */
static bool depart_one(struct signaling_room *r)
{
    for (size_t i = 0; i < r->roster.n; i++) {
        struct peer *p = &r->roster.v[i];
        if (!p->member && p->reason) {
            depart(r, p, p->code, p->reason);
            return true;
        }
    }
    return false;
}

void signaling_room_begin(struct signaling_room *r)
{
    r->busy++;
}

void signaling_room_end(struct signaling_room *r)
{
    if (r->busy == 1 && !r->s->is_up) {
        while (depart_one(r))
            ;
    }
    if (--r->busy == 0 && list_is_empty(&r->members))
        free_room(r);
}

void signaling_room_down(struct signaling_room *r)
{
    signaling_room_begin(r);
    LIST_EACH_SAFE (node, &r->members)
        entrance_down(container_of(node, struct signaling_member, link));
    signaling_room_end(r);
}

void signaling_room_up(struct signaling_room *r)
{
    signaling_room_begin(r);
    LIST_EACH_SAFE (node, &r->members)
        entrance_up(container_of(node, struct signaling_member, link));
    signaling_room_end(r);
}

/* ---- following the log ---- */

/* Others think that a member is gone which is here. */
static void object(struct signaling_room *r)
{
    r->is_asked = true;
    signaling_renew_soon(r, net_now(r->s->endpoint->services->net));
}

static struct peer *find_unmarked(const struct roster *roster)
{
    for (size_t i = 0; i < roster->n; i++) {
        if (!roster->v[i].is_marked)
            return &roster->v[i];
    }
    return NULL;
}

/* Not in the list any more. */
static void vanish(struct signaling_room *r, struct peer *p)
{
    p->is_marked = true;
    if (p->member)
        object(r);
    else
        depart(r, p, p->code ? p->code : 1006, p->reason ? p->reason : "lost");
}

/* Under this worker's name, but it is not here: it left when nobody could be told. */
static bool is_stray(const struct signaling_room *r, const struct news_peer *n)
{
    return n->code == 0 && uuid_eq(&n->worker, &r->s->server) &&
           !signaling_room_member(r, &n->id);
}

/* Those here have heard that it left when the bus was away, or never heard of it: should
 * it return, it will have joined. */
static bool is_past(const struct signaling_room *r, const struct news_peer *n)
{
    return n->code != 0 && r->is_known;
}

/* One in a list. Told about if it is not known yet, unless nobody here was in the room
 * before. */
static void mark(struct signaling_room *r, const struct news_peer *n, bool is_newcomer)
{
    bool is_new = !roster_find(&r->roster, &n->id);
    if (is_new && !is_newcomer && is_stray(r, n)) {
        object(r);
        return;
    }
    if (is_new && is_past(r, n))
        return;
    struct peer *p = roster_put(&r->roster, &n->id, &n->worker, n->role);
    p->is_marked = true;
    p->is_away = n->code != 0;
    if (!p->reason)
        p->code = (uint16_t)n->code;
    if (is_new && !is_newcomer && r->is_known)
        tell_joined(r, p, NULL);
}

/* The list is who is in the room now. */
static void compare(struct signaling_room *r, struct str peers,
                    const struct uuid *newcomer)
{
    struct news_peer n;
    struct peer *p;
    roster_unmark(&r->roster);
    while (news_next_peer(&peers, &n))
        mark(r, &n, newcomer && uuid_eq(&n.id, newcomer));
    while ((p = find_unmarked(&r->roster)))
        vanish(r, p);
}

static void welcome(struct signaling_room *r, struct peer *self)
{
    struct signaling_member *m = self->member;
    struct buf b = {0};
    buf_str(&b, STR("{\"type\":\"joined\",\"id\":"));
    put_id(&b, &self->id);
    buf_str(&b, STR(",\"room\":"));
    buf_json(&b, signaling_name(r));
    buf_str(&b, STR(",\"userType\":"));
    buf_json(&b, str_of(self->role));
    buf_str(&b, STR(",\"peers\":["));
    for (size_t i = 0, n = 0; i < r->roster.n; i++) {
        if (&r->roster.v[i] == self)
            continue;
        buf_str(&b, n++ ? STR(",{") : STR("{"));
        put_peer(&b, &r->roster.v[i]);
        buf_char(&b, '}');
    }
    buf_char(&b, ']');
    ice_write(&b, signaling_conf(r->s), str_of(m->user), clock_wall_ms() / 1000);
    buf_char(&b, '}');
    entrance_done(m, buf_view(&b));
    buf_free(&b);
}

/* The one whose place the newcomer takes, without a word of its leaving. */
static bool succeed(struct signaling_room *r, const struct uuid *was)
{
    struct peer *p = roster_find(&r->roster, was);
    if (!p)
        return false;
    if (p->member)
        replace(p->member);
    roster_remove(&r->roster, p);
    return true;
}

static void on_in(struct signaling_room *r, const struct news *n)
{
    struct signaling_member *m = signaling_room_member(r, &n->id);
    if (!r->is_known && !m)
        return;
    bool returns = n->has_was && succeed(r, &n->was);
    bool is_new = !roster_find(&r->roster, &n->id);
    compare(r, n->peers, &n->id);
    struct peer *p = roster_find(&r->roster, &n->id);
    if (m && m->state == MEMBER_ENTERING) {
        p->member = m;
        r->is_known = true;
        welcome(r, p);
    } else if (!m && uuid_eq(&p->worker, &r->s->server)) {
        tell_redis(r, &n->id, 1006, "lost"); /* gone before its entry was through */
    }
    if (is_new)
        tell_joined(r, p, returns ? &n->was : NULL);
}

static void on_all(struct signaling_room *r, const struct news *n)
{
    if (r->is_known)
        compare(r, n->peers, NULL);
}

/* A place is free, or can be succeeded to: who waits for the answer of its holder need
 * not. */
static void tell_entrants(struct signaling_room *r, const struct news *n)
{
    LIST_EACH_SAFE (node, &r->members)
        entrance_answer(container_of(node, struct signaling_member, link), n);
}

static void on_out(struct signaling_room *r, const struct news *n)
{
    static const char *const reasons[] = {"left", "lost", "replaced", "kicked"};
    struct peer *p = roster_find(&r->roster, &n->id);
    tell_entrants(r, n);
    if (!p)
        return;
    if (p->member && !str_is(n->reason, "replaced")) {
        object(r);
        return;
    }
    if (p->member)
        replace(p->member);
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (str_is(n->reason, reasons[i]))
            depart(r, p, n->code, reasons[i]);
    }
}

static void on_away(struct signaling_room *r, const struct news *n)
{
    struct peer *p = roster_find(&r->roster, &n->id);
    tell_entrants(r, n);
    if (p && p->member) {
        object(r);
    } else if (p) {
        p->is_away = true;
        r->away_ms = net_now(r->s->endpoint->services->net) + n->ms + 1;
        signaling_renew_soon(r, r->away_ms);
    }
}

static void send_one(struct signaling_member *m, struct str json)
{
    struct frame *f = frame_new(WIRE_TEXT, json);
    send_to(m, f);
    frame_unref(f);
}

static void on_say(struct signaling_room *r, const struct news *n)
{
    const struct peer *p = roster_find(&r->roster, &n->id);
    if (uuid_eq(&n->worker, &r->s->server)) {
        COUNT(r->s->endpoint->services->net->counters, bus_own);
        return;
    }
    if (!p || !uuid_eq(&p->worker, &n->worker))
        return;
    const struct peer *to = n->has_to ? roster_find(&r->roster, &n->to) : NULL;
    if (to && to->member)
        send_one(to->member, n->json);
    else if (!n->has_to)
        tell(r, NULL, n->json);
}

static void on_news(struct topic *t, struct str payload)
{
    static void (*const handlers[])(struct signaling_room *, const struct news *) = {
        [NEWS_IN] = on_in,     [NEWS_ALL] = on_all, [NEWS_OUT] = on_out,
        [NEWS_AWAY] = on_away, [NEWS_SAY] = on_say,
    };
    struct signaling_room *r = container_of(t, struct signaling_room, topic);
    struct news n;
    enum news_type type = news_read(payload, &n);
    signaling_room_begin(r);
    if (type < ARRAY_LEN(handlers) && handlers[type])
        handlers[type](r, &n);
    else
        signaling_malformed(r->s, t);
    signaling_room_end(r);
}

/* ---- relaying ---- */

static bool is_elsewhere(const struct signaling_room *r, const struct peer *p)
{
    return !uuid_eq(&p->worker, &r->s->server);
}

static bool is_anybody_elsewhere(const struct signaling_room *r)
{
    for (size_t i = 0; i < r->roster.n; i++) {
        if (is_elsewhere(r, &r->roster.v[i]))
            return true;
    }
    return false;
}

static void say_elsewhere(struct signaling_member *m, const struct uuid *to,
                          struct str json)
{
    struct signaling_room *r = m->room;
    struct hub *hub = r->s->endpoint->services->hub;
    struct buf b = {0};
    news_write_say(&b, str_of(hub_server_id(hub)), &m->c->st.uuid, to, json);
    hub_publish_raw(hub, (struct str){r->topic.channel, r->topic.channel_n},
                    buf_view(&b));
    buf_free(&b);
}

bool signaling_relay(struct signaling_member *m, const struct uuid *to, struct str json)
{
    struct signaling_room *r = m->room;
    struct peer *target = to ? roster_find(&r->roster, to) : NULL;
    if (to && (!target || target->member == m))
        return false;
    COUNT(m->c->net->counters, signaling_relayed);
    signaling_room_begin(r);
    bool goes_out = to ? is_elsewhere(r, target) : is_anybody_elsewhere(r);
    if (!to)
        tell(r, m, json);
    else if (target->member)
        send_one(target->member, json);
    if (goes_out)
        say_elsewhere(m, to, json);
    signaling_room_end(r);
    return true;
}
