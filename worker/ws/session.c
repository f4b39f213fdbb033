#include "worker/ws/session.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/utf8.h"
#include "worker/ws/packed.h"

#define ROOM "session"

#define NO_FRAME 0xFF
#define LOOK_EVERY 8 /* frames between two looks at the clock */
#define CLOSE_REASON_MAX 123
#define TOO_BIG "Received too big message"
#define NOT_UTF8 "a text message that is not UTF-8"
#define NOT_DEFLATE "a compressed message that cannot be inflated"
#define ENDS_INSIDE "a text message that ends inside a character"

static bool is_control(unsigned opcode)
{
    return opcode >= WIRE_CLOSE;
}

/* ---- the end ---- */

static void count_end(struct conn *c, unsigned code)
{
    struct counters *n = c->net->counters;
    switch (code) {
    case 1002:
    case 1003:
    case 1007:
        COUNT(n, closed_protocol);
        break;
    case 1006:
        COUNT(n, closed_lost);
        break;
    case 1008:
        COUNT(n, closed_slow);
        break;
    case 1009:
        COUNT(n, closed_too_big);
        break;
    default:
        COUNT(n, closed_clean);
    }
}

/* Tells the endpoint, once. */
static void report(struct conn *c, unsigned code, const char *cause)
{
    if (!c->env)
        return;
    count_end(c, code);
    c->env->ops->closed(c, code, cause);
    c->env->connections--;
    if (c->st.window_bits)
        COUNT_SET(c->net->counters, deflate_connections,
                  c->net->counters->deflate_connections - 1);
    c->env = NULL; /* the endpoint may go; this connection may have to wait for a FIN */
    COUNT_SET(c->net->counters, websockets, c->net->counters->websockets - 1);
}

void session_log_end(const struct conn *c, struct str user, unsigned code,
                     const char *cause)
{
    static struct log_limit limit;
    unsigned swallowed = 0;
    if (!log_permit(&limit, 1000, 1000, &swallowed))
        return;
    if (swallowed)
        log_info("%u lines about disconnected clients left out", swallowed);
    log_info("disconnected %s%s%s code=%u cause=\"%s\"", conn_esc(c),
             user.p ? " user=" : "", user.p ? log_esc(user) : "", code, cause);
}

/* The longest prefix of at most CLOSE_REASON_MAX bytes that ends with a character. */
static size_t reason_length(const char *reason)
{
    size_t n = strlen(reason);
    if (n <= CLOSE_REASON_MAX)
        return n;
    n = CLOSE_REASON_MAX;
    while (n > 0 && ((uint8_t)reason[n] & 0xC0) == 0x80)
        n--;
    return n;
}

static void queue_close(struct conn *c, unsigned code, struct str reason)
{
    char payload[2 + CLOSE_REASON_MAX];
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    memcpy(payload + 2, reason.p, reason.n);
    conn_reply(c, WIRE_CLOSE, (struct str){payload, 2 + reason.n});
    c->st.close_code = (uint16_t)code;
}

/* RFC 6455 §7.1.7: _Fail the WebSocket Connection_: a Close frame with the code, then no
 * more reading. */
static void fail(struct conn *c, unsigned code, const char *reason)
{
    if (c->st.phase == CONN_OPEN)
        queue_close(c, code, (struct str){reason, reason_length(reason)});
    report(c, c->st.close_code, reason);
    conn_drain(c);
}

void session_close(struct conn *c, unsigned code, const char *reason)
{
    if (c->st.phase != CONN_OPEN)
        return;
    queue_close(c, code, (struct str){reason, reason_length(reason)});
    c->st.phase = CONN_CLOSING;
    c->st.closing_ms = net_now(c->net);
    if (!conn_is_reading(c)) {
        c->st.flags &= ~(uint32_t)CONN_CHOKED;
        conn_resume(c); /* to see the peer's Close */
    }
    conn_due(c, c->st.closing_ms + c->net->close_timeout_ms);
}

void session_drop(struct conn *c, const char *cause)
{
    conn_close(c, cause);
}

static void on_gone(struct conn *c, const char *cause)
{
    report(c, c->st.close_code ? c->st.close_code : 1006, cause);
}

/* The peer's Close: §5.5.1, §7.1.5. */
static void on_close(struct conn *c, struct str payload)
{
    unsigned code = 1005;
    struct str reason = STR_NONE;
    if (payload.n == 1) {
        fail(c, 1002, "a Close frame with one byte of payload");
        return;
    }
    if (payload.n >= 2) {
        code = (unsigned)(uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1];
        reason = (struct str){payload.p + 2, payload.n - 2};
        if (!wire_close_code_ok(code)) {
            fail(c, 1002, "a close code that must not be sent");
            return;
        }
        if (!utf8_ok(reason.p, reason.n)) {
            fail(c, 1007, "the close reason is not UTF-8");
            return;
        }
    }
    if (c->st.phase == CONN_OPEN) {
        conn_reply(c, WIRE_CLOSE,
                   payload); /* code and reason echoed, an empty one by an empty one */
        report(c, code, "closed by the client");
    } else {
        report(c, c->st.close_code, "close handshake");
    }
    conn_drain(c);
}

