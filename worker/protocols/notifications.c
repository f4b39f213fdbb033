/* notifications: a user's inbox, shown live (PROTOCOL part C). What a client asks is done
 * one after the other; while Redis is asked, its next messages wait. */
#include "worker/protocols/endpoint.h"

#include "common/mem.h"
#include "common/scan.h"
#include "worker/protocols/entry.h"
#include "worker/protocols/expiry.h"
#include "worker/protocols/readers.h"

#define LIST_LIMIT 20 /* notifications, if the client does not say how many … */
#define LIST_LIMIT_MAX 100

struct question;

struct client {
    struct reading reading;
    struct hub_wait wait;
    struct conn *c;
    struct entry *entry;       /* who is it? */
    struct question *question; /* at Redis; at most one */
    int64_t expires_s;
};

static struct client *client_of(const struct conn *c)
{
    return c->proto;
}

/* ---- errors ---- */

static void say_error(struct conn *c, const char *code, const char *message)
{
    struct buf b = {0};
    buf_printf(&b, "{\"type\":\"error\",\"code\":\"%s\",\"message\":", code);
    buf_json(&b, str_of(message));
    buf_char(&b, '}');
    session_reply_text(c, buf_view(&b));
    buf_free(&b);
}

static void refuse_message(struct conn *c, const char *code, const char *message)
{
    COUNT(c->net->counters, notifications_invalid);
    say_error(c, code, message);
}

/* ---- what Redis is asked ---- */

struct question {
    struct client *k; /* NULL: gone */
    void (*answered)(struct client *k, const struct bus_reply *r);
};

static void on_answer(void *ctx, const struct bus_reply *r)
{
    struct question *q = ctx;
    struct client *k = q->k;
    void (*answered)(struct client *, const struct bus_reply *) = q->answered;
    free(q);
    inbox_note_refusal(r);
    if (!k)
        return;
    struct conn *c = k->c;
    k->question = NULL;
    answered(k, r);
    if (!session_is_open(c))
        return;
    conn_choke(c, c->env->backpressure);
    conn_resume(c);
}

/* For the one that is asked next. The answer may come before the asking returns. */
static struct question *ask(struct client *k,
                            void (*answered)(struct client *k, const struct bus_reply *))
{
    struct question *q = NEW(struct question);
    *q = (struct question){k, answered};
    k->question = q;
    conn_pause(k->c);
    return q;
}

/* Redis has answered, but not with what an inbox says. */
static void note_malformed(struct client *k, const struct bus_reply *r)
{
    if (r->type == BUS_TEXT)
        inbox_note_malformed(reading_user(&k->reading));
}

static void say_unavailable(struct client *k, const struct bus_reply *r)
{
    note_malformed(k, r);
    say_error(
        k->c, "unavailable",
        r->type == BUS_UNCERTAIN
            ? "The inbox did not answer: nobody knows whether it was done. Repeat it."
            : "The inbox cannot be reached now. Try again later.");
}

/* ---- messages ---- */

static void on_counted(struct client *k, const struct bus_reply *r)
{
    struct inbox_state state;
    bool is_done = r->type == BUS_TEXT && inbox_state_read(r->text, &state);
    if (!is_done)
        say_unavailable(k, r);
    reading_counted(&k->reading, is_done ? &state : NULL);
}

static struct question *ask_count(struct client *k)
{
    reading_ask(&k->reading);
    return ask(k, on_counted);
}

static void on_listed(struct client *k, const struct bus_reply *r)
{
    if (r->type == BUS_TEXT && scan_text(r->text, NULL, 0) == SCAN_OBJECT)
        session_reply_text(k->c, r->text);
    else if (r->type == BUS_NIL)
        refuse_message(
            k->c, "no-such-notification",
            "The notification that `before` names is not in the inbox; ask for "
            "a list without `before`.");
    else
        say_unavailable(k, r);
}

enum { TYPE, ID, BEFORE, LIMIT, MEMBERS };

