/* endpoint: a configured path with its protocol: the thing a connection belongs to. Stays
 * the same object through reloads (its settings are swapped); leaves when it is
 * unconfigured and its last connection ended. Owns its settings (counted: a hook call
 * under way keeps the old ones). */
#ifndef WORKER_PROTOCOLS_ENDPOINT_H
#define WORKER_PROTOCOLS_ENDPOINT_H

#include "common/conf.h"
#include "worker/auth/auth.h"
#include "worker/auth/webhook.h"
#include "worker/hub/hub.h"
#include "worker/ws/session.h"

/* What every endpoint may use; the worker's. */
struct services {
    struct net *net;
    struct hub *hub;
    struct webhooks *webhooks;
    int64_t started_ms;      /* of the worker: heartbeat sweeps count from here */
    struct readers *readers; /* NULL while no endpoint is one of notifications */
};

/* One configuration generation of one endpoint. */
struct settings {
    unsigned refs;
    struct conf *conf; /* keeps `c` alive */
    const struct conf_endpoint *c;
    struct auth *auth; /* NULL when the method is hook or the protocol needs none */
};
struct settings *settings_new(struct conf *conf, const struct conf_endpoint *c,
                              struct err *e); /* parses keys */
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s);

struct endpoint;

/* What a protocol adds to session_ops. All but name and session may be NULL. */
struct protocol {
    const char *name;
    struct session_ops session;
    /* Life of an endpoint of this protocol: e->state is made, follows a reload, and ends
     * (no connection is left then). */
    void (*open)(struct endpoint *e);
    void (*applied)(struct endpoint *e);
    void (*close)(struct endpoint *e);
    /* A worker of this broker died without a farewell: its serverId. */
    void (*lost)(struct endpoint *e, struct str server_id);
    /* Appends members (`,"user":"u1","rooms":3`) to a helioctl row. */
    void (*describe)(struct conn *c, struct buf *json);
    /* The user a connection belongs to; p NULL: none. NULL: the hub knows. */
    struct str (*user)(const struct conn *c);
    /* The one room a connection is in; p NULL: none (yet). NULL: the hub knows. */
    struct str (*room)(const struct conn *c);
    /* The rooms this worker has members in. NULL: the hub knows. */
    void (*each_room)(struct endpoint *e,
                      void (*fn)(void *ctx, struct str room, size_t members), void *ctx);
    /* What it keeps for each connection, and the bytes of all else at an endpoint, for
     * `helioctl show memory`. 0, NULL: nothing. */
    size_t state_bytes;
    size_t (*memory)(const struct endpoint *e);
    /* An operator closes this connection (4411); it still has to be closed. */
    void (*kicked)(struct conn *c);
};
extern const struct protocol protocol_echo, protocol_events, protocol_signaling,
    protocol_notifications;
const struct protocol *protocol_find(int conf_protocol);

struct endpoint {
    struct session_env env; /* first */
    const struct protocol *protocol;
    struct settings *set;
    struct services *services;
    void *state;      /* the protocol's */
    bool gone;        /* no longer configured */
    struct list link; /* the worker's */
};
static inline struct endpoint *endpoint_of(const struct conn *c)
{
    return (struct endpoint *)c->env;
}
/* Takes over the reference to set. */
struct endpoint *endpoint_new(struct services *services, struct settings *set);
void endpoint_apply(struct endpoint *e, struct settings *set);
void endpoint_free(struct endpoint *e); /* without connections only */

#endif
