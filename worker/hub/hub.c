#include "worker/hub/hub.h"

#include "common/mem.h"
#include "common/scan.h"
#include "worker/hub/hub_inside.h"
#include "worker/ws/session.h"

#define SPARE_KEEP (256 * 1024)

static void on_declared(struct topics *ts)
{
    watches_declared(&container_of(ts, struct hub, topics)->watches);
}

struct hub *hub_new(struct net *net, hub_seal_fn seal)
{
    struct hub *h = NEW(struct hub);
    struct uuid id;
    h->net = net;
    h->seal = seal;
    uuid_make(&id);
    uuid_text(&id, h->server_id);
    rooms_init(&h->rooms);
    interest_init(&h->interest, net, &h->rooms);
    topics_init(&h->topics, net->base, on_declared);
    watches_init(&h->watches, h, &h->topics, net->base);
    return h;
}

void hub_free(struct hub *h)
{
    if (!h)
        return;
    h->interest.bus = NULL; /* no farewell to each channel */
    for (size_t i = 0; i < h->net->conns_n; i++)
        hub_forget(h, h->net->conns[i]);
    watches_fini(&h->watches);
    topics_fini(&h->topics);
    interest_fini(&h->interest);
    rooms_fini(&h->rooms);
    buf_free(&h->spare);
    free(h);
}

const char *hub_server_id(const struct hub *h)
{
    return h->server_id;
}

static void gauge(struct hub *h)
{
    COUNT_SET(h->net->counters, rooms, h->rooms.rooms_n);
    COUNT_SET(h->net->counters, users, h->rooms.users_n);
}

struct buf hub_borrow(struct hub *h)
{
    struct buf b = h->spare;
    h->spare = (struct buf){0};
    buf_clear(&b);
    return b;
}

void hub_give_back(struct hub *h, struct buf *b)
{
    if (b->cap > SPARE_KEEP || b->cap <= h->spare.cap) {
        buf_free(b);
        return;
    }
    buf_free(&h->spare);
    h->spare = *b;
}

/* ---- who is where ---- */

static void enter(struct hub *h, struct conn *c, enum hub_kind kind, struct str name)
{
    struct room *room = rooms_need(&h->rooms, kind, name);
    rooms_enter(&h->rooms, room, c);
    interest_room(&h->interest, room);
    gauge(h);
}

static void leave(struct hub *h, struct conn *c, unsigned i)
{
    struct room *room = rooms_exit(&h->rooms, c, i);
    if (room->n == 0)
        interest_room_empty(&h->interest, room);
    gauge(h);
}

void hub_register(struct hub *h, struct conn *c, struct str user)
{
    BUG_ON(c->subs.is_client);
    c->subs.is_client = true;
    c->subs.left_own = false;
    c->st.skip = 0; /* a number of another hub's, if the connection was handed over */
    BUG_ON(map_put(&h->rooms.clients, c) != NULL);
    interest_client(&h->interest, c);
    if (user.n)
        enter(h, c, HUB_USER, user);
}

void hub_forget(struct hub *h, struct conn *c)
{
    while (c->subs.n)
        leave(h, c, c->subs.n - 1u);
    if (!c->subs.is_client)
        return;
    c->subs.is_client = false;
    map_remove(&h->rooms.clients,
               (struct str){(const char *)c->st.uuid.b, sizeof(c->st.uuid.b)});
    interest_client_gone(&h->interest, c);
}

static bool is_own_id(const struct conn *c, struct str name)
{
    struct uuid id;
    return c->subs.is_client && name.n == UUID_TEXT && uuid_parse(name, &id) &&
           uuid_eq(&id, &c->st.uuid);
}

bool hub_join(struct hub *h, struct conn *c, struct str room)
{
    if (is_own_id(c, room)) {
        bool was_out = c->subs.left_own;
        c->subs.left_own = false;
        return was_out;
    }
    if (room.n == 0 || c->subs.n == UINT16_MAX || rooms_index(c, HUB_ROOM, room) >= 0)
        return false;
    enter(h, c, HUB_ROOM, room);
    return true;
}

bool hub_leave(struct hub *h, struct conn *c, struct str room)
{
    if (is_own_id(c, room)) {
        bool was_in = !c->subs.left_own;
        c->subs.left_own = true;
        return was_in;
    }
    int i = rooms_index(c, HUB_ROOM, room);
    if (i < 0)
        return false;
    leave(h, c, (unsigned)i);
    return true;
}

bool hub_is_member(UNUSED const struct hub *h, const struct conn *c, struct str room)
{
    return is_own_id(c, room) ? !c->subs.left_own : rooms_index(c, HUB_ROOM, room) >= 0;
}

struct str hub_user_of(const struct conn *c)
{
    bool has_user = c->subs.n && room_kind(conn_subs_all(&c->subs)[0].room) == HUB_USER;
    return has_user ? room_name(conn_subs_all(&c->subs)[0].room) : STR_NONE;
}

size_t hub_room_count(const struct conn *c)
{
    return c->subs.n - (hub_user_of(c).p ? 1u : 0u);
}