/* ---- frames in ---- */

/* `view` is the whole payload of a control frame, unmasked. */
static void on_control(struct conn *c, unsigned opcode, struct str view)
{
    if (opcode == WIRE_CLOSE) {
        on_close(c, view);
    } else if (opcode == WIRE_PING && c->st.phase == CONN_OPEN) {
        conn_reply(c, WIRE_PONG, view);
        conn_choke(c, c->env->backpressure);
    } else if (opcode == WIRE_PONG && c->st.phase == CONN_OPEN && c->env->ops->pong) {
        c->env->ops->pong(c);
    }
}

static void on_message(struct conn *c, unsigned opcode, struct str view)
{
    if (c->st.phase != CONN_OPEN)
        return;
    c->st.message_ms = net_now(c->net);
    COUNT(c->net->counters, messages_in);
    c->env->ops->message(c, opcode == WIRE_TEXT, view);
    if (c->st.phase == CONN_OPEN)
        conn_choke(c, c->env->backpressure);
}

/* What the header says in this state: §5.4 and the size limit. false: the connection has
 * been failed. */
static bool check_header(struct conn *c, const struct wire_header *h)
{
    if (is_control(h->opcode))
        return true;
    if (h->opcode == WIRE_CONTINUATION && !c->st.message_opcode) {
        fail(c, 1002, "a continuation frame without a message to continue");
        return false;
    }
    if (h->opcode != WIRE_CONTINUATION && c->st.message_opcode) {
        fail(c, 1002, "a new message before the last one was finished");
        return false;
    }
    if (c->st.phase != CONN_OPEN)
        return true;
    bool is_packed =
        c->st.message_opcode ? (c->st.flags & CONN_PACKED) != 0 : h->rsv != 0;
    uint64_t max = c->env->max_message;
    if (is_packed)
        max = deflate_packed_max(max);
    uint64_t have = c->st.message_opcode && c->partial ? c->partial->n : 0;
    if (h->length > max - MIN(have, max)) {
        fail(c, 1009, TOO_BIG);
        return false;
    }
    return true;
}

static void begin_frame(struct conn *c, const struct wire_header *h)
{
    c->st.frame_opcode = h->opcode;
    c->st.frame_fin = h->fin;
    c->st.frame_left = h->length;
    c->st.frame_seen = 0;
    memcpy(c->st.mask, h->mask, 4);
    if (!is_control(h->opcode) && h->opcode != WIRE_CONTINUATION) {
        c->st.message_opcode = h->opcode;
        c->st.utf8 = UTF8_START;
        c->st.flags &= ~(uint32_t)CONN_PACKED;
        if (h->rsv)
            c->st.flags |= CONN_PACKED;
    }
}

static void whole_payload(struct conn *c, unsigned opcode, struct str view)
{
    uint8_t utf8 =
        opcode == WIRE_TEXT ? utf8_feed(UTF8_START, view.p, view.n) : UTF8_START;
    if (utf8 != UTF8_START)
        fail(c, 1007, utf8 == UTF8_BAD ? NOT_UTF8 : ENDS_INSIDE);
    else
        on_message(c, opcode, view);
}

static void packed_payload(struct conn *c, unsigned opcode, struct str packed)
{
    struct str view;
    if (c->st.phase != CONN_OPEN)
        return;
    enum deflate_verdict v = packed_open(c, packed, &view);
    if (v == DEFLATE_OK)
        whole_payload(c, opcode, view);
    else if (v == DEFLATE_BIG)
        fail(c, 1009, TOO_BIG);
    else
        fail(c, 1007, NOT_DEFLATE);
    packed_done(c);
}

/* A control frame, or a data message of one frame, that lies in one piece in the inbox:
 * the common case, no copy. */
static void whole_message(struct conn *c, const struct wire_header *h, char *p)
{
    wire_unmask(p, h->length, h->mask, 0);
    struct str view = {p, h->length};
    if (is_control(h->opcode))
        on_control(c, h->opcode, view);
    else if (h->rsv)
        packed_payload(c, h->opcode, view);
    else
        whole_payload(c, h->opcode, view);
}