static void do_ping(struct conn *c, UNUSED const struct scan_member *m)
{
    session_reply_text(c, STR("{\"type\":\"pong\"}"));
}

static void do_mark_read(struct conn *c, const struct scan_member *m)
{
    struct client *k = client_of(c);
    struct inbox in = reading_inbox(&k->reading);
    struct buf scratch = {0};
    if (m[ID].value.type != SCAN_STRING)
        refuse_message(c, "invalid-message",
                       "`id` is not the id of a notification, a text.");
    else
        inbox_read(&in, scan_string(&m[ID].value, &scratch), on_answer, ask_count(k));
    buf_free(&scratch);
}

static void do_mark_all_read(struct conn *c, UNUSED const struct scan_member *m)
{
    struct client *k = client_of(c);
    struct inbox in = reading_inbox(&k->reading);
    inbox_read_all(&in, on_answer, ask_count(k));
}

static bool read_limit(const struct scan_value *v, uint64_t *out)
{
    *out = LIST_LIMIT;
    return v->type == SCAN_BAD || (v->type == SCAN_NUMBER &&
                                   str_to_u64(v->raw, LIST_LIMIT_MAX, out) && *out > 0);
}

static void do_list(struct conn *c, const struct scan_member *m)
{
    struct client *k = client_of(c);
    struct inbox in = reading_inbox(&k->reading);
    const struct scan_value *before = &m[BEFORE].value;
    struct buf scratch = {0};
    uint64_t limit;
    if (before->type != SCAN_STRING && before->type != SCAN_BAD)
        refuse_message(c, "invalid-message",
                       "`before` is not the id of a notification, a text.");
    else if (!read_limit(&m[LIMIT].value, &limit))
        refuse_message(c, "invalid-message",
                       "`limit` is not a whole number from 1 to 100.");
    else
        inbox_list(&in,
                   before->type == SCAN_BAD ? STR_NONE : scan_string(before, &scratch),
                   (int64_t)limit, on_answer, ask(k, on_listed));
    buf_free(&scratch);
}

static const struct {
    const char *type;
    void (*carry_out)(struct conn *c, const struct scan_member *m);
} messages[] = {
    {"ping", do_ping},
    {"mark_read", do_mark_read},
    {"mark_all_read", do_mark_all_read},
    {"list", do_list},
};

static void dispatch(struct conn *c, const struct scan_member *m)
{
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        if (scan_string_is(&m[TYPE].value, messages[i].type)) {
            messages[i].carry_out(c, m);
            return;
        }
    }
    refuse_message(
        c, "unknown-type",
        "There is no such `type`; there are ping, mark_read, mark_all_read and "
        "list.");
}

static void on_message(struct conn *c, UNUSED bool is_text, struct str text)
{
    struct scan_member m[MEMBERS] = {{"type"}, {"id"}, {"before"}, {"limit"}};
    enum scan_type whole = scan_text(text, m, MEMBERS);
    if (whole == SCAN_BAD)
        refuse_message(c, "invalid-message", "The message is not JSON.");
    else if (whole != SCAN_OBJECT)
        refuse_message(c, "invalid-message", "The message is not a JSON object.");
    else if (m[TYPE].value.type != SCAN_STRING)
        refuse_message(c, "invalid-message", "The message has no `type`, a text.");
    else
        dispatch(c, m);
}

/* ---- coming in: who is it; listen; look into the inbox; go on live ---- */

static void refuse_entry(struct conn *c)
{
    session_close(c, 4503, "The inbox cannot be reached now, try again later");
}

static void say_established(struct client *k, int64_t count)
{
    struct buf b = {0};
    char id[UUID_TEXT + 1];
    uuid_text(&k->c->st.uuid, id);
    buf_str(&b, STR("{\"type\":\"connection_established\",\"user\":"));
    buf_json(&b, reading_user(&k->reading));
    buf_printf(&b, ",\"id\":\"%s\",\"unread_count\":%" PRId64 "}", id, count);
    session_reply_text(k->c, buf_view(&b));
    buf_free(&b);
}