void hub_each_room(const struct conn *c, void (*fn)(void *ctx, struct str room),
                   void *ctx)
{
    for (unsigned i = hub_user_of(c).p ? 1 : 0; i < c->subs.n; i++)
        fn(ctx, room_name(conn_subs_all(&c->subs)[i].room));
}

/* ---- each one that is meant; fn may close connections and so change what is walked ----
 */

typedef void (*each_fn)(void *ctx, struct conn *c);

/* From the end: a member that vanishes is replaced by one that was seen already. The room
 * itself outlives the walk: empty ones are only freed by the linger timer. */
static void each_in_room(struct room *room, each_fn fn, void *ctx)
{
    for (uint32_t i = room->n; i-- > 0;)
        if (i < room->n)
            fn(ctx, room_members(room)[i].conn);
}

/* net->conns changes at the end of the turn only, so it needs no second vector beside it.
 */
static void each_client(const struct hub *h, each_fn fn, void *ctx)
{
    for (size_t i = h->net->conns_n; i-- > 0;)
        if (h->net->conns[i]->subs.is_client)
            fn(ctx, h->net->conns[i]);
}

static void each_target(const struct hub *h, enum hub_kind kind, struct str target,
                        each_fn fn, void *ctx)
{
    if (kind == HUB_BROADCAST) {
        each_client(h, fn, ctx);
        return;
    }
    if (kind != HUB_USER) {
        struct conn *c = rooms_client(&h->rooms, target);
        if (c && (kind == HUB_CLIENT || !c->subs.left_own))
            fn(ctx, c);
    }
    struct room *room = kind == HUB_CLIENT ? NULL : rooms_find(&h->rooms, kind, target);
    if (room)
        each_in_room(room, fn, ctx);
}

void hub_each(const struct hub *h, enum hub_kind kind,
              void (*fn)(void *ctx, struct str name, size_t members), void *ctx)
{
    MAP_EACH (struct room, room, &h->rooms.by_channel) {
        if (room->n && room_kind(room) == kind)
            fn(ctx, room_name(room), room->n);
    }
}

size_t hub_memory(const struct hub *h)
{
    size_t n =
        sizeof(*h) + h->spare.cap + rooms_memory(&h->rooms) + topics_memory(&h->topics);
    for (size_t i = 0; i < h->net->conns_n; i++) {
        const struct conn_subs *s = &h->net->conns[i]->subs;
        n += s->cap > 1 ? memory_block(s->cap * sizeof(struct sub)) : 0;
    }
    return n;
}

/* ---- delivery ---- */

struct delivery {
    struct hub *h;
    const struct hub_message *m;
    struct frame *frame; /* made for the first who needs it */
    uint32_t number;     /* who has it in st.skip is left out; 0: nobody */
    size_t count;
};

/* A number nobody is marked with. */
static uint32_t next_number(struct hub *h)
{
    if (++h->delivery == 0) {
        for (size_t i = 0; i < h->net->conns_n; i++)
            h->net->conns[i]->st.skip = 0;
        h->delivery = 1;
    }
    return h->delivery;
}

/* Marks those in the exclude list; ids of other workers' clients are nobody here. */
static void mark_excluded(struct delivery *d)
{
    struct str list = d->m->exclude;
    struct scan_value item;
    struct buf scratch = {0};
    size_t pos = 0;
    d->number = next_number(d->h);
    while (scan_next(list, &pos, &item)) {
        if (item.type != SCAN_STRING)
            continue;
        buf_clear(&scratch);
        struct conn *c = rooms_client(&d->h->rooms, scan_string(&item, &scratch));
        if (c)
            c->st.skip = d->number;
    }
    buf_free(&scratch);
}

static bool can_exclude(const struct hub_message *m)
{
    bool is_known_list = m->exclude.n > 2 && m->exclude.p[0] == '[';
    return is_known_list && (m->kind == HUB_ROOM || m->kind == HUB_BROADCAST);
}

static bool is_listening(const struct conn *c)
{
    return c->subs.is_client && session_is_open(c) && !(c->st.flags & CONN_MUTED);
}

static void deliver_to(void *ctx, struct conn *c)
{
    struct delivery *d = ctx;
    /* A client that fell to this very delivery may have caused another one, with marks of
     * its own. */
    if (UNLIKELY(d->number && d->number != d->h->delivery))
        mark_excluded(d);
    bool is_left_out = c == d->m->except || (d->number && c->st.skip == d->number);
    if (is_left_out || !is_listening(c))
        return;
    if (c->st.flags & CONN_ENCRYPTED) {
        d->h->seal(c, d->m->json);
    } else {
        if (!d->frame)
            d->frame = frame_new(WIRE_TEXT, d->m->json);
        session_send_frame(c, d->frame);
    }
    d->count += session_is_open(c); /* a slow consumer has been closed instead */
}

size_t hub_deliver(struct hub *h, const struct hub_message *m)
{
    struct delivery d = {.h = h, .m = m};
    if (can_exclude(m))
        mark_excluded(&d);
    each_target(h, m->kind, m->target, deliver_to, &d);
    if (d.frame)
        frame_unref(d.frame);
    return d.count;
}
