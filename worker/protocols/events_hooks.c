/* events_hooks: the bodies the back end gets and what its answers do (PROTOCOL A10). */
#include "worker/protocols/events_client.h"

#include "common/log.h"
#include "common/mem.h"
#include "worker/hub/publication.h"

#define ROOM "events"
#define SENDS_MAX 1000 /* of one answer */

static struct services *services_of(const struct conn *c)
{
    return endpoint_of(c)->services;
}

void events_hook_body(const struct conn *c, const char *hook, struct buf *out)
{
    char id[UUID_TEXT + 1];
    struct str user = events_user(c);
    events_id(c, id);
    buf_printf(out, "{\"hook\":\"%s\",\"clientId\":\"%s\"", hook, id);
    if (user.p) {
        buf_str(out, STR(",\"userId\":"));
        buf_json(out, user);
    }
}

static void put_metadata(const struct conn *c, struct buf *out)
{
    const char *metadata = events_of(c)->metadata;
    if (!metadata)
        return;
    buf_str(out, STR(",\"metadata\":"));
    buf_str(out, str_of(metadata));
}

bool events_hook_ask(struct events_pending *p, struct str url, struct str body,
                     webhook_fn fn)
{
    struct conn *c = p->c;
    p->call = webhook_post(services_of(c)->webhooks, &p->set->c->hooks, url, body,
                           events_order(c), fn, p);
    if (p->call)
        return true;
    events_pending_end(c);
    session_close(c, 4503, "Overloaded, try later");
    return false;
}

/* ---- what the back end wants sent ---- */

static void note_bad_send(unsigned index, const char *why)
{
    static struct log_limit limit;
    unsigned unlogged;
    if (log_permit(&limit, 10, 10000, &unlogged))
        log_warn("message hook: send[%u]: %s unlogged=%u", index, why, unlogged);
}

static void carry_out(struct hub *hub, struct str send)
{
    struct scan_value v;
    struct buf scratch = {0};
    size_t pos = 0;
    unsigned n = 0;
    while (scan_next(send, &pos, &v)) {
        struct hub_event ev;
        struct err e;
        buf_clear(&scratch);
        if (n++ == SENDS_MAX) {
            note_bad_send(n - 1,
                          "one answer holds too many; it and the rest are left out");
            break;
        }
        if (v.type != SCAN_OBJECT)
            note_bad_send(n - 1, "not an object");
        else if (publication_read(v.raw, &ev, &scratch, &e) != 0)
            note_bad_send(n - 1, e.text);
        else
            hub_publish(hub, &ev);
    }
    buf_free(&scratch);
}

/* ---- custom events ---- */

static void on_message_answer(void *ctx, int status, struct str body, const char *why)
{
    struct events_pending *p = ctx;
    struct scan_member wanted[] = {{.name = "send"}};
    bool ok = status >= 200 && status < 300;
    if (ok && body.n && scan_text(body, wanted, 1) == SCAN_OBJECT &&
        wanted[0].value.type == SCAN_ARRAY)
        carry_out(p->hub, wanted[0].value.raw); /* may end this very connection */
    else if (!ok)
        log_debug("message hook status=%d: %s", status, why ? why : "");
    p->call = NULL;
    if (p->c)
        events_pending_done(p->c);
    else
        events_pending_free(p);
}

static void put_member(struct buf *out, const char *name, const struct scan_value *v)
{
    if (v->type == SCAN_BAD)
        return;
    buf_printf(out, ",\"%s\":", name);
    buf_str(out, v->raw);
}

void events_custom(struct conn *c, const struct events_message *m)
{
    const struct conf_endpoint *conf = events_conf(c);
    bool by_redis = conf->inbound == INBOUND_REDIS;
    COUNT(c->net->counters, events_custom);
    if (!by_redis && conf->hooks.message.n == 0)
        return;
    struct buf body = {0};
    events_hook_body(c, "message", &body);
    put_metadata(c, &body);
    buf_str(&body, STR(",\"message\":{\"event\":"));
    buf_str(&body, m->event.raw);
    put_member(&body, "data", &m->data);
    put_member(&body, "id", &m->id);
    buf_str(&body, STR("}}"));
    if (by_redis)
        hub_publish_raw(services_of(c)->hub, STR("ws:inbound"), buf_view(&body));
    if (conf->hooks.message.n) {
        conn_pause(c); /* in order: the next message waits for this answer */
        struct events_pending *p = events_pending_new(c);
        p->is_message = true;
        events_hook_ask(p, conf->hooks.message, buf_view(&body), on_message_answer);
    }
    buf_free(&body);
}

/* ---- news nobody waits for ---- */

static void tell(struct conn *c, struct str url, struct buf *body)
{
    buf_str(body, STR(",\"serverId\":"));
    buf_json(body, str_of(hub_server_id(services_of(c)->hub)));
    buf_char(body, '}');
    if (events_conf(c)->inbound == INBOUND_REDIS)
        hub_publish_raw(services_of(c)->hub, STR("ws:inbound"), buf_view(body));
    if (url.n)
        webhook_post(services_of(c)->webhooks, &events_conf(c)->hooks, url,
                     buf_view(body), events_order(c), NULL, NULL);
}

static bool is_wanted(const struct conn *c, struct str url)
{
    return url.n || events_conf(c)->inbound == INBOUND_REDIS;
}

static void begin_news(struct conn *c, const char *hook, struct buf *body)
{
    events_hook_body(c, hook, body);
    put_metadata(c, body);
    buf_str(body, STR(",\"endpoint\":"));
    buf_json(body, events_conf(c)->path);
}

void events_tell_connected(struct conn *c)
{
    struct str url = events_conf(c)->hooks.connected;
    struct buf body = {0};
    if (!is_wanted(c, url))
        return;
    begin_news(c, "connected", &body);
    tell(c, url, &body);
    buf_free(&body);
}

void events_tell_disconnected(struct conn *c, unsigned code, const char *cause)
{
    struct str url = events_conf(c)->hooks.disconnected;
    struct buf body = {0};
    if (!is_wanted(c, url))
        return;
    begin_news(c, "disconnected", &body);
    buf_printf(&body, ",\"code\":%u,\"reason\":", code);
    buf_json(&body, str_of(cause));
    buf_printf(&body, ",\"durationMs\":%" PRId64, net_now(c->net) - c->st.opened_ms);
    tell(c, url, &body);
    buf_free(&body);
}

void events_lost(struct endpoint *e, struct str server_id)
{
    struct str url = e->set->c->hooks.disconnected;
    struct buf body = {0};
    if (!url.n)
        return;
    buf_str(&body, STR("{\"hook\":\"lost\",\"serverId\":"));
    buf_json(&body, server_id);
    buf_char(&body, '}');
    webhook_post(e->services->webhooks, &e->set->c->hooks, url, buf_view(&body), e, NULL,
                 NULL);
    buf_free(&body);
}
