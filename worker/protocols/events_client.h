/* events_client: what the event protocol keeps of a connection, and the verbs its rooms
 * share. Owns its struct, the session key and the one thing under way. */
#ifndef WORKER_PROTOCOLS_EVENTS_CLIENT_H
#define WORKER_PROTOCOLS_EVENTS_CLIENT_H

#include "common/scan.h"
#include "worker/auth/seal.h"
#include "worker/protocols/events.h"

enum events_state { EVENTS_UNAUTHORIZED, EVENTS_AUTHENTICATING, EVENTS_AUTHENTICATED };

/* The one operation of a connection that waits for a hook or for Redis. While there is
 * one, nothing more is read from the client (except during authentication, PROTOCOL A2),
 * so at most one exists. A message at the back end outlives its connection. */
struct events_pending {
    struct conn *c; /* NULL: gone; is_message only */
    struct hub *hub;
    bool is_message;
    struct settings *set;      /* as they were when it began */
    struct webhook_call *call; /* NULL: none under way */
    struct hub_wait wait;
    bool waits;      /* wait is queued in the hub */
    struct buf text; /* authentication: the client's `data`; join: the array of names
                        asked for */
    /* authentication */
    struct buf user, rooms; /* rooms: raw JSON array of the hook's answer */
    bool has_user;
    char *metadata;
    struct buf server_key, salt;
    /* join with acknowledgement */
    struct buf ack_id, joined; /* raw JSON id; names joined, JSON, comma-separated */
};

struct events_client {
    uint8_t state;
    bool empty_user;   /* the app gave "" as user id */
    int64_t phase_ms;  /* when `authenticate` came */
    int64_t expires_s; /* wall seconds, 0: never: auth.enforce_expiry */
    char *metadata;    /* raw JSON, NULL: none */
    char *origin;      /* until authenticated, when a hook wants it */
    struct seal *seal;
    struct events_pending *pending;
};
static inline struct events_client *events_of(const struct conn *c)
{
    return c->proto;
}
static inline const struct conf_endpoint *events_conf(const struct conn *c)
{
    return endpoint_of(c)->set->c;
}

/* Says something to this client about what it sent; sealed when it has a key. */
void events_reply(struct conn *c, struct str json);
void events_error(struct conn *c, const char *message);
/* `ack` of a message that carried an id (raw JSON), when the endpoint acknowledges.
 * rooms: JSON array, p NULL: none. */
void events_ack(struct conn *c, struct str id_json, bool ok, struct str rooms,
                const char *message);

struct events_pending *events_pending_new(struct conn *c);
void events_pending_end(struct conn *c);  /* cancels what is under way, but no message */
void events_pending_done(struct conn *c); /* the same; what was sent behind it is read */
/* Was the connection closed while somebody was asked? Then the operation is ended: the
 * answer, whatever it is, changes nothing any more. */
bool events_is_over(struct conn *c);
void events_pending_free(struct events_pending *p); /* of a connection that is gone */

/* The user id for hook bodies and patterns: p NULL when there is none. */
struct str events_user(const struct conn *c);
void events_id(const struct conn *c, char out[UUID_TEXT + 1]);

/* A message, taken apart. */
struct events_message {
    struct scan_value event, data, id; /* type SCAN_BAD: absent */
};

/* events_auth: PROTOCOL A3, A7 */
void events_authenticate(struct conn *c, const struct events_message *m);

/* events_rooms: PROTOCOL A5, A10 (publish) */
void events_join(struct conn *c, const struct events_message *m);
void events_leave(struct conn *c, const struct events_message *m);
void events_publish(struct conn *c, const struct events_message *m);
void events_join_array(struct conn *c, struct str array); /* without asking anybody */

/* events_hooks: PROTOCOL A10 */
/* What a connection's calls are put in order by: not its address, which may be another's
 * before the last of them has ended. */
static inline const void *events_order(const struct conn *c)
{
    return (const void *)(uintptr_t)c->st.id;
}
/* The head of every body: {"hook":…,"clientId":…[,"userId":…]; the caller goes on with a
 * comma and closes it. */
void events_hook_body(const struct conn *c, const char *hook, struct buf *out);
/* Posts for the pending operation. false: the queue was full and the client has been
 * closed 4503. */
bool events_hook_ask(struct events_pending *p, struct str url, struct str body,
                     webhook_fn fn);
void events_custom(struct conn *c, const struct events_message *m);
void events_tell_connected(struct conn *c);
void events_tell_disconnected(struct conn *c, unsigned code, const char *cause);

#endif
