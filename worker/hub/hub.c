#include "worker/hub/hub.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/scan.h"
#include "worker/hub/envelope.h"
#include "worker/hub/interest.h"
#include "worker/hub/watches.h"
#include "worker/ws/session.h"

#define ROOM "hub"
#define SPARE_KEEP (256 * 1024)

struct hub {
    struct net *net;
    hub_seal_fn seal;
    struct bus *bus; /* NULL: none yet */
    struct rooms rooms;
    struct interest interest;
    struct topics topics;
    struct watches watches;
    char server_id[UUID_TEXT + 1];
    uint32_t delivery; /* number of the last one that excluded somebody: conn.st.skip */
    struct buf spare;  /* lent to whoever builds a message */
    struct log_limit malformed;
};

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

/* A buffer of one's own while building a message: deliveries may cause others before they
 * are through. */
static struct buf borrow(struct hub *h)
{
    struct buf b = h->spare;
    h->spare = (struct buf){0};
    buf_clear(&b);
    return b;
}

static void give_back(struct hub *h, struct buf *b)
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
           memcmp(id.b, c->st.uuid.b, sizeof(id.b)) == 0;
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
    bool has_user = c->subs.n && room_kind(c->subs.v[0].room) == HUB_USER;
    return has_user ? room_name(c->subs.v[0].room) : STR_NONE;
}

size_t hub_room_count(const struct conn *c)
{
    return c->subs.n - (hub_user_of(c).p ? 1u : 0u);
}

