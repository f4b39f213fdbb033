// floors: protocols
/* Any bytes from a client: the session must survive them, and what it answers must not depend on how TCP cut them up. */
#include "worker/ws/session.h"

#include "common/fd.h"
#include "common/log.h"
#include "worker/protocols/endpoint.h"

#include <unistd.h>

static struct net net;
static struct counters page;
static struct buf *sink; /* what the connection under test has written */

static ssize_t fake_read(struct conn *c, void *dst, size_t cap)
{
    (void)c;
    (void)dst;
    (void)cap;
    return 0;
}
static ssize_t fake_write(struct conn *c, const struct iovec *iov, int n)
{
    (void)c;
    size_t part = MIN(iov[0].iov_len, 97); /* short writes */
    (void)n;
    buf_put(sink, iov[0].iov_base, part);
    return (ssize_t)part;
}
static bool fake_pending(const struct conn *c)
{
    (void)c;
    return false;
}
static void fake_end(struct conn *c)
{
    (void)c;
}
static const struct transport_ops fake = {fake_read, fake_write, fake_pending, fake_end, fake_end};

static void end_turn(void)
{
    do {
        net_resume(&net);
        net_flush(&net);
    } while (net.turn.resumed_n);
    net_end_turn(&net);
}

/* chop 0: all at once. */
static void run(const uint8_t *data, size_t size, size_t chop, struct buf *out)
{
    int fds[2];
    struct session_env env = {&protocol_echo.session, 3000, 4096, 0};
    struct session_opening how = {STR("/echo"), STR_NONE, STR_NONE};
    if (fd_pair(SOCK_STREAM, fds, NULL) != 0)
        abort();
    sink = out;
    struct conn *c = conn_new(&net, fds[0], &fake, &session_conn_ops, 0);
    session_start(c, &env, &how);
    for (size_t at = 0; at < size && c->st.phase < CONN_DRAINING;) {
        size_t part = chop ? MIN(chop, size - at) : size - at;
        memcpy(net.inbox, data + at, part);
        c->ops->bytes(c, net.inbox, part);
        at += part;
        end_turn();
    }
    conn_close(c, "end of input");
    net_bury(&net);
    close(fds[1]);
    BUG_ON(env.connections != 0);
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
    struct buf whole = {0}, cut = {0};
    if (size > INBOX_SIZE)
        return 0;
    start();
    run(data, size, 0, &whole);
    for (size_t chop = 1; chop <= 8; chop += 1 + chop / 2) {
        buf_clear(&cut);
        run(data, size, chop, &cut);
        BUG_ON(whole.n != cut.n || (whole.n && memcmp(whole.p, cut.p, whole.n)));
    }
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
