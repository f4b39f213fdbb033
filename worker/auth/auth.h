/* auth: is this token good, and whose is it? One interface, one room per method that
 * needs no back end. Owns the keys it parsed. Never blocks, never opens a file, never
 * logs a token. */
#ifndef WORKER_AUTH_AUTH_H
#define WORKER_AUTH_AUTH_H

#include "common/buf.h"
#include "common/conf.h"

enum auth_verdict { AUTH_ACCEPTED, AUTH_REFUSED };
struct auth;

/* Parses keys and tokens of an auth block (any method but hook). NULL: e says what is
 * wrong, naming the key. */
struct auth *auth_new(const struct conf_auth *conf, struct err *e);
void auth_free(struct auth *a);
/* Whose a token is. */
struct auth_identity {
    struct buf user;
    bool has_user;     /* false: nobody in particular */
    int64_t expires_s; /* wall seconds at which it ends, for auth.enforce_expiry; 0: never
                          or not enforced */
};
void auth_identity_fini(struct auth_identity *who);

/* token p NULL: the client sent none. Accepted: *who (zeroed before) is filled. Refused:
 * why says it (for the debug log and the counters; it never holds the token), *who stays
 * empty. now_s: wall seconds. */
enum auth_verdict auth_check(const struct auth *a, struct str token, int64_t now_s,
                             struct auth_identity *who, struct err *why);

/* One method's side. */
struct auth_ops {
    void *(*open)(
        const struct conf_auth *conf,
        struct err *e); /* NULL with e->text empty is not an error for anonymous */
    void (*close)(void *state);
    enum auth_verdict (*check)(const void *state, struct str token, int64_t now_s,
                               struct auth_identity *who, struct err *why);
};
extern const struct auth_ops auth_anonymous_ops, auth_static_ops, auth_jwt_ops,
    auth_ticket_ops;

#endif
