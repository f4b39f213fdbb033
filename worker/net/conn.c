#include "worker/net/conn.h"

#include "common/log.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM "conn"
#define IOV_BATCH 64
#define DRAIN_BYTES_MAX (64u << 20) /* thrown away while waiting for the peer's FIN */

/* ---- events ---- */

static void on_event(evutil_socket_t fd, short what, void *arg);

/* Brings libevent's interest in line with the flags. */
static void watch(struct conn *c)
{
    bool dead = c->st.phase == CONN_DEAD;
    bool read = !dead && conn_is_reading(c) && !(c->st.flags & (CONN_HELD | CONN_EOF));
    bool write = !dead && (c->st.flags & CONN_BLOCKED);
    short want = (short)((read ? EV_READ : 0) | (write ? EV_WRITE : 0));
    short have = (short)(event_initialized(&c->ev)
                             ? event_get_events(&c->ev) & (EV_READ | EV_WRITE)
                             : 0);
    if (!event_pending(&c->ev, EV_READ | EV_WRITE, NULL))
        have = 0;
    if (want == have)
        return;
    int fd = conn_fd(c);
    if (have)
        event_del(&c->ev);
    event_assign(&c->ev, c->net->base, fd, (short)(want | EV_PERSIST), on_event, c);
    if (want && event_add(&c->ev, NULL) != 0)
        conn_close(c, "epoll refused");
}

static void dirty(struct conn *c)
{
    if (c->st.flags & CONN_DIRTY)
        return;
    c->st.flags |= CONN_DIRTY;
    net_dirty(c->net, c);
}

/* A FIN: the peer says nothing more, but may still be reading what it asked for. */
static void end_input(struct conn *c)
{
    if (outq_is_empty(&c->out)) {
        conn_close(c, "EOF");
        return;
    }
    conn_drain(c);
    c->st.flags |= CONN_EOF;
    c->ops->gone(c, "EOF");
    watch(c);
}

/* Whoever talks on and on past its end is not read any more; the timer ends it. Until
 * then our last words can reach it: to close with bytes unread would be a reset, which
 * may overtake them. */
static void read_past_the_end(struct conn *c, size_t n)
{
    c->st.frame_seen += (uint32_t)n;
    if (c->st.frame_seen > DRAIN_BYTES_MAX)
        conn_pause(c);
}

static void read_some(struct conn *c)
{
    struct net *n = c->net;
    ssize_t got = c->transport->read(c, n->inbox, INBOX_SIZE);
    if (got == 0)
        return;
    if (got < 0 && errno == 0) {
        end_input(c);
        return;
    }
    if (got < 0) {
        conn_close(c, strerror(errno));
        return;
    }
    COUNT_ADD(n->counters, bytes_in, got);
    c->st.seen_ms = net_now(n);
    c->st.flags &= ~(uint32_t)CONN_PING_SENT;
    if (c->st.phase == CONN_DRAINING)
        read_past_the_end(c, (size_t)got);
    else
        c->ops->bytes(c, n->inbox, (size_t)got);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct conn *c = arg;
    if (what & EV_WRITE) {
        c->st.flags &= ~(uint32_t)CONN_BLOCKED;
        dirty(c);
    }
    if ((what & EV_READ) && c->st.phase != CONN_DEAD)
        read_some(c);
    net_look_at_the_clock(c->net);
}

int conn_fd(const struct conn *c)
{
    return event_get_fd(&c->ev);
}

/* ---- birth ---- */

static void read_peer(struct conn *c, int fd)
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof(ss);
    if (getpeername(fd, (struct sockaddr *)&ss, &n) != 0)
        return;
    if (ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&ss;
        c->st.peer = a->sin6_addr;
        c->st.peer_port = ntohs(a->sin6_port);
    } else if (ss.ss_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&ss;
        c->st.peer.s6_addr[10] = c->st.peer.s6_addr[11] = 0xff;
        memcpy(&c->st.peer.s6_addr[12], &a->sin_addr, 4);
        c->st.peer_port = ntohs(a->sin_port);
    }
}

struct conn *conn_new(struct net *n, int fd, const struct transport_ops *t,
                      const struct conn_ops *ops, unsigned listener)
{
    struct conn *c = NEW(struct conn);
    c->net = n;
    c->ops = ops;
    c->transport = t;
    c->st.id = ++n->next_id;
    c->st.listener = (uint16_t)listener;
    c->st.opened_ms = c->st.seen_ms = net_now(n);
    c->st.frame_opcode = 0xFF;
    outq_init(&c->out);
    wheel_entry_init(&c->timer);
    read_peer(c, fd);
    if (event_assign(&c->ev, n->base, fd, EV_READ | EV_PERSIST, on_event, c) != 0 ||
        event_add(&c->ev, NULL) != 0) {
        close(fd);
        free(c);
        return NULL;
    }
    net_enlist(n, c);
    conn_due(c, c->st.opened_ms + n->handshake_timeout_ms);
    return c;
}

