#include "common/chan.h"

#include "common/fd.h"
#include "common/log.h"
#include "common/mem.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define ROOM "chan"
#define CHAN_BUDGET 32 /* messages read or written for one readiness */
#define CHAN_FDS 4 /* room for more than the one allowed, to see that there were more */

/* A message the peer has not taken yet. Owns its descriptor, a duplicate. */
struct waiting {
    struct list link;
    int fd;
    size_t n;
    char bytes[]; /* as it goes out: type, payload, tail */
};

typedef void (*handler_fn)(void *ctx, const void *m, struct str tail, int *fd);

/* Whose handler runs now; NULL once that has closed it, and perhaps freed it: then nobody
 * looks at it again. */
static struct chan *reading;

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

int chan_open(struct chan *c, struct event_base *base, int fd, unsigned accepts,
              const struct msg_handlers *handlers, void *ctx, struct err *e)
{
    *c = (struct chan){.fd = -1};
    list_init(&c->queue);
    if (fd_nonblock(fd, e) < 0) {
        fd_close(&fd);
        return -1;
    }
    event_assign(&c->rd, base, fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->wr, base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    if (event_add(&c->rd, NULL) < 0) {
        fd_close(&fd);
        return err_set(e, "cannot watch a control channel");
    }
    c->fd = fd;
    c->base = base;
    c->accepts = accepts;
    c->handlers = handlers;
    c->ctx = ctx;
    return 0;
}

static void free_waiting(struct chan *c, struct waiting *w)
{
    list_unlink(&w->link);
    c->queued_bytes -= sizeof(*w) + w->n;
    fd_close(&w->fd);
    free(w);
}

static struct waiting *first_waiting(struct chan *c)
{
    return list_is_empty(&c->queue) ? NULL
                                    : container_of(c->queue.next, struct waiting, link);
}

/* Of a peer that has gone, too: its end is told where it is read, behind its last
 * words. */
static void forget_queue(struct chan *c)
{
    for (struct waiting *w; (w = first_waiting(c)) != NULL;)
        free_waiting(c, w);
    event_del(&c->wr);
}

void chan_close(struct chan *c)
{
    if (!c->base)
        return;
    if (reading == c)
        reading = NULL;
    event_del(&c->rd);
    forget_queue(c);
    fd_close(&c->fd);
    c->base = NULL;
}

/* The owner may free the channel in `gone`: nothing touches it afterwards. */
static void leave(struct chan *c, const char *why)
{
    void (*gone)(void *, const char *) = c->handlers->gone;
    void *ctx = c->ctx;
    chan_close(c);
    if (gone)
        gone(ctx, why);
}

/* ---- sending ---- */

static int transmit(const struct chan *c, const struct iovec *iov, size_t n, int fd)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof(control.space);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    }
    ssize_t rc;
    do {
        rc = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? -1 : 0;
}

static int enqueue(struct chan *c, const struct iovec *iov, size_t parts, int fd)
{
    size_t n = 0;
    for (size_t i = 0; i < parts; i++)
        n += iov[i].iov_len;
    if (c->queued_bytes + sizeof(struct waiting) + n > CHAN_QUEUE_MAX) {
        errno = ENOBUFS;
        return -1;
    }
    int copy = -1;
    if (fd >= 0 && (copy = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0)
        return -1;
    struct waiting *w = mem_new(sizeof(*w) + n);
    w->fd = copy;
    for (size_t i = 0; i < parts; i++) {
        if (iov[i].iov_len)
            memcpy(w->bytes + w->n, iov[i].iov_base, iov[i].iov_len);
        w->n += iov[i].iov_len;
    }
    if (list_is_empty(&c->queue))
        event_add(&c->wr, NULL);
    list_append(&c->queue, &w->link);
    c->queued_bytes += sizeof(*w) + n;
    return 0;
}

/* A peer that has gone is not treated here but where its end of file is read: a sender
 * never sees its channel die under it. */
int chan_send(struct chan *c, enum msg_type type, const void *fixed, struct str tail,
              int fd)
{
    const struct msg_row *row = msg_find(type);
    BUG_ON(!row || tail.n > MSG_TAIL_MAX);
    if (!c->base) {
        errno = EPIPE;
        return -1;
    }
    uint32_t number = type;
    struct iovec iov[] = {
        {&number, sizeof(number)}, {(void *)fixed, row->size}, {(void *)tail.p, tail.n}};
    if (list_is_empty(&c->queue)) {
        if (transmit(c, iov, ARRAY_LEN(iov), fd) == 0)
            return 0;
        if (errno != EAGAIN)
            return -1;
    }
    return enqueue(c, iov, ARRAY_LEN(iov), fd);
}

size_t chan_queued(const struct chan *c)
{
    return c->queued_bytes;
}

void chan_on_drained(struct chan *c, void (*fn)(void *ctx))
{
    c->drained = fn;
}

void chan_pause(struct chan *c, bool pause)
{
    if (!c->base)
        return;
    c->is_paused = pause;
    if (pause)
        event_del(&c->rd);
    else
        event_add(&c->rd, NULL);
}

static void on_writable(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct chan *c = arg;
    struct waiting *w;
    for (int i = 0; i < CHAN_BUDGET && (w = first_waiting(c)) != NULL; i++) {
        struct iovec iov = {w->bytes, w->n};
        if (transmit(c, &iov, 1, w->fd) < 0) {
            if (errno == EPIPE || errno == ECONNRESET)
                forget_queue(c);
            else if (errno != EAGAIN)
                leave(c, strerror(errno));
            return;
        }
        free_waiting(c, w);
    }
    if (!list_is_empty(&c->queue))
        return;
    event_del(&c->wr);
    if (c->drained)
        c->drained(c->ctx);
}

/* ---- receiving ---- */

/* A message as it arrived. The bytes lie in one place for all channels: handlers run one
 * at a time, and views die with them. */
struct arrival {
    uint32_t type;
    size_t n; /* behind the type */
    int fds[CHAN_FDS];
    size_t fds_n;
    bool is_cut, is_fd_lost;
};
static _Alignas(16) char inbox[MSG_TAIL_MAX + 64];

static void take_fds(struct msghdr *m, struct arrival *a)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        n = MIN(n, CHAN_FDS - a->fds_n);
        memcpy(a->fds + a->fds_n, CMSG_DATA(h), n * sizeof(int));
        a->fds_n += n;
    }
}

