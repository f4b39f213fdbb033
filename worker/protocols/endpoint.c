#include "worker/protocols/endpoint.h"

#include "common/mem.h"

const struct protocol *protocol_find(int conf_protocol)
{
    return conf_protocol == PROTOCOL_ECHO ? &protocol_echo : &protocol_events;
}

struct settings *settings_new(struct conf *conf, const struct conf_endpoint *c,
                              struct err *e)
{
    struct auth *auth = NULL;
    bool asks_auth = c->protocol == PROTOCOL_EVENTS && c->auth.method != AUTH_HOOK;
    if (asks_auth && !(auth = auth_new(&c->auth, e))) {
        err_add(e, "endpoint " STR_FMT ": auth", STR_ARG(c->path));
        return NULL;
    }
    struct settings *s = NEW(struct settings);
    *s = (struct settings){.refs = 1, .conf = conf_ref(conf), .c = c, .auth = auth};
    return s;
}

struct settings *settings_ref(struct settings *s)
{
    s->refs++;
    return s;
}

void settings_unref(struct settings *s)
{
    if (!s || --s->refs > 0)
        return;
    auth_free(s->auth);
    conf_unref(s->conf);
    free(s);
}

struct endpoint *endpoint_new(struct services *services, struct settings *set)
{
    struct endpoint *e = NEW(struct endpoint);
    e->services = services;
    e->protocol = protocol_find(set->c->protocol);
    e->env.ops = &e->protocol->session;
    list_init(&e->link);
    endpoint_apply(e, set);
    return e;
}

void endpoint_apply(struct endpoint *e, struct settings *set)
{
    settings_unref(e->set);
    e->set = set;
    e->gone = false;
    e->env.max_message = (uint64_t)set->c->max_message;
    e->env.backpressure = (uint64_t)set->c->backpressure;
}

void endpoint_free(struct endpoint *e)
{
    if (!e)
        return;
    BUG_ON(e->env.connections > 0);
    list_unlink(&e->link);
    settings_unref(e->set);
    free(e);
}