static void say_backlog(struct conn *c, struct str unread)
{
    struct scan_value v;
    struct buf b = {0};
    size_t pos = 0;
    while (scan_next(unread, &pos, &v)) {
        buf_clear(&b);
        buf_str(&b, STR("{\"type\":\"notification\",\"notification\":"));
        buf_str(&b, v.raw);
        buf_char(&b, '}');
        session_reply_text(c, buf_view(&b));
    }
    buf_free(&b);
}

static void on_entered(struct client *k, const struct bus_reply *r)
{
    struct inbox_state state;
    if (r->type != BUS_TEXT || !inbox_state_read(r->text, &state)) {
        note_malformed(k, r);
        refuse_entry(k->c);
        return;
    }
    say_established(k, reading_start(&k->reading, &state));
    say_backlog(k->c, state.unread);
    reading_open(&k->reading);
}

/* The bus is listened to: what the script does not find comes live. */
static void on_confirmed(struct hub_wait *w)
{
    struct client *k = container_of(w, struct client, wait);
    if (!session_is_open(k->c))
        return;
    struct inbox in = reading_inbox(&k->reading);
    inbox_unread(&in, -1, endpoint_of(k->c)->set->c->backlog, on_answer,
                 ask(k, on_entered));
}

static void on_identified(struct conn *c, const struct entry_identity *who)
{
    struct client *k = client_of(c);
    struct hub *hub = endpoint_of(c)->services->hub;
    k->entry = NULL;
    k->expires_s = who->expires_s;
    if (!who->user.n || who->user.n > INBOX_USER_MAX) {
        session_close(c, 4001, "Unauthorized"); /* a notification is for somebody */
        return;
    }
    if (!hub_is_up(hub)) {
        refuse_entry(c);
        return;
    }
    conn_due(c, net_now(c->net)); /* on_due looks when the token expires */
    reading_begin(&k->reading, c, who->user);
    hub_await(hub, &k->wait, on_confirmed);
}

static void on_opened(struct conn *c, const struct session_opening *how)
{
    struct client *k = NEW(struct client);
    c->proto = k;
    k->c = c;
    conn_pause(c);
    k->entry = entry_begin(c, how, on_identified);
}

static int64_t on_due(struct conn *c, int64_t now_ms)
{
    return expiry_due(c, client_of(c)->expires_s, now_ms);
}

static void on_closed(struct conn *c, unsigned code, const char *cause)
{
    struct client *k = client_of(c);
    session_log_end(c, reading_user(&k->reading), code, cause);
    entry_cancel(k->entry);
    hub_await_cancel(&k->wait);
    if (k->question)
        k->question->k = NULL;
    reading_end(&k->reading);
    free(k);
    c->proto = NULL;
}

/* ---- the endpoint ---- */

static void on_endpoint_opened(struct endpoint *e)
{
    readers_ref(e->services, &e->set->conf->main.inbox);
}

static void on_endpoint_applied(struct endpoint *e)
{
    readers_configure(e->services, &e->set->conf->main.inbox);
}

static void on_endpoint_closed(struct endpoint *e)
{
    readers_unref(e->services);
}

static struct str user_of(const struct conn *c)
{
    return reading_user(&client_of(c)->reading);
}

static void describe(struct conn *c, struct buf *json)
{
    struct str user = user_of(c);
    if (!user.p)
        return;
    buf_str(json, STR(",\"user\":"));
    buf_json(json, user);
}

const struct protocol protocol_notifications = {
    .name = "notifications",
    .session = {.opened = on_opened,
                .message = on_message,
                .closed = on_closed,
                .due = on_due},
    .open = on_endpoint_opened,
    .applied = on_endpoint_applied,
    .close = on_endpoint_closed,
    .describe = describe,
    .user = user_of,
    .state_bytes = sizeof(struct client),
};