/* 1: a message; 0: nothing now; -1: the end (errno 0: the peer closed). */
static int receive(const struct chan *c, struct arrival *a)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(CHAN_FDS * sizeof(int))];
    } control;
    struct iovec iov[] = {{&a->type, sizeof(a->type)}, {inbox, sizeof(inbox)}};
    struct msghdr m = {.msg_iov = iov,
                       .msg_iovlen = ARRAY_LEN(iov),
                       .msg_control = &control,
                       .msg_controllen = sizeof(control.space)};
    *a = (struct arrival){0};
    ssize_t n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    /* A peer that closed with unread bytes of ours shows as a reset first; what it had
     * said before, and then its end, are still to be read. */
    if (n < 0)
        return errno == EAGAIN || errno == EINTR || errno == ECONNRESET ? 0 : -1;
    take_fds(&m, a);
    errno = 0;
    if (n == 0)
        return -1;
    a->is_cut = (m.msg_flags & MSG_TRUNC) || (size_t)n < sizeof(a->type);
    a->is_fd_lost = m.msg_flags & MSG_CTRUNC;
    a->n = (size_t)n - MIN((size_t)n, sizeof(a->type));
    return 1;
}

static handler_fn handler_of(const struct chan *c, const struct msg_row *row)
{
    handler_fn fn;
    memcpy(&fn, (const char *)c->handlers + row->handler, sizeof(fn));
    return fn;
}

/* Why a message may not reach a handler; NULL: it may. */
static const char *objection(const struct chan *c, const struct arrival *a,
                             const struct msg_row *row)
{
    if (a->is_cut)
        return "has an impossible length";
    if (!row)
        return "is unknown";
    if (!(row->direction & c->accepts))
        return "comes from the wrong side";
    if (a->n < row->size)
        return "is too short";
    if (a->fds_n > 1)
        return "carries several descriptors";
    return handler_of(c, row) ? NULL : "is not expected here";
}

static void refuse(struct chan *c, const struct arrival *a, const struct msg_row *row,
                   const char *objection_text)
{
    char why[128];
    snprintf(why, sizeof(why), "message 0x%02x %s %s", a->type, row ? row->name : "?",
             objection_text);
    log_warn("a control channel is ended: %s", why);
    leave(c, why);
}

static void deliver(struct chan *c, struct arrival *a)
{
    const struct msg_row *row = msg_find(a->type);
    const char *wrong = objection(c, a, row);
    if (wrong) {
        refuse(c, a, row, wrong);
        return;
    }
    /* We have no descriptor left to receive one into: the handler sees -1 and says what
     * that means. */
    if (a->is_fd_lost)
        log_warn("message %s lost its descriptor: too many open files", row->name);
    if (a->fds_n == 0)
        a->fds[a->fds_n++] = -1;
    struct str tail = {inbox + row->size, a->n - row->size};
    handler_of(c, row)(c->ctx, inbox, tail, &a->fds[0]);
}

static void on_readable(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct chan *c = arg;
    reading = c;
    for (int i = 0; i < CHAN_BUDGET && reading && !c->is_paused; i++) {
        struct arrival a;
        int rc = receive(c, &a);
        if (rc == 0)
            break;
        if (rc > 0)
            deliver(c, &a);
        else
            leave(c, errno ? strerror(errno) : "the peer closed it");
        for (size_t k = 0; k < a.fds_n; k++)
            fd_close(&a.fds[k]);
    }
    reading = NULL;
}
