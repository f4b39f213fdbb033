#include "worker/http/about.h"

#include "worker/http/site.h"

static void put_text(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, value);
}

static void put_number(struct buf *out, const char *name, int64_t value)
{
    buf_printf(out, ",\"%s\":%" PRId64, name, value);
}

static void put_flag(struct buf *out, const char *name, bool value)
{
    buf_printf(out, ",\"%s\":%s", name, value ? "true" : "false");
}

static const struct conf_key *endpoint_key(const char *name)
{
    struct err e;
    const struct conf_key *list = conf_find(&conf_main_section, STR("endpoints"), &e);
    return conf_find(list->sub, str_of(name), &e);
}

static void put_choice(struct buf *out, const char *name, int value)
{
    put_text(out, name, conf_choice(endpoint_key(name), value));
}

static void put_auth(struct buf *out, const struct conf_endpoint *p)
{
    struct err e;
    const struct conf_key *method =
        conf_find(endpoint_key("auth")->sub, STR("method"), &e);
    put_text(out, "auth", conf_choice(method, p->auth.method));
}

static void put_events(struct buf *out, const struct conf_endpoint *p)
{
    put_choice(out, "encryption", p->encryption);
    put_flag(out, "require_encryption", p->require_encryption);
    put_number(out, "auth_timeout", p->auth_timeout);
    put_number(out, "heartbeat_interval", p->heartbeat_interval);
    put_number(out, "heartbeat_timeout", p->heartbeat_timeout);
    put_number(out, "max_rooms", p->max_rooms);
    put_flag(out, "publish", p->rooms.publish.n > 0);
    put_flag(out, "acknowledge", p->acknowledge);
}

static void put_signaling(struct buf *out, const struct conf_endpoint *p)
{
    buf_str(out, STR(",\"roles\":["));
    for (size_t i = 0; i < p->roles.n; i++) {
        if (i > 0)
            buf_char(out, ',');
        buf_json(out, p->roles.v[i]);
    }
    buf_char(out, ']');
    put_number(out, "room_size", p->room_size);
    put_number(out, "role_size", p->role_size);
    put_number(out, "takeover_probe", p->takeover_probe);
    put_number(out, "grace", p->grace);
    put_flag(out, "ice_servers", p->ice_servers.n > 0);
}

static void put_endpoint(struct buf *out, const struct conf_endpoint *p)
{
    buf_str(out, STR("{\"path\":"));
    buf_json(out, p->path);
    put_choice(out, "protocol", p->protocol);
    put_number(out, "max_message", p->max_message);
    put_number(out, "backpressure", p->backpressure);
    put_choice(out, "refusals", p->refusals);
    put_choice(out, "compression", p->compression);
    if (p->compression == COMPRESSION_ON)
        put_number(out, "compression_threshold", p->compression_threshold);
    if (p->protocol != PROTOCOL_ECHO)
        put_auth(out, p);
    if (p->protocol == PROTOCOL_EVENTS)
        put_events(out, p);
    else if (p->protocol == PROTOCOL_SIGNALING)
        put_signaling(out, p);
    else if (p->protocol == PROTOCOL_NOTIFICATIONS)
        put_number(out, "backlog", p->backlog);
    buf_char(out, '}');
}

void about_broker(struct buf *out, const struct net *net)
{
    const struct routes *routes = &net->site->routes;
    buf_str(out, STR("{\"version\":\"" HELIOD_VERSION "\""));
    put_number(out, "ping_after", net->ping_after_ms);
    put_number(out, "idle_timeout", net->idle_timeout_ms);
    buf_str(out, STR(",\"endpoints\":["));
    for (size_t i = 0; i < routes->n; i++) {
        if (i > 0)
            buf_char(out, ',');
        put_endpoint(out, routes->v[i].conf);
    }
    buf_str(out, STR("]}"));
}