/* ---- output ---- */

static bool takes_output(const struct conn *c)
{
    return c->st.phase < CONN_DRAINING;
}

void conn_push(struct conn *c, struct frame *f)
{
    if (!takes_output(c)) {
        frame_unref(f);
        return;
    }
    outq_push(&c->out, f);
    dirty(c);
}

void conn_reply(struct conn *c, unsigned opcode, struct str payload)
{
    if (!takes_output(c))
        return;
    outq_reply(&c->out, opcode, payload);
    dirty(c);
}

void conn_raw(struct conn *c, struct str bytes)
{
    if (!takes_output(c))
        return;
    outq_raw(&c->out, bytes);
    dirty(c);
}

static void unchoke(struct conn *c)
{
    if (!(c->st.flags & CONN_CHOKED) || c->out.bytes > c->st.choke_limit / 4)
        return;
    c->st.flags &= ~(uint32_t)CONN_CHOKED;
    if (!(c->st.flags & CONN_PAUSED))
        conn_resume(c);
}

/* Whoever takes its answers is alive, though we do not listen to it meanwhile. */
static void written(struct conn *c, size_t n)
{
    COUNT_ADD(c->net->counters, bytes_out, n);
    outq_written(&c->out, n);
    if (c->st.flags & CONN_CHOKED)
        c->st.seen_ms = net_now(c->net);
    if (c->st.phase == CONN_DRAINING)
        c->st.closing_ms = net_now(c->net);
}

/* The last of our words is out. */
static void end_output(struct conn *c)
{
    if (c->st.flags & CONN_EOF) {
        conn_close(c, "EOF");
    } else if (!(c->st.flags & CONN_FIN_SENT)) {
        c->st.flags |= CONN_FIN_SENT;
        c->transport->finish(c);
    }
}

/* The client vanished with something on its way to it: routine. */
static void note_failed_send(const struct conn *c)
{
    static struct log_limit limit;
    unsigned swallowed = 0;
    const char *why = strerror(errno);
    COUNT(c->net->counters, sends_failed);
    if (log_permit(&limit, 5, 10000, &swallowed))
        log_warn("a send failed %s cause=\"%s\" unlogged=%u", conn_esc(c), why,
                 swallowed);
}

/* What came of one write; false: it is not worth trying again now. */
static bool note_sent(struct conn *c, ssize_t sent)
{
    if (sent < 0) {
        note_failed_send(c);
        conn_close(c, strerror(errno));
        return false;
    }
    COUNT(c->net->counters, writes);
    if (sent == 0)
        c->st.flags |= CONN_BLOCKED;
    else
        written(c, (size_t)sent);
    return sent > 0;
}

/* Writes what is queued until it is gone or the socket takes no more. */
static void write_rest(struct conn *c)
{
    struct iovec iov[IOV_BATCH];
    while (!outq_is_empty(&c->out)) {
        int n = outq_gather(&c->out, iov, IOV_BATCH);
        if (!note_sent(c, c->transport->write(c, iov, n)))
            break;
    }
}

static void after_writing(struct conn *c)
{
    unchoke(c);
    if (outq_is_empty(&c->out) && c->st.phase == CONN_DRAINING)
        end_output(c);
    watch(c);
}

static bool may_write(struct conn *c)
{
    c->st.flags &= ~(uint32_t)CONN_DIRTY;
    return c->st.phase != CONN_DEAD && !(c->st.flags & CONN_BLOCKED);
}

void conn_write(struct conn *c)
{
    if (!may_write(c))
        return;
    write_rest(c);
    after_writing(c);
}

int conn_offer(struct conn *c, struct iovec *iov, int max)
{
    if (!may_write(c))
        return 0;
    int n = outq_gather(&c->out, iov, max);
    if (n == 0)
        after_writing(c);
    return n;
}

void conn_sent(struct conn *c, ssize_t sent)
{
    if (c->st.phase == CONN_DEAD)
        return;
    if (note_sent(c, sent))
        write_rest(c);
    after_writing(c);
}

/* ---- reading, paused and resumed ---- */

struct buf *conn_partial(struct conn *c)
{
    if (!c->partial)
        c->partial = net_borrow(c->net);
    return c->partial;
}

void conn_give_back(struct conn *c, struct buf *b)
{
    net_give_back(c->net, b);
}

void conn_partial_done(struct conn *c)
{
    if (!c->partial)
        return;
    net_give_back(c->net, c->partial);
    c->partial = NULL;
}

void conn_pause(struct conn *c)
{
    c->st.flags |= CONN_PAUSED;
    watch(c);
}

