#include "worker/hub/interest.h"

#include "common/clock.h"

/* Empty rooms that linger: whoever joins and leaves ever new ones shall not fill the
 * memory (ours and that of Redis). */
#define IDLE_MAX 10000

#define OWN_CHANNEL_MAX (sizeof("ws:client:") + UUID_TEXT)

static void on_linger(evutil_socket_t fd, short what, void *arg);
static size_t declare_next(struct sweep *s);

static void arm(struct event *ev, int64_t ms)
{
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    event_add(ev, &tv);
}

void interest_init(struct interest *in, struct net *net, struct rooms *rooms)
{
    *in = (struct interest){.net = net, .rooms = rooms};
    list_init(&in->idle);
    list_init(&in->waits);
    evtimer_assign(&in->linger, net->base, on_linger, in);
    sweep_init(&in->sweep, net->base, declare_next, NULL);
}

void interest_fini(struct interest *in)
{
    event_del(&in->linger);
    sweep_fini(&in->sweep);
    while (!list_is_empty(&in->waits))
        list_unlink(in->waits.next);
    while (!list_is_empty(&in->idle))
        rooms_drop(in->rooms, container_of(in->idle.next, struct room, idle.link));
}

/* Whoever has been waiting for longer than is now the rule need not wait on: the list
 * stays in order. */
void interest_set_linger(struct interest *in, int64_t linger_ms)
{
    int64_t latest = clock_now_ms() + linger_ms;
    in->linger_ms = linger_ms;
    LIST_EACH (node, &in->idle) {
        struct room *room = container_of(node, struct room, idle.link);
        room->idle.due_ms = MIN(room->idle.due_ms, latest);
    }
    if (!list_is_empty(&in->idle))
        arm(&in->linger, 0);
}

/* Rooms */

void interest_room(struct interest *in, struct room *room)
{
    if (!in->bus || room->epoch == in->epoch)
        return;
    room->epoch = in->epoch;
    in->bus->ops->subscribe(in->bus, room_channel(room));
}

static bool too_many_linger(const struct interest *in)
{
    const struct rooms *r = in->rooms;
    return r->by_channel.n - r->rooms_n - r->users_n > IDLE_MAX;
}

void interest_room_empty(struct interest *in, struct room *room)
{
    room->idle.due_ms = clock_now_ms() + in->linger_ms;
    list_append(&in->idle, &room->idle.link);
    if (too_many_linger(in))
        arm(&in->linger, 0);
    else if (!event_pending(&in->linger, EV_TIMEOUT, NULL))
        arm(&in->linger, in->linger_ms);
}

/* A client's own channel may have the name of a room somebody joined: the last user of it
 * decides. */
static void forget(struct interest *in, struct room *room)
{
    bool is_own_room =
        room_kind(room) == HUB_ROOM && rooms_client(in->rooms, room_name(room));
    if (in->bus && room->epoch == in->epoch && !is_own_room)
        in->bus->ops->unsubscribe(in->bus, room_channel(room));
    rooms_drop(in->rooms, room);
}

static void on_linger(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct interest *in = arg;
    int64_t now = clock_now_ms();
    while (!list_is_empty(&in->idle)) {
        struct room *room = container_of(in->idle.next, struct room, idle.link);
        if (room->idle.due_ms > now && !too_many_linger(in)) {
            arm(&in->linger, room->idle.due_ms - now);
            return;
        }
        forget(in, room);
    }
}

/* Clients */

static struct str own_channel(const char *prefix, const struct conn *c,
                              char out[OWN_CHANNEL_MAX])
{
    size_t n = strlen(prefix);
    memcpy(out, prefix, n);
    uuid_text(&c->st.uuid, out + n);
    return (struct str){out, n + UUID_TEXT};
}

void interest_client(struct interest *in, const struct conn *c)
{
    char text[OWN_CHANNEL_MAX];
    if (!in->bus)
        return;
    in->bus->ops->subscribe(in->bus, own_channel("ws:client:", c, text));
    in->bus->ops->subscribe(in->bus, own_channel("ws:room:", c, text));
}

void interest_client_gone(struct interest *in, const struct conn *c)
{
    char text[OWN_CHANNEL_MAX];
    if (!in->bus)
        return;
    in->bus->ops->unsubscribe(in->bus, own_channel("ws:client:", c, text));
    struct str id = {text + strlen("ws:client:"), UUID_TEXT};
    const struct room *room = rooms_find(in->rooms, HUB_ROOM, id);
    if (!room || room->epoch != in->epoch)
        in->bus->ops->unsubscribe(in->bus, own_channel("ws:room:", c, text));
}

/* After a reconnect everything is declared again, connection by connection. From the end:
 * a connection that vanishes meanwhile is replaced in the vector by one that was seen
 * already; new ones declare themselves. */

static size_t declare_again(struct interest *in, struct conn *c)
{
    if (c->subs.is_client)
        interest_client(in, c);
    for (unsigned i = 0; i < c->subs.n; i++)
        interest_room(in, conn_subs_all(&c->subs)[i].room);
    return 1 + c->subs.n;
}

static size_t declare_next(struct sweep *s)
{
    struct interest *in = container_of(s, struct interest, sweep);
    in->sweep_left = MIN(in->sweep_left, in->net->conns_n);
    return in->sweep_left ? declare_again(in, in->net->conns[--in->sweep_left]) : 0;
}

void interest_up(struct interest *in, struct bus *b)
{
    in->bus = b;
    if (++in->epoch == 0)
        in->epoch = 1;
    b->ops->subscribe(b, STR("ws:broadcast"));
    in->sweep_left = in->net->conns_n;
    sweep_start(&in->sweep, b);
}

/* Those who wait */

static void release(struct list *node)
{
    struct hub_wait *w = container_of(node, struct hub_wait, link);
    list_unlink(node);
    w->fn(w);
}

void interest_down(struct interest *in)
{
    in->bus = NULL;
    sweep_stop(&in->sweep);
    while (!list_is_empty(&in->waits))
        release(in->waits.next);
}

void interest_confirmed(struct interest *in, uint64_t mark)
{
    while (!list_is_empty(&in->waits)) {
        struct list *first = in->waits.next;
        if (container_of(first, struct hub_wait, link)->mark > mark)
            break;
        release(first);
    }
    sweep_confirmed(&in->sweep);
}

void interest_await(struct interest *in, struct hub_wait *w,
                    void (*fn)(struct hub_wait *w))
{
    list_init(&w->link);
    w->fn = fn;
    w->mark = in->bus ? in->bus->ops->mark(in->bus) : 0;
    if (!in->bus || in->bus->ops->confirmed(in->bus) >= w->mark)
        fn(w);
    else
        list_append(&in->waits, &w->link);
}