void hub_each_room(const struct conn *c, void (*fn)(void *ctx, struct str room),
                   void *ctx)
{
    for (unsigned i = hub_user_of(c).p ? 1 : 0; i < c->subs.n; i++)
        fn(ctx, room_name(c->subs.v[i].room));
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
    for (size_t i = 0; i < h->net->conns_n; i++)
        n += h->net->conns[i]->subs.cap * sizeof(struct sub);
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

/* ---- out to the bus ---- */

static void deliver_event(struct hub *h, const struct hub_event *ev)
{
    struct buf json = borrow(h);
    envelope_delivery(&json, ev->event_json, ev->data_json);
    struct hub_message m = {ev->kind, ev->target, buf_view(&json), ev->exclude_json,
                            ev->except};
    hub_deliver(h, &m);
    give_back(h, &json);
}

/* The channel and, behind it, the payload. */
static size_t write_message(struct buf *b, const char *server_id,
                            const struct hub_event *ev)
{
    envelope_channel(b, ev->kind, ev->target);
    size_t channel_n = b->n;
    envelope_write(b, str_of(server_id), ev);
    return channel_n;
}

static bool send_to_bus(struct hub *h, struct str channel, struct str payload)
{
    struct bus *b = h->bus;
    if (b && b->ops->publish(b, channel, payload) == 0)
        return true;
    COUNT(h->net->counters, bus_publish_lost);
    return false;
}

bool hub_publish(struct hub *h, const struct hub_event *ev)
{
    deliver_event(h, ev);
    struct buf b = borrow(h);
    size_t n = write_message(&b, h->server_id, ev);
    bool sent = send_to_bus(h, (struct str){b.p, n}, (struct str){b.p + n, b.n - n});
    give_back(h, &b);
    return sent;
}

void hub_publish_acked(struct hub *h, const struct hub_event *ev, bus_ack_fn fn,
                       void *ctx)
{
    struct bus *bus = h->bus;
    if (!bus) {
        fn(ctx, false, "there is no bus");
        return;
    }
    struct buf b = borrow(h);
    size_t n = write_message(&b, "heliod", ev);
    bus->ops->publish_acked(bus, (struct str){b.p, n}, (struct str){b.p + n, b.n - n}, fn,
                            ctx);
    give_back(h, &b);
}

bool hub_publish_raw(struct hub *h, struct str channel, struct str payload)
{
    return send_to_bus(h, channel, payload);
}

/* ---- in from the bus ---- */

static void on_malformed(struct hub *h, struct str channel, const char *why)
{
    unsigned swallowed = 0;
    COUNT(h->net->counters, bus_malformed);
    if (log_permit(&h->malformed, 10, 10000, &swallowed))
        log_warn("dropped a Redis message on channel %s: %s%s", log_esc(channel), why,
                 swallowed ? " (and others before it)" : "");
}

static void on_envelope(struct hub *h, struct str channel, struct str payload)
{
    struct envelope e;
    const char *why = "";
    struct buf json = borrow(h), scratch = {0};
    switch (envelope_read(payload, str_of(h->server_id), &scratch, &e, &why)) {
    case ENVELOPE_OWN:
        COUNT(h->net->counters, bus_own);
        break;
    case ENVELOPE_BAD:
        on_malformed(h, channel, why);
        break;
    case ENVELOPE_OK:
        envelope_delivery(&json, e.event_json, e.data_json);
        hub_deliver(h, &(struct hub_message){.kind = e.kind,
                                             .target = e.target,
                                             .json = buf_view(&json),
                                             .exclude = e.exclude_json});
        break;
    }
    give_back(h, &json);
    buf_free(&scratch);
}

static void on_message(void *ctx, struct str channel, struct str payload)
{
    struct hub *h = ctx;
    if (!topics_message(&h->topics, channel, payload))
        on_envelope(h, channel, payload);
}

static void on_confirmed(void *ctx, uint64_t mark)
{
    struct hub *h = ctx;
    interest_confirmed(&h->interest, mark);
    sweep_confirmed(&h->topics.sweep);
}

static void on_up(void *ctx)
{
    struct hub *h = ctx;
    topics_up(&h->topics, h->bus);
    interest_up(&h->interest, h->bus);
}

static void on_down(void *ctx, const char *why)
{
    struct hub *h = ctx;
    topics_down(&h->topics);
    interest_down(&h->interest);
    watches_down(&h->watches, why);
}

const struct bus_events hub_bus_events = {
    .message = on_message,
    .confirmed = on_confirmed,
    .up = on_up,
    .down = on_down,
};

void hub_set_bus(struct hub *h, struct bus *b, int64_t linger_ms)
{
    interest_set_linger(&h->interest, linger_ms);
    if (h->bus == b)
        return;
    if (h->interest.bus)
        on_down(h, "another bus takes its place");
    h->bus = b;
    if (b && b->ops->is_up(b))
        on_up(h);
}

/* ---- waiting for confirmations ---- */

void hub_await(struct hub *h, struct hub_wait *w, void (*fn)(struct hub_wait *w))
{
    interest_await(&h->interest, w, fn);
}

void hub_await_cancel(struct hub_wait *w)
{
    if (w->link.next)
        list_unlink(&w->link);
}

/* ---- for what is neither room nor user ---- */

void hub_listen(struct hub *h, struct topic *t, struct str channel,
                void (*message)(struct topic *t, struct str payload))
{
    topics_listen(&h->topics, t, channel, message);
}

void hub_unlisten(struct hub *h, struct topic *t)
{
    if (t->channel)
        topics_unlisten(&h->topics, t);
}

struct topic *hub_topic(const struct hub *h, struct str channel)
{
    return topics_find(&h->topics, channel);
}

void hub_watch(struct hub *h, struct hub_watch *w)
{
    watches_add(&h->watches, w);
}

void hub_unwatch(struct hub_watch *w)
{
    if (w->link.next)
        list_unlink(&w->link);
    hub_await_cancel(&w->wait);
}

bool hub_is_up(const struct hub *h)
{
    return h->bus && h->bus->ops->is_up(h->bus);
}

const char *hub_why_down(const struct hub *h)
{
    if (!h->bus)
        return "there is no bus";
    return hub_is_up(h) ? "" : h->bus->ops->why_down(h->bus);
}

void hub_eval(struct hub *h, struct script *s, const struct str *keys, size_t keys_n,
              const struct str *args, size_t args_n, bus_reply_fn fn, void *ctx)
{
    script_call(h->bus, s, keys, keys_n, args, args_n, fn, ctx);
}

void hub_call(struct hub *h, const struct str *argv, size_t n, bus_reply_fn fn, void *ctx)
{
    if (h->bus)
        h->bus->ops->call(h->bus, argv, n, fn, ctx);
    else
        fn(ctx, &(struct bus_reply){.type = BUS_DOWN, .text = STR("there is no bus")});
}
