#include "worker/protocols/signaling.h"

#include "common/mem.h"
#include "worker/protocols/expiry.h"
#include "worker/protocols/signaling_message.h"

/* ---- messages ---- */

static void say_no(struct conn *c, const char *code, const char *message, struct str to)
{
    struct buf b = {0};
    buf_printf(&b, "{\"type\":\"error\",\"code\":\"%s\",\"message\":", code);
    buf_json(&b, str_of(message));
    if (to.p) {
        buf_str(&b, STR(",\"to\":"));
        buf_str(&b, to);
    }
    buf_char(&b, '}');
    session_reply_text(c, buf_view(&b));
    buf_free(&b);
}

static bool read_target(const struct scan_value *to, struct uuid *out)
{
    struct buf scratch = {0};
    bool is_id = to->type == SCAN_STRING && uuid_parse(scan_string(to, &scratch), out);
    buf_free(&scratch);
    return is_id;
}

static void relay(struct signaling_member *m, struct str text,
                  const struct signal_parts *parts)
{
    char id[UUID_TEXT + 1];
    struct uuid to;
    struct buf b = {0};
    bool is_to_all = parts->to.type == SCAN_BAD;
    uuid_text(&m->c->st.uuid, id);
    signal_write(&b, text, str_of(id), str_of(m->role));
    if (!(is_to_all || read_target(&parts->to, &to)) ||
        !signaling_relay(m, is_to_all ? NULL : &to, buf_view(&b)))
        say_no(m->c, "no-such-peer", "`to` names nobody else in this room",
               parts->to.raw);
    buf_free(&b);
}

static void on_message(struct conn *c, UNUSED bool is_text, struct str text)
{
    struct signaling_member *m = member_of(c);
    struct signal_parts parts;
    if (m->state != MEMBER_IN)
        return;
    signaling_heard(m);
    switch (signal_read(text, &parts)) {
    case SIGNAL_PING:
        session_reply_text(c, STR("{\"type\":\"pong\"}"));
        break;
    case SIGNAL_LEAVE:
        signaling_leave(m, 1000, "left");
        session_close(c, 1000, "Left");
        break;
    case SIGNAL_RELAY:
        relay(m, text, &parts);
        break;
    case SIGNAL_BAD:
        COUNT(c->net->counters, signaling_invalid);
        say_no(c, "invalid-message", parts.fault, STR_NONE);
    }
}

static void on_pong(struct conn *c)
{
    struct signaling_member *m = member_of(c);
    if (m->room)
        signaling_heard(m);
}

/* ---- birth and end ---- */

static void on_opened(struct conn *c, const struct session_opening *how)
{
    struct signaling_member *m = NEW(struct signaling_member);
    c->proto = m;
    m->c = c;
    m->room_name = str_dup(how->room);
    m->role = str_dup(how->role);
    m->has_session = how->session.n > 0;
    if (m->has_session)
        digest_sha256(how->session, m->session);
    list_init(&m->link);
    entrance_begin(m, how);
}

static void on_closed(struct conn *c, unsigned code, const char *cause)
{
    struct signaling_member *m = member_of(c);
    bool is_orderly = c->st.close_code == 0 && code != 1006;
    session_log_end(c, m->user ? str_of(m->user) : STR_NONE, code, cause);
    if (m->state != MEMBER_OUT)
        signaling_leave(m, code, is_orderly ? "left" : "lost");
    free(m->probes);
    free(m->room_name);
    free(m->role);
    free(m->user);
    free(m);
    c->proto = NULL;
}

static int64_t on_due(struct conn *c, int64_t now_ms)
{
    struct signaling_member *m = member_of(c);
    if (m->state == MEMBER_ENTERING)
        return entrance_due(m, now_ms);
    return m->state == MEMBER_IN ? expiry_due(c, m->expires_s, now_ms) : 0;
}

static void on_kicked(struct conn *c)
{
    if (member_of(c)->state != MEMBER_OUT)
        signaling_leave(member_of(c), 4411, "kicked");
}

/* ---- endpoints ---- */

static void on_open(struct endpoint *e)
{
    struct signaling *s = NEW(struct signaling);
    s->endpoint = e;
    e->state = s;
    signaling_keep_open(s);
}

static void on_close(struct endpoint *e)
{
    signaling_keep_close(e->state);
    free(e->state);
    e->state = NULL;
}

static void on_lost(struct endpoint *e, struct str server_id)
{
    signaling_bury(e->state, server_id);
}

/* ---- what helioctl and the API ask ---- */

static struct str user_of(const struct conn *c)
{
    const struct signaling_member *m = member_of(c);
    return m->user ? str_of(m->user) : STR_NONE;
}

static struct str room_of(const struct conn *c)
{
    const struct signaling_member *m = member_of(c);
    return m->state == MEMBER_IN ? str_of(m->room_name) : STR_NONE;
}

static void describe(struct conn *c, struct buf *json)
{
    const struct signaling_member *m = member_of(c);
    buf_str(json, STR(",\"room\":"));
    buf_json(json, str_of(m->room_name));
    buf_str(json, STR(",\"role\":"));
    buf_json(json, str_of(m->role));
    buf_printf(json, ",\"entered\":%s", m->state == MEMBER_IN ? "true" : "false");
    if (m->user) {
        buf_str(json, STR(",\"user\":"));
        buf_json(json, str_of(m->user));
    }
}

static size_t count_here(const struct signaling_room *r)
{
    size_t n = 0;
    LIST_EACH (node, &r->members)
        n += container_of(node, struct signaling_member, link)->state == MEMBER_IN;
    return n;
}

static void each_room(struct endpoint *e,
                      void (*fn)(void *ctx, struct str room, size_t members), void *ctx)
{
    const struct signaling *s = e->state;
    MAP_EACH (struct signaling_room, r, &s->rooms) {
        if (count_here(r))
            fn(ctx, signaling_name(r), count_here(r));
    }
}

static size_t rooms_memory(const struct endpoint *e)
{
    const struct signaling *s = e->state;
    size_t n = memory_block(sizeof(*s)) + s->rooms.cap * sizeof(struct map_slot);
    MAP_EACH (struct signaling_room, r, &s->rooms) {
        n += memory_block(sizeof(*r)) + memory_block(strlen(r->name) + 1);
        n += r->roster.cap ? memory_block(r->roster.cap * sizeof(*r->roster.v)) : 0;
        for (unsigned i = 0; i < r->roster.n; i++) /* here, and with the member */
            n += 2 * memory_block(strlen(r->roster.v[i].role) + 1);
    }
    return n;
}

const struct protocol protocol_signaling = {
    .name = "signaling",
    .session = {.opened = on_opened,
                .message = on_message,
                .closed = on_closed,
                .due = on_due,
                .pong = on_pong},
    .open = on_open,
    .close = on_close,
    .lost = on_lost,
    .describe = describe,
    .user = user_of,
    .room = room_of,
    .each_room = each_room,
    .state_bytes = sizeof(struct signaling_member),
    .memory = rooms_memory,
    .kicked = on_kicked,
};