void conn_choke(struct conn *c, size_t limit)
{
    if (c->out.bytes < limit / 2)
        return;
    c->st.choke_limit = (uint32_t)MIN(limit, UINT32_MAX);
    c->st.flags |= CONN_CHOKED;
    watch(c);
}

void conn_resume(struct conn *c)
{
    c->st.flags &= ~(uint32_t)CONN_PAUSED;
    if (c->st.phase == CONN_DEAD || (c->st.flags & (CONN_RESUMED | CONN_CHOKED)))
        return;
    c->st.flags |= CONN_RESUMED;
    net_resumed(c->net, c);
}

void conn_hold(struct conn *c, const char *p, size_t n)
{
    if (n == 0)
        return;
    buf_put(conn_partial(c), p, n);
    c->st.flags |= CONN_HELD;
}

void conn_yield(struct conn *c, const char *p, size_t n)
{
    conn_hold(c, p, n);
    conn_resume(c);
    watch(c);
}

static void feed_held(struct conn *c)
{
    struct buf *held = c->partial;
    c->partial = NULL;
    c->st.flags &= ~(uint32_t)CONN_HELD;
    if (c->st.phase < CONN_DRAINING)
        c->ops->bytes(c, held->p, held->n);
    net_give_back(c->net, held);
}

void conn_feed(struct conn *c)
{
    c->st.flags &= ~(uint32_t)CONN_RESUMED;
    if (c->st.phase == CONN_DEAD)
        return;
    if (conn_is_reading(c) && (c->st.flags & CONN_HELD))
        feed_held(c);
    watch(c);
}

/* ---- time ---- */

void conn_due(struct conn *c, int64_t due_ms)
{
    if (c->st.phase == CONN_DEAD || due_ms == 0)
        return;
    if (c->timer.due_ms == 0 || due_ms < c->timer.due_ms)
        wheel_set(&c->net->wheel, &c->timer, due_ms);
}

void conn_on_due(struct wheel_entry *e, int64_t now_ms)
{
    struct conn *c = container_of(e, struct conn, timer);
    if (c->st.phase == CONN_DRAINING) {
        int64_t end = c->st.closing_ms + c->net->close_timeout_ms;
        if (now_ms >= end)
            conn_close(c, "no FIN from the peer");
        else
            conn_due(c, end);
        return;
    }
    conn_due(c, c->ops->due(c, now_ms));
}

/* ---- the end ---- */

void conn_drain(struct conn *c)
{
    if (c->st.phase >= CONN_DRAINING)
        return;
    c->st.phase = CONN_DRAINING;
    c->st.frame_seen = 0;
    c->st.closing_ms = net_now(c->net);
    c->st.flags &= ~(uint32_t)(CONN_PAUSED | CONN_CHOKED | CONN_HELD);
    watch(c);
    dirty(c);
    conn_due(c, c->st.closing_ms + c->net->close_timeout_ms);
}

void conn_close(struct conn *c, const char *cause)
{
    if (c->st.phase == CONN_DEAD)
        return;
    c->st.phase = CONN_DEAD;
    net_closing(c->net, c);
    wheel_set(&c->net->wheel, &c->timer, 0);
    if (!(c->st.flags & CONN_EOF))
        c->ops->gone(c, cause);
    watch(c);
}

void conn_bury(struct conn *c)
{
    int fd = conn_fd(c);
    event_del(&c->ev);
    c->transport->close(c);
    close(fd);
    outq_fini(&c->out);
    conn_partial_done(c);
    net_delist(c->net, c);
    free(c);
}

/* ---- words ---- */

void conn_address(const struct conn *c, struct buf *out, bool with_port)
{
    static const struct in6_addr none;
    char text[INET6_ADDRSTRLEN];
    bool v4 = IN6_IS_ADDR_V4MAPPED(&c->st.peer);
    if (memcmp(&c->st.peer, &none, sizeof(none)) == 0) {
        buf_str(out, STR("unix"));
        return;
    }
    if (v4)
        inet_ntop(AF_INET, &c->st.peer.s6_addr[12], text, sizeof(text));
    else
        inet_ntop(AF_INET6, &c->st.peer, text, sizeof(text));
    if (with_port)
        buf_printf(out, v4 ? "%s:%u" : "[%s]:%u", text, c->st.peer_port);
    else
        buf_str(out, str_of(text));
}

const char *conn_esc(const struct conn *c)
{
    static struct buf ring[8];
    static unsigned next;
    struct buf *b = &ring[next++ % ARRAY_LEN(ring)];
    buf_clear(b);
    buf_printf(b, "id=%" PRIu64 " addr=", c->st.id);
    conn_address(c, b, true);
    return buf_cstr(b);
}
