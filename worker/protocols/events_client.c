#include "worker/protocols/events_client.h"

#include "common/mem.h"

/* ---- words to the client ---- */

void events_seal(struct conn *c, struct str json)
{
    struct buf sealed = {0};
    struct err e = {0};
    if (seal_message(events_of(c)->seal, json, &sealed, &e) == 0)
        session_send_text(c, buf_view(&sealed));
    else
        session_close(c, 1011, "Encryption failed"); /* never in clear */
    buf_free(&sealed);
}

void events_reply(struct conn *c, struct str json)
{
    struct buf sealed = {0};
    struct err e = {0};
    if (!(c->st.flags & CONN_ENCRYPTED))
        session_reply_text(c, json);
    else if (seal_message(events_of(c)->seal, json, &sealed, &e) == 0)
        session_reply_text(c, buf_view(&sealed));
    else
        session_close(c, 1011, "Encryption failed");
    buf_free(&sealed);
}

void events_error(struct conn *c, const char *message)
{
    struct buf b = {0};
    buf_str(&b, STR("{\"event\":\"error\",\"data\":{\"message\":"));
    buf_json(&b, str_of(message));
    buf_str(&b, STR("}}"));
    events_reply(c, buf_view(&b));
    buf_free(&b);
}

void events_ack(struct conn *c, struct str id_json, bool ok, struct str rooms,
                const char *message)
{
    struct buf b = {0};
    if (!events_conf(c)->acknowledge || !id_json.p)
        return;
    buf_str(&b, STR("{\"event\":\"ack\",\"data\":{\"id\":"));
    buf_str(&b, id_json);
    buf_printf(&b, ",\"ok\":%s", ok ? "true" : "false");
    if (rooms.p) {
        buf_str(&b, STR(",\"rooms\":"));
        buf_str(&b, rooms);
    }
    if (message) {
        buf_str(&b, STR(",\"message\":"));
        buf_json(&b, str_of(message));
    }
    buf_str(&b, STR("}}"));
    events_reply(c, buf_view(&b));
    buf_free(&b);
}

/* ---- the one thing under way ---- */

struct events_pending *events_pending_new(struct conn *c)
{
    struct events_client *k = events_of(c);
    BUG_ON(k->pending != NULL);
    k->pending = NEW(struct events_pending);
    k->pending->c = c;
    k->pending->hub = endpoint_of(c)->services->hub;
    k->pending->set = settings_ref(endpoint_of(c)->set);
    return k->pending;
}

void events_pending_free(struct events_pending *p)
{
    mem_wipe_free(p->text.p, p->text.n); /* may hold a token */
    buf_free(&p->user);
    buf_free(&p->rooms);
    buf_free(&p->server_key);
    buf_free(&p->salt);
    buf_free(&p->ack_id);
    buf_free(&p->joined);
    free(p->metadata);
    settings_unref(p->set);
    free(p);
}

void events_pending_end(struct conn *c)
{
    struct events_pending *p = events_of(c)->pending;
    if (!p)
        return;
    events_of(c)->pending = NULL;
    p->c = NULL;
    if (p->call && p->is_message)
        return;
    if (p->call)
        webhook_cancel(p->call);
    if (p->waits)
        hub_await_cancel(&p->wait);
    events_pending_free(p);
}

void events_pending_done(struct conn *c)
{
    events_pending_end(c);
    if (conn_is_paused(c))
        conn_resume(c);
}

bool events_is_over(struct conn *c)
{
    if (session_is_open(c))
        return false;
    events_pending_end(c);
    return true;
}

/* ---- who ---- */

struct str events_user(const struct conn *c)
{
    struct str user = hub_user_of(c);
    return !user.p && events_of(c)->empty_user ? STR("") : user;
}

void events_id(const struct conn *c, char out[UUID_TEXT + 1])
{
    uuid_text(&c->st.uuid, out);
}
