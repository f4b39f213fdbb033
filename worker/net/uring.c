#include "worker/net/uring.h"

#include "common/log.h"
#include "common/mem.h"
#include "worker/net/conn.h"

#include <liburing.h>
#include <sys/socket.h>

#define ROOM "uring"
#define PIECES 64 /* of one write; what is queued behind them goes on without us */
#define POOL (16 * URING_BATCH) /* pieces of a batch */

/* A write under way. */
struct write {
    struct conn *c;
    struct msghdr head;
    struct iovec *iov;
    int result;
};

struct uring {
    struct io_uring ring;
    struct write writes[URING_BATCH];
    struct iovec pool[POOL];
};

/* ---- life ---- */

/* By io_uring_register: liburing.so 2.3 lacks the functions that its header has for it.
 * Rings are not subject to seccomp filters: this one is born disabled, is confined to two
 * operations for good, and only then enabled. */
static int confine(struct io_uring *ring)
{
    struct io_uring_restriction only[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SEND},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SENDMSG},
        {.opcode = IORING_RESTRICTION_REGISTER_OP,
         .register_op = IORING_REGISTER_ENABLE_RINGS},
    };
    unsigned fd = (unsigned)ring->ring_fd;
    int rc = io_uring_register(fd, IORING_REGISTER_RESTRICTIONS, only, ARRAY_LEN(only));
    return rc < 0 ? rc : io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

struct uring *uring_open(struct err *e)
{
    struct uring *u = NEW(struct uring);
    int rc = io_uring_queue_init(URING_BATCH, &u->ring,
                                 IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER);
    if (rc < 0) {
        err_set(e, "io_uring_setup: %s", strerror(-rc));
        free(u);
        return NULL;
    }
    rc = confine(&u->ring);
    if (rc < 0) {
        err_set(e, "the ring cannot be confined: %s", strerror(-rc));
        uring_close(u);
        return NULL;
    }
    return u;
}

bool uring_is_permitted(struct err *e)
{
    struct uring *u = uring_open(e);
    uring_close(u);
    return u;
}

void uring_close(struct uring *u)
{
    if (!u)
        return;
    io_uring_queue_exit(&u->ring);
    free(u);
}

/* ---- a batch ---- */

/* MSG_DONTWAIT: a full socket is told at once instead of being waited for, so that every
 * send is over when it has been submitted. */
static void prepare(struct uring *u, struct write *w, int n)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    if (n == 1) {
        io_uring_prep_send(sqe, conn_fd(w->c), w->iov[0].iov_base, w->iov[0].iov_len,
                           flags);
    } else {
        w->head = (struct msghdr){.msg_iov = w->iov, .msg_iovlen = (size_t)n};
        io_uring_prep_sendmsg(sqe, conn_fd(w->c), &w->head, (unsigned)flags);
    }
    io_uring_sqe_set_data64(sqe, (uint64_t)(w - u->writes));
    w->result = -EAGAIN;
}

/* Connections that have nothing to write, or a way of their own, are done with here; so
 * are those for whose pieces there is no more room. */
static unsigned collect(struct uring *u, struct conn **v, size_t n)
{
    unsigned filled = 0;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        struct write *w = &u->writes[filled];
        w->c = v[i];
        w->iov = u->pool + used;
        if (!w->c->transport->is_socket || POOL - used < PIECES) {
            conn_write(w->c);
            continue;
        }
        int pieces = conn_offer(w->c, w->iov, PIECES);
        if (pieces == 0)
            continue;
        prepare(u, w, pieces);
        used += (size_t)pieces;
        filled++;
    }
    return filled;
}

static unsigned reap(struct uring *u)
{
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;
    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        u->writes[cqe->user_data].result = cqe->res;
        n++;
    }
    io_uring_cq_advance(&u->ring, n);
    return n;
}

/* false: the kernel does not take them any more. What it has taken is over either way;
 * the rest counts as not written yet. */
static bool carry_out(struct uring *u, unsigned n)
{
    unsigned done = 0;
    while (done < n) {
        int rc = io_uring_submit_and_wait(&u->ring, n - done);
        done += reap(u);
        if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY) {
            log_error("io_uring_enter: %s; plain sends from now on", strerror(-rc));
            return false;
        }
    }
    return true;
}

static void conclude(const struct write *w)
{
    bool is_later = w->result == -EAGAIN || w->result == -EINTR;
    errno = w->result < 0 ? -w->result : 0;
    conn_sent(w->c, is_later ? 0 : w->result < 0 ? -1 : w->result);
}

bool uring_write(struct uring *u, struct conn **v, size_t n)
{
    BUG_ON(n > URING_BATCH);
    unsigned filled = collect(u, v, n);
    bool is_whole = filled == 0 || carry_out(u, filled);
    for (unsigned i = 0; i < filled; i++)
        conclude(&u->writes[i]);
    return is_whole;
}
