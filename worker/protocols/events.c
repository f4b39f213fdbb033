#include "worker/protocols/events.h"

#include "common/log.h"
#include "common/mem.h"
#include "worker/protocols/events_client.h"
#include "worker/protocols/expiry.h"

#define ROOM "events"

/* ---- messages ---- */

/* PROTOCOL A2, rows 1 to 3, as A12 has them. */
static bool take_apart(struct str text, struct events_message *m)
{
    struct scan_member wanted[] = {{.name = "event"}, {.name = "data"}, {.name = "id"}};
    if (scan_text(text, wanted, ARRAY_LEN(wanted)) != SCAN_OBJECT)
        return false;
    m->event = wanted[0].value;
    m->data = wanted[1].value;
    m->id = wanted[2].value;
    return m->event.type == SCAN_STRING && m->event.raw.n > 2;
}

static void on_heartbeat(struct conn *c, const struct events_message *m)
{
    if (events_of(c)->state == EVENTS_AUTHENTICATED && m->id.type != SCAN_BAD)
        events_ack(c, m->id.raw, true, STR_NONE, NULL);
}

static void on_authenticate(struct conn *c, const struct events_message *m)
{
    if (events_of(c)->state == EVENTS_UNAUTHORIZED)
        events_authenticate(c, m);
    else
        events_error(c, "Already authenticated");
}

static const struct {
    const char *event;
    void (*handle)(struct conn *, const struct events_message *);
    bool any_state;
} reserved[] = {
    {"heartbeat", on_heartbeat, true},
    {"authenticate", on_authenticate, true},
    {"join", events_join, false},
    {"leave", events_leave, false},
};

static void dispatch(struct conn *c, const struct events_message *m)
{
    bool authenticated = events_of(c)->state == EVENTS_AUTHENTICATED;
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if ((authenticated || reserved[i].any_state) &&
            scan_string_is(&m->event, reserved[i].event)) {
            reserved[i].handle(c, m);
            return;
        }
    }
    if (!authenticated)
        events_error(c, "Not authenticated");
    else if (events_conf(c)->rooms.publish.n && scan_string_is(&m->event, "publish"))
        events_publish(c, m);
    else
        events_custom(c, m);
}

static void on_message(struct conn *c, UNUSED bool is_text, struct str text)
{
    struct events_message m;
    if (take_apart(text, &m)) {
        dispatch(c, &m);
        return;
    }
    COUNT(c->net->counters, events_invalid);
    events_error(c, "Invalid message format");
}

/* ---- time: PROTOCOL A4 ---- */

/* The first sweep of the worker's clock at which the silence since `since_ms` is longer
 * than the timeout. */
static int64_t sweep_after(const struct conn *c, int64_t since_ms)
{
    const struct conf_endpoint *conf = events_conf(c);
    int64_t start = endpoint_of(c)->services->started_ms;
    int64_t passed = since_ms + conf->heartbeat_timeout - start;
    return start + (passed / conf->heartbeat_interval + 1) * conf->heartbeat_interval;
}

/* 0: never */
static int64_t earlier(int64_t a, int64_t b)
{
    return !a || !b ? a + b : MIN(a, b);
}

static int64_t due_authenticated(struct conn *c, int64_t now_ms)
{
    if (!conn_is_reading(c))
        c->st.message_ms = now_ms; /* it may have spoken; we are not listening */
    int64_t sweep = sweep_after(c, c->st.message_ms);
    if (now_ms < sweep)
        return earlier(sweep, expiry_due(c, events_of(c)->expires_s, now_ms));
    COUNT(c->net->counters, heartbeat_timeouts);
    session_close(c, 4002, "Heartbeat timeout");
    return 0;
}

static int64_t on_due(struct conn *c, int64_t now_ms)
{
    struct events_client *k = events_of(c);
    if (k->state == EVENTS_AUTHENTICATED)
        return due_authenticated(c, now_ms);
    int64_t limit = events_conf(c)->auth_timeout;
    int64_t end = k->state == EVENTS_UNAUTHORIZED ? c->st.opened_ms + limit
                                                  : k->phase_ms + 3 * limit;
    if (now_ms < end)
        return end;
    COUNT(c->net->counters, auth_timeouts);
    events_pending_end(c);
    session_close(c, 4001, "Authentication timeout");
    return 0;
}

/* ---- birth and end ---- */

static void on_opened(struct conn *c, const struct session_opening *how)
{
    struct events_client *k = NEW(struct events_client);
    c->proto = k;
    if (how->origin.p && events_conf(c)->hooks.authenticate.n)
        k->origin = str_dup(how->origin);
    conn_due(c, c->st.opened_ms + events_conf(c)->auth_timeout);
}

static void on_closed(struct conn *c, unsigned code, const char *cause)
{
    struct events_client *k = events_of(c);
    session_log_end(c, events_user(c), code, cause);
    if (k->state == EVENTS_AUTHENTICATED)
        events_tell_disconnected(c, code, cause);
    events_pending_end(c);
    hub_forget(endpoint_of(c)->services->hub, c);
    seal_free(k->seal);
    free(k->metadata);
    free(k->origin);
    free(k);
    c->proto = NULL;
}

static void describe(struct conn *c, struct buf *json)
{
    static const char *const names[] = {"unauthorized", "authenticating",
                                        "authenticated"};
    struct str user = events_user(c);
    buf_printf(json, ",\"auth\":\"%s\",\"rooms\":%zu", names[events_of(c)->state],
               hub_room_count(c));
    if (user.p) {
        buf_str(json, STR(",\"user\":"));
        buf_json(json, user);
    }
}

const struct protocol protocol_events = {
    .name = "events",
    .session = {.opened = on_opened,
                .message = on_message,
                .closed = on_closed,
                .due = on_due},
    .lost = events_lost,
    .describe = describe,
    .user = events_user,
    .state_bytes = sizeof(struct events_client),
};
