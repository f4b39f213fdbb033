#include "worker/net/transport.h"

#include "worker/net/conn.h"

#include <sys/socket.h>

static ssize_t plain_read(struct conn *c, void *dst, size_t cap)
{
    ssize_t n;
    do
        n = recv(conn_fd(c), dst, cap, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n == 0)
        errno = 0;
    return -1;
}

static ssize_t plain_write(struct conn *c, const struct iovec *iov, int n)
{
    ssize_t sent;
    do {
        if (n == 1) {
            sent = send(conn_fd(c), iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
        } else {
            struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
            sent = sendmsg(conn_fd(c), &m, MSG_NOSIGNAL);
        }
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return sent;
}

static bool plain_pending(const struct conn *c)
{
    (void)c;
    return false;
}

static void plain_finish(struct conn *c)
{
    shutdown(conn_fd(c), SHUT_WR);
}

static void plain_close(struct conn *c)
{
    (void)c;
}

const struct transport_ops transport_plain = {
    .read = plain_read,
    .write = plain_write,
    .pending = plain_pending,
    .finish = plain_finish,
    .close = plain_close,
    .is_socket = true,
};
