#include "worker/protocols/endpoint.h"

#include "common/mem.h"

const struct protocol *protocol_find(int conf_protocol)
{
    static const struct protocol *const protocols[] = {
        [PROTOCOL_EVENTS] = &protocol_events,
        [PROTOCOL_ECHO] = &protocol_echo,
        [PROTOCOL_SIGNALING] = &protocol_signaling,
        [PROTOCOL_NOTIFICATIONS] = &protocol_notifications,
    };
    return protocols[conf_protocol];
}

struct settings *settings_new(struct conf *conf, const struct conf_endpoint *c,
                              struct err *e)
{
    struct auth *auth = NULL;
    bool asks_auth = c->protocol != PROTOCOL_ECHO && c->auth.method != AUTH_HOOK;
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

static void take_numbers(struct endpoint *e)
{
    e->env.max_message = (uint64_t)e->set->c->max_message;
    e->env.backpressure = (uint64_t)e->set->c->backpressure;
    bool packs = e->set->c->compression == COMPRESSION_ON;
    e->env.pack_from = packs ? (uint64_t)e->set->c->compression_threshold : UINT64_MAX;
    e->env.pack_level = (int)e->set->c->compression_level;
}

struct endpoint *endpoint_new(struct services *services, struct settings *set)
{
    struct endpoint *e = NEW(struct endpoint);
    e->services = services;
    e->protocol = protocol_find(set->c->protocol);
    e->env.ops = &e->protocol->session;
    list_init(&e->link);
    e->set = set;
    take_numbers(e);
    if (e->protocol->open)
        e->protocol->open(e);
    return e;
}

void endpoint_apply(struct endpoint *e, struct settings *set)
{
    settings_unref(e->set);
    e->set = set;
    e->gone = false;
    take_numbers(e);
    if (e->protocol->applied)
        e->protocol->applied(e);
}

void endpoint_free(struct endpoint *e)
{
    if (!e)
        return;
    BUG_ON(e->env.connections > 0);
    if (e->protocol->close)
        e->protocol->close(e);
    list_unlink(&e->link);
    settings_unref(e->set);
    free(e);
}