static void end_data_frame(struct conn *c)
{
    if (!c->st.frame_fin)
        return;
    unsigned opcode = c->st.message_opcode;
    c->st.message_opcode = 0;
    if (c->st.phase != CONN_OPEN) {
        conn_partial_done(c);
        return;
    }
    bool is_packed = c->st.flags & CONN_PACKED;
    if (!is_packed && opcode == WIRE_TEXT && c->st.utf8 != UTF8_START) {
        fail(c, 1007, ENDS_INSIDE);
        return;
    }
    struct buf *whole =
        c->partial; /* the handler may hold bytes in a buffer of its own */
    c->partial = NULL;
    struct str view = whole ? buf_view(whole) : STR_NONE;
    if (is_packed)
        packed_payload(c, opcode, view);
    else
        on_message(c, opcode, view);
    if (whole)
        conn_give_back(c, whole);
}

/* A control frame's bytes stand behind the message under way in the same buffer. */
static void end_control_frame(struct conn *c)
{
    struct buf *b = conn_partial(c);
    char payload[125];
    size_t n = c->st.frame_seen;
    b->n -= n;
    if (n)
        memcpy(payload, b->p + b->n, n);
    if (b->n == 0 && !c->st.message_opcode)
        conn_partial_done(c);
    on_control(c, c->st.frame_opcode, (struct str){payload, n});
}

static void end_frame(struct conn *c)
{
    bool control = is_control(c->st.frame_opcode);
    if (control)
        end_control_frame(c);
    c->st.frame_opcode = NO_FRAME;
    if (!control)
        end_data_frame(c);
}

/* Part of a frame's payload. */
static void take_payload(struct conn *c, char *p, size_t n)
{
    bool control = is_control(c->st.frame_opcode);
    wire_unmask(p, n, c->st.mask, c->st.frame_seen);
    c->st.frame_seen += (uint32_t)n;
    c->st.frame_left -= n;
    if (!control && c->st.phase != CONN_OPEN)
        return; /* after our Close, data means nothing any more */
    if (!control && c->st.message_opcode == WIRE_TEXT && !(c->st.flags & CONN_PACKED)) {
        c->st.utf8 = utf8_feed(c->st.utf8, p, n);
        if (c->st.utf8 == UTF8_BAD) {
            fail(c, 1007, NOT_UTF8);
            return;
        }
    }
    buf_put(conn_partial(c), p, n);
}

/* Reads a header from what is stored and what came. Returns how many new bytes it took;
 * *done: *h is whole. */
static size_t take_header(struct conn *c, const char *p, size_t n, struct wire_header *h,
                          bool *done)
{
    uint8_t *head = c->st.head;
    size_t before = c->st.head_n, added = MIN(n, sizeof(c->st.head) - before);
    const uint8_t *from = (const uint8_t *)p;
    if (before) {
        memcpy(head + before, p, added);
        from = head;
        n = before + added;
    }
    enum wire_verdict v = wire_parse(from, n, packed_rsv(c), h);
    *done = v == WIRE_OK;
    if (v == WIRE_OK) {
        c->st.head_n = 0;
        return h->size - before;
    }
    if (v == WIRE_MORE) {
        if (!before)
            memcpy(head, p, added);
        c->st.head_n = (uint8_t)(before + added);
        return added;
    }
    fail(c, 1002, wire_fault(v));
    return added;
}

/* The next frame, or what is there of it. Returns how many bytes that was. */
static size_t take_some(struct conn *c, char *p, size_t n)
{
    size_t head = 0;
    if (c->st.frame_opcode == NO_FRAME) {
        struct wire_header h;
        bool whole;
        head = take_header(c, p, n, &h, &whole);
        if (!whole || !check_header(c, &h))
            return head;
        if (h.length <= n - head &&
            (is_control(h.opcode) || (h.fin && !c->st.message_opcode))) {
            whole_message(c, &h, p + head);
            return head + h.length;
        }
        begin_frame(c, &h);
    }
    size_t part = MIN(n - head, c->st.frame_left);
    take_payload(c, p + head, part);
    if (c->st.phase < CONN_DRAINING && c->st.frame_left == 0)
        end_frame(c);
    return head + part;
}

/* Inside a message or frame the buffer is taken: what is here, one read at most, is gone
 * through. */
static bool can_hold(const struct conn *c)
{
    return !c->st.message_opcode && c->st.frame_opcode == NO_FRAME;
}

static void on_bytes(struct conn *c, char *p, size_t n)
{
    int64_t until = clock_now_ms() + NET_SLICE_MS;
    while (n > 0 && c->st.phase < CONN_DRAINING) {
        if (can_hold(c) && !conn_is_reading(c)) {
            conn_hold(c, p, n);
            return;
        }
        if (can_hold(c) && clock_now_ms() > until) {
            conn_yield(c, p, n);
            return;
        }
        size_t took = take_some(c, p, n);
        p += took;
        n -= took;
    }
}

