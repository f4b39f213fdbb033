#include "worker/hub/rooms.h"

#include "common/mem.h"

#define KEY_KEEP (64 * 1024) /* a longer scratch is given back at once */

static struct str channel_of(const void *item)
{
    return room_channel(item);
}

static struct str uuid_of(const void *item)
{
    const struct conn *c = item;
    return (struct str){(const char *)c->st.uuid.b, sizeof(c->st.uuid.b)};
}

void rooms_init(struct rooms *r)
{
    *r = (struct rooms){.key = NEW(struct buf)};
    map_init(&r->by_channel, channel_of);
    map_init(&r->clients, uuid_of);
}

void rooms_fini(struct rooms *r)
{
    MAP_EACH (struct room, room, &r->by_channel) {
        BUG_ON(room->n > 0);
        free(room);
    }
    map_fini(&r->by_channel);
    map_fini(&r->clients);
    buf_free(r->key);
    free(r->key);
}

static struct str channel_for(const struct rooms *r, enum hub_kind kind, struct str name)
{
    if (r->key->cap > KEY_KEEP)
        buf_free(r->key);
    buf_clear(r->key);
    buf_str(r->key, kind == HUB_USER ? STR("ws:user:") : STR("ws:room:"));
    buf_str(r->key, name);
    return buf_view(r->key);
}

struct room *rooms_find(const struct rooms *r, enum hub_kind kind, struct str name)
{
    return map_get(&r->by_channel, channel_for(r, kind, name));
}

struct room *rooms_need(struct rooms *r, enum hub_kind kind, struct str name)
{
    struct str channel = channel_for(r, kind, name);
    struct room *room = map_get(&r->by_channel, channel);
    if (room)
        return room;
    room = mem_new(sizeof(*room) + channel.n);
    list_init(&room->idle.link);
    room->channel_n = (uint32_t)channel.n;
    memcpy(room->channel, channel.p, channel.n);
    map_put(&r->by_channel, room);
    return room;
}

void rooms_drop(struct rooms *r, struct room *room)
{
    BUG_ON(room->n > 0);
    list_unlink(&room->idle.link);
    map_remove(&r->by_channel, room_channel(room));
    free(room);
}

struct conn *rooms_client(const struct rooms *r, struct str id)
{
    struct uuid uuid;
    if (!uuid_parse(id, &uuid))
        return NULL;
    return map_get(&r->clients, (struct str){(const char *)uuid.b, sizeof(uuid.b)});
}

int rooms_index(const struct conn *c, enum hub_kind kind, struct str name)
{
    for (unsigned i = 0; i < c->subs.n; i++) {
        const struct room *room = conn_subs_all(&c->subs)[i].room;
        if (room_kind(room) == kind && str_eq(room_name(room), name))
            return (int)i;
    }
    return -1;
}

/* Moves the members between their inline place and the heap as needed. cap ≥ n. */
static void resize(struct room *room, uint32_t cap)
{
    struct member *v = room->cap > 1 ? room->v : NULL;
    if (cap > 1) {
        struct member one = room->one;
        v = mem_resize(v, cap * sizeof(*v));
        if (room->cap == 1)
            v[0] = one;
        room->v = v;
    } else if (v) {
        struct member one = v[0];
        free(v);
        room->one = one;
    }
    room->cap = cap;
}

static uint32_t push_member(struct room *room, struct conn *c, uint32_t at)
{
    if (room->n == 0) {
        list_unlink(&room->idle.link);
        room->cap = 1;
    } else if (room->n == room->cap) {
        resize(room, room->cap < 4 ? 4 : room->cap + room->cap / 2);
    }
    room_members(room)[room->n] = (struct member){c, at};
    return room->n++;
}

static void remove_member(struct room *room, uint32_t at)
{
    struct member *v = room_members(room), last = v[room->n - 1];
    v[at] = last;
    conn_subs_all(&last.conn->subs)[last.at].at = at;
    room->n--;
    if (room->n == 0) {
        resize(room, 1);
        room->cap = 0;
        list_init(&room->idle.link);
    } else if (room->cap > 1 && room->n <= room->cap / 4) {
        resize(room, room->n == 1 ? 1 : room->cap / 2);
    }
}

/* Moves the memberships between their inline place and the heap as needed. cap ≥ n. */
static void resize_subs(struct conn_subs *s, uint16_t cap)
{
    struct sub *v = s->cap > 1 ? s->v : NULL;
    if (cap > 1) {
        struct sub one = s->one;
        v = mem_resize(v, cap * sizeof(*v));
        if (s->cap == 1)
            v[0] = one;
        s->v = v;
    } else {
        free(v);
    }
    s->cap = cap;
}

/* Exact while it is small: most connections stay in a handful of rooms. */
static void push_sub(struct conn_subs *s, struct room *room)
{
    if (s->n == s->cap) {
        uint32_t cap = s->cap < 4 ? s->cap + 1u : s->cap + s->cap / 2u;
        resize_subs(s, (uint16_t)MIN(cap, UINT16_MAX));
    }
    conn_subs_all(s)[s->n++] = (struct sub){room, 0};
}

static void point_back(struct conn_subs *s, unsigned i)
{
    struct sub *v = conn_subs_all(s);
    room_members(v[i].room)[v[i].at].at = i;
}

static void remove_sub(struct conn_subs *s, unsigned i)
{
    struct sub *v = conn_subs_all(s);
    s->n--;
    if (i < s->n) {
        v[i] = v[s->n];
        point_back(s, i);
    }
    if (s->n == 0)
        resize_subs(s, 0);
}

static size_t *population(struct rooms *r, const struct room *room)
{
    return room_kind(room) == HUB_USER ? &r->users_n : &r->rooms_n;
}

void rooms_enter(struct rooms *r, struct room *room, struct conn *c)
{
    struct conn_subs *s = &c->subs;
    BUG_ON(s->n == UINT16_MAX);
    if (room->n == 0)
        ++*population(r, room);
    push_sub(s, room);
    unsigned i = s->n - 1u;
    struct sub *v = conn_subs_all(s);
    v[i].at = push_member(room, c, i);
    if (i > 0 && room_kind(room) == HUB_USER) {
        struct sub first = v[0];
        v[0] = v[i];
        v[i] = first;
        point_back(s, 0);
        point_back(s, i);
    }
}

struct room *rooms_exit(struct rooms *r, struct conn *c, unsigned i)
{
    struct sub sub = conn_subs_all(&c->subs)[i];
    remove_member(sub.room, sub.at);
    remove_sub(&c->subs, i);
    if (sub.room->n == 0)
        --*population(r, sub.room);
    return sub.room;
}

size_t rooms_memory(const struct rooms *r)
{
    size_t n =
        (r->by_channel.cap + r->clients.cap) * sizeof(struct map_slot) + r->key->cap;
    MAP_EACH (struct room, room, &r->by_channel) {
        n += memory_block(sizeof(*room) + room->channel_n);
        n += room->cap > 1 ? memory_block(room->cap * sizeof(struct member)) : 0;
    }
    return n;
}
