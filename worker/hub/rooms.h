/* rooms: named sets of connections. A room and a user are one struct, told apart by their
 * channel; so is the index of clients by id. Owns the rooms and the vectors at both ends
 * of a membership; borrows connections. Never speaks to the bus and never frees a room
 * that has members. */
#ifndef WORKER_HUB_ROOMS_H
#define WORKER_HUB_ROOMS_H

#include "common/list.h"
#include "common/map.h"
#include "worker/hub/hub.h"

/* The other end of a conn's struct sub. */
struct member {
    struct conn *conn;
    uint32_t at; /* index of ours in conn->subs */
} __attribute__((packed, aligned(4)));

struct room {
    union { /* what a room is decides what it needs room for */
        struct {
            struct list link; /* n == 0: in interest's idle list, or unlinked */
            int64_t due_ms;
        } idle;
        struct member one; /* cap == 1: most users have one connection */
        struct member *v;  /* cap > 1 */
    };
    uint32_t n, cap;
    uint32_t epoch; /* of the bus connection it is subscribed in; 0: in none */
    uint32_t channel_n;
    char channel[]; /* "ws:room:<name>" or "ws:user:<name>": the key, too */
};
#define ROOM_PREFIX_LEN 8

struct rooms {
    struct map by_channel;
    struct map clients;      /* uuid → conn */
    size_t rooms_n, users_n; /* with members */
    struct buf *key;         /* scratch for look-ups */
};

void rooms_init(struct rooms *r);
void rooms_fini(struct rooms *r); /* all memberships must have ended */

static inline struct str room_channel(const struct room *room)
{
    return (struct str){room->channel, room->channel_n};
}
static inline struct str room_name(const struct room *room)
{
    return (struct str){room->channel + ROOM_PREFIX_LEN,
                        room->channel_n - ROOM_PREFIX_LEN};
}
static inline enum hub_kind room_kind(const struct room *room)
{
    return room->channel[3] == 'u' ? HUB_USER : HUB_ROOM;
}
static inline struct member *room_members(struct room *room)
{
    return room->cap > 1 ? room->v : &room->one;
}

struct room *rooms_find(const struct rooms *r, enum hub_kind kind,
                        struct str name); /* may be empty; NULL: none */
struct room *rooms_need(struct rooms *r, enum hub_kind kind,
                        struct str name);            /* makes an empty one */
void rooms_drop(struct rooms *r, struct room *room); /* frees an empty one */
struct conn *rooms_client(const struct rooms *r, struct str id);

/* The index in c->subs of its membership in a room of that name; -1: it is not in it.
 */
int rooms_index(const struct conn *c, enum hub_kind kind, struct str name);
/* A user goes to the front: the first sub is the user's membership, if there is one.
 * Takes the room out of the idle list. */
void rooms_enter(struct rooms *r, struct room *room, struct conn *c);
/* Ends membership i; returns the room, which may be empty now. */
struct room *rooms_exit(struct rooms *r, struct conn *c, unsigned i);

size_t rooms_memory(const struct rooms *r);

#endif