/* ---- time ---- */

void session_ping(struct conn *c)
{
    if (c->st.phase != CONN_OPEN)
        return;
    COUNT(c->net->counters, pings_sent);
    conn_reply(c, WIRE_PING, STR_NONE);
}

static int64_t liveness(struct conn *c, int64_t now_ms)
{
    struct net *n = c->net;
    if (!conn_is_reading(c) && !(c->st.flags & CONN_CHOKED))
        c->st.seen_ms = now_ms; /* it may have spoken; we are not listening */
    int64_t silent = now_ms - c->st.seen_ms;
    if (silent >= n->idle_timeout_ms) {
        COUNT(n->counters, closed_idle);
        session_drop(c, "idle timeout");
        return 0;
    }
    if (silent >= n->ping_after_ms && !(c->st.flags & CONN_PING_SENT)) {
        c->st.flags |= CONN_PING_SENT;
        session_ping(c);
    }
    int64_t end = c->st.seen_ms + n->idle_timeout_ms;
    if (!(c->st.flags & CONN_PING_SENT))
        return c->st.seen_ms + n->ping_after_ms;
    return MIN(end, now_ms + n->ping_after_ms); /* the pong re-arms nothing */
}

static int64_t on_due(struct conn *c, int64_t now_ms)
{
    if (c->st.phase == CONN_CLOSING) {
        int64_t end = c->st.closing_ms + c->net->close_timeout_ms;
        if (now_ms < end)
            return end;
        conn_close(c, "no Close from the client");
        return 0;
    }
    int64_t next = liveness(c, now_ms);
    if (next == 0 || !c->env->ops->due)
        return next;
    int64_t own = c->env->ops->due(c, now_ms);
    if (c->st.phase == CONN_CLOSING)
        return c->st.closing_ms + c->net->close_timeout_ms;
    return own ? MIN(own, next) : next;
}

/* ---- birth ---- */

const struct conn_ops session_conn_ops = {
    .bytes = on_bytes, .gone = on_gone, .due = on_due};

void session_start(struct conn *c, struct session_env *env,
                   const struct session_opening *how)
{
    c->env = env;
    env->connections++;
    c->ops = &session_conn_ops;
    c->st.phase = CONN_OPEN;
    c->st.window_bits = (uint8_t)how->window_bits;
    c->st.opened_ms = c->st.message_ms = net_now(c->net);
    uuid_make(&c->st.uuid);
    COUNT(c->net->counters, handshakes);
    COUNT_SET(c->net->counters, websockets, c->net->counters->websockets + 1);
    if (c->st.window_bits)
        COUNT_SET(c->net->counters, deflate_connections,
                  c->net->counters->deflate_connections + 1);
    wheel_set(&c->net->wheel, &c->timer, 0);
    conn_due(c, c->st.opened_ms + c->net->ping_after_ms);
    env->ops->opened(c, how);
}

/* ---- messages out ---- */

static void reply(struct conn *c, unsigned opcode, struct str payload)
{
    if (c->st.phase != CONN_OPEN)
        return;
    COUNT(c->net->counters, messages_out);
    if (!packed_reply(c, opcode, payload))
        conn_reply(c, opcode, payload);
}

void session_reply_text(struct conn *c, struct str payload)
{
    reply(c, WIRE_TEXT, payload);
}

void session_reply_binary(struct conn *c, struct str payload)
{
    reply(c, WIRE_BINARY, payload);
}

static bool fits(const struct conn *c, size_t more)
{
    return outq_is_empty(&c->out) || c->out.bytes + more <= c->env->backpressure;
}

static bool is_told(const struct conn *c)
{
    return c->st.phase == CONN_OPEN && !(c->st.flags & CONN_MUTED);
}

/* PROTOCOL A12, outbound limit: checked before a push. */
static bool has_room(struct conn *c, size_t more)
{
    if (fits(c, more))
        return true;
    conn_write(c); /* what this turn has gathered the socket has not been offered yet */
    if (c->st.phase == CONN_OPEN && fits(c, more))
        return true;
    session_close(c, 1008, "Slow consumer");
    return false;
}

void session_send_text(struct conn *c, struct str payload)
{
    if (is_told(c) && has_room(c, payload.n))
        reply(c, WIRE_TEXT, payload);
}

void session_send_frame(struct conn *c, struct frame *f)
{
    if (!is_told(c))
        return;
    struct frame *fit = c->st.window_bits ? packed_frame(c, f) : f;
    if (!has_room(c, fit->n))
        return;
    COUNT(c->net->counters, messages_out);
    if (fit != f)
        packed_sent(c, fit->n, f->n);
    conn_push(c, frame_ref(fit));
}
