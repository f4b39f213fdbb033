/* hub: who is in which room, who is which user, who may hear what; and what of it Redis
 * must tell us. Owns rooms, users, memberships and the interest in channels; borrows
 * connections until hub_forget. One message becomes one frame, shared by all who get it.
 * Never delivers to a connection that hub_register has not seen. */
#ifndef WORKER_HUB_HUB_H
#define WORKER_HUB_HUB_H

#include "common/list.h"
#include "common/map.h"
#include "worker/hub/bus.h"
#include "worker/hub/script.h"
#include "worker/hub/topics.h"
#include "worker/net/conn.h"

enum hub_kind { HUB_CLIENT, HUB_USER, HUB_ROOM, HUB_BROADCAST };

/* A message to be delivered. json: the {"event":…,"data":…} clients see. exclude: the raw
 * JSON array of connection ids (anything else excludes nobody); p NULL: none. */
struct hub_message {
    enum hub_kind kind;
    struct str target; /* client id, user, room; unused for broadcast */
    struct str json;
    struct str exclude;
    const struct conn *except; /* one local connection left out, or NULL */
};

struct hub;
/* An encrypted connection's own way: called instead of the shared frame for connections
 * with CONN_ENCRYPTED. */
typedef void (*hub_seal_fn)(struct conn *c, struct str json);

struct hub *hub_new(struct net *net, hub_seal_fn seal);
/* Connections may still stand (they are forgotten) or be gone (net_fini); the event base
 * must still be there. */
void hub_free(struct hub *h);
/* The bus's events go to the hub: open the bus with these, then hub_set_bus. */
extern const struct bus_events hub_bus_events;
void hub_set_bus(struct hub *h, struct bus *b, int64_t linger_ms);
const char *hub_server_id(const struct hub *h); /* a UUID, of this process life */

/* The connection becomes reachable: by id, as the room of its id, by broadcast, and as
 * `user` (empty: by no user). */
void hub_register(struct hub *h, struct conn *c, struct str user);
/* Everything of it vanishes. Safe for connections never registered. */
void hub_forget(struct hub *h, struct conn *c);

bool hub_join(struct hub *h, struct conn *c,
              struct str room); /* false: was in it already */
bool hub_leave(struct hub *h, struct conn *c,
               struct str room); /* false: was not; the own id counts as a room */
bool hub_is_member(const struct hub *h, const struct conn *c, struct str room);
size_t hub_room_count(const struct conn *c); /* without own id and user */
/* fn for each room of the connection (not own id). */
void hub_each_room(const struct conn *c, void (*fn)(void *ctx, struct str room),
                   void *ctx);

/* A confirmation to wait for: everything subscribed so far (or at once while the bus is
 * down). fn is called exactly once, from the loop or before hub_await returns;
 * hub_await_cancel before the embedding struct dies. */
struct hub_wait {
    struct list link;
    uint64_t mark;
    void (*fn)(struct hub_wait *w);
};
void hub_await(struct hub *h, struct hub_wait *w, void (*fn)(struct hub_wait *w));
void hub_await_cancel(struct hub_wait *w);

/* To this worker's connections only. Returns how many got it. */
size_t hub_deliver(struct hub *h, const struct hub_message *m);
/* Local first, then one PUBLISH of the envelope with our serverId (PROTOCOL A8, A11).
 * event_json and data_json are raw JSON (data p NULL: absent). false: the bus is down,
 * only local members got it. */
struct hub_event {
    enum hub_kind kind;
    struct str target, event_json, data_json, exclude_json;
    const struct conn *except; /* excluded here and, by id, elsewhere */
};
bool hub_publish(struct hub *h, const struct hub_event *ev);
/* Bus only, serverId `heliod` (API, helioctl): delivered when it comes back. */
void hub_publish_acked(struct hub *h, const struct hub_event *ev, bus_ack_fn fn,
                       void *ctx);
/* Any payload to any channel behind the prefix (ws:inbound). */
bool hub_publish_raw(struct hub *h, struct str channel, struct str payload);

/* ---- for what is neither room nor user ---- */

/* Subscribes; what is published from the confirmation on (hub_await) is heard. channel:
 * begins with TOPIC_PREFIX, copied. A topic is embedded and zeroed before. After a
 * reconnect it is subscribed again without anybody's doing; that it is, only a watch's up
 * tells. */
void hub_listen(struct hub *h, struct topic *t, struct str channel,
                void (*message)(struct topic *t, struct str payload));
void hub_unlisten(struct hub *h, struct topic *t); /* safe for a zeroed one, and twice */
struct topic *hub_topic(const struct hub *h, struct str channel); /* NULL: none */

/* The bus comes and goes. up, from the loop: all topics are subscribed again and
 * confirmed; soon after hub_watch, if the bus is up then. down, once after each up, at
 * the moment of the loss: what is said from now on is lost. A watch is embedded and
 * zeroed before; both callbacks may be NULL, and may end any watch, their own too. */
struct hub_watch {
    struct list link;
    struct hub_wait wait;
    void (*up)(struct hub_watch *w);
    void (*down)(struct hub_watch *w, const char *why);
    struct watches *of; /* the hub's */
};
void hub_watch(struct hub *h, struct hub_watch *w);
void hub_unwatch(struct hub_watch *w); /* safe for a zeroed one, and twice */
bool hub_is_up(const struct hub *h);   /* and takes calls: its queue is not full */
const char *hub_why_down(const struct hub *h); /* "" while up */

/* script_call and bus->call over the hub's bus. */
void hub_eval(struct hub *h, struct script *s, const struct str *keys, size_t keys_n,
              const struct str *args, size_t args_n, bus_reply_fn fn, void *ctx);
void hub_call(struct hub *h, const struct str *argv, size_t n, bus_reply_fn fn,
              void *ctx);

/* For questions of helioctl: each room or user and its members. */
void hub_each(const struct hub *h, enum hub_kind kind,
              void (*fn)(void *ctx, struct str name, size_t members), void *ctx);
struct str hub_user_of(const struct conn *c); /* p NULL: none */
size_t hub_memory(const struct hub *h);       /* bytes held */

#endif
