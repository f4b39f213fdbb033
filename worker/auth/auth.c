#include "worker/auth/auth.h"

#include "common/mem.h"

struct auth {
    const struct auth_ops *ops;
    void *state;
};

static const struct auth_ops *ops_of(int method)
{
    switch ((enum conf_auth_method)method) {
    case AUTH_ANONYMOUS:
        return &auth_anonymous_ops;
    case AUTH_STATIC:
        return &auth_static_ops;
    case AUTH_JWT:
        return &auth_jwt_ops;
    case AUTH_TICKET:
        return &auth_ticket_ops;
    case AUTH_HOOK:
        break; /* decided by the back end, not here */
    }
    return NULL;
}

struct auth *auth_new(const struct conf_auth *conf, struct err *e)
{
    const struct auth_ops *ops = ops_of(conf->method);
    BUG_ON(!ops);
    e->text[0] = '\0';
    void *state = ops->open(conf, e);
    if (!state && e->text[0])
        return NULL;
    struct auth *a = NEW(struct auth);
    a->ops = ops;
    a->state = state;
    return a;
}

void auth_identity_fini(struct auth_identity *who)
{
    buf_free(&who->user);
    *who = (struct auth_identity){0};
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    a->ops->close(a->state);
    free(a);
}

enum auth_verdict auth_check(const struct auth *a, struct str token, int64_t now_s,
                             struct auth_identity *who, struct err *why)
{
    return a->ops->check(a->state, token, now_s, who, why);
}
