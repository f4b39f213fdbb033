// floors: protocols
/* Any bytes from a client: the session must survive them, and what it answers must not
 * depend on how TCP cut them up, on how slowly the answers are taken, or on pauses. */
#include "worker/ws/session.h"

#include "common/fd.h"
#include "common/log.h"
#include "worker/protocols/endpoint.h"

#include <unistd.h>

#define FREE_TURNS SIZE_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct net net;
static struct counters page;

/* The run under way. */
static struct {
    struct str input;
    size_t chop;    /* bytes of one read */
    size_t allowed; /* bytes the socket takes in one turn */
    size_t room;    /* of them left in this turn */
    unsigned bits;  /* permessage-deflate was agreed on; 0: was not */
    bool pauses;    /* the endpoint pauses after some messages */
    struct buf *sink;
} f;

static ssize_t fake_read(UNUSED struct conn *c, void *dst, size_t cap)
{
    size_t n = MIN(MIN(f.chop, f.input.n), cap);
    if (n > 0)
        memcpy(dst, f.input.p, n);
    f.input = (struct str){f.input.p + n, f.input.n - n};
    return (ssize_t)n;
}
static ssize_t fake_write(UNUSED struct conn *c, const struct iovec *iov, UNUSED int n)
{
    size_t part = MIN(MIN(iov[0].iov_len, 97), f.room); /* short writes */
    buf_put(f.sink, iov[0].iov_base, part);
    f.room -= part;
    return (ssize_t)part;
}
static bool fake_pending(UNUSED const struct conn *c)
{
    return false;
}
static void fake_end(UNUSED struct conn *c) {}
static const struct transport_ops fake = {fake_read, fake_write, fake_pending, fake_end,
                                          fake_end};

/* ---- an endpoint that echoes, and pauses behind every message with such an end ---- */

static void on_opened(UNUSED struct conn *c, UNUSED const struct session_opening *how) {}
static void on_message(struct conn *c, bool is_text, struct str message)
{
    BUG_ON(conn_is_paused(c));
    protocol_echo.session.message(c, is_text, message);
    if (f.pauses && message.n && message.p[message.n - 1] % 4 == 1)
        conn_pause(c);
}
static void on_closed(UNUSED struct conn *c, unsigned code, const char *cause)
{
    BUG_ON(code < 1000 || code > 4999 || !cause);
}
static const struct session_ops endpoint = {
    .opened = on_opened, .message = on_message, .closed = on_closed};

static void end_turn(struct conn *c)
{
    net_resume(&net);
    f.room = f.allowed;
    net_flush(&net);
    net_end_turn(&net);
    if (conn_is_paused(c))
        conn_resume(c);
}

static bool is_at_rest(const struct conn *c)
{
    return outq_is_empty(&c->out) && conn_is_reading(c) && !net_owes(&net) &&
           !(c->st.flags & CONN_HELD);
}

/* By the loop: the connection is read and written when it wants to be. */
static void by_readiness(struct conn *c)
{
    while (c->st.phase < CONN_DRAINING ? f.input.n > 0 || !is_at_rest(c)
                                       : !outq_is_empty(&c->out)) {
        event_base_loop(net.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        end_turn(c);
    }
}

/* The same by our own hand, faster: bytes are put into it whenever it reads. */
static void by_hand(struct conn *c)
{
    while (f.input.n > 0 && c->st.phase < CONN_DRAINING) {
        ssize_t n = fake_read(c, net.inbox, INBOX_SIZE);
        c->ops->bytes(c, net.inbox, (size_t)n);
        do
            end_turn(c);
        while (c->st.phase < CONN_DRAINING && !is_at_rest(c));
    }
}

static void run(struct str input, size_t chop, size_t allowed, bool pauses,
                struct buf *out)
{
    int fds[2];
    struct session_env env = {&endpoint, 3000, 300, .pack_level = 1}; /* choked often */
    struct session_opening how = {.path = STR("/echo"), .window_bits = f.bits};
    if (fd_pair(SOCK_STREAM, fds, NULL) != 0 || write(fds[1], "", 1) != 1)
        abort(); /* there is always something to be read */
    f.input = input;
    f.chop = chop;
    f.allowed = allowed;
    f.pauses = pauses;
    f.sink = out;
    buf_clear(out);
    struct conn *c = conn_new(&net, fds[0], &fake, &session_conn_ops, 0);
    session_start(c, &env, &how);
    if (allowed == FREE_TURNS)
        by_hand(c);
    else
        by_readiness(c);
    conn_close(c, "end of input");
    net_bury(&net);
    close(fds[1]);
    BUG_ON(env.connections != 0 || net.conns_n != 0);
}

static void start(void)
{
    struct err e;
    if (net.base)
        return;
    log_set_level(LOG_LEVEL_ERROR);
    if (net_init(&net, event_base_new(), &page, &e) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0}, other = {0};
    struct str input = {(const char *)data, size};
    const struct {
        size_t chop, allowed;
        bool pauses;
    } ways[] = {
        {1, FREE_TURNS, false},     {2, FREE_TURNS, true},     {4, FREE_TURNS, false},
        {7, FREE_TURNS, true},      {INBOX_SIZE, 500, false},  {INBOX_SIZE, 1000, true},
        {size / 5 + 1, 700, false}, {size / 9 + 1, 300, true},
    };
    if (size > INBOX_SIZE)
        return 0;
    start();
    for (f.bits = 0; f.bits <= 9; f.bits += 9) { /* plain and compressed */
        run(input, INBOX_SIZE, FREE_TURNS, false, &whole);
        for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
            run(input, ways[i].chop, ways[i].allowed, ways[i].pauses, &other);
            BUG_ON(whole.n != other.n || (whole.n && memcmp(whole.p, other.p, whole.n)));
        }
    }
    buf_free(&whole);
    buf_free(&other);
    return 0;
}
