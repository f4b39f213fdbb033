/* transport: how bytes reach the wire: plain now, TLS beside it; tests add one with
 * scripted short writes. Owns nothing. Never blocks; SIGPIPE cannot happen
 * (MSG_NOSIGNAL). */
#ifndef WORKER_NET_TRANSPORT_H
#define WORKER_NET_TRANSPORT_H

#include "common/base.h"

#include <sys/uio.h>

struct conn;

struct transport_ops {
    ssize_t (*read)(struct conn *c, void *dst,
                    size_t cap); /* > 0; 0 later; -1 gone (errno; 0: EOF) */
    ssize_t (*write)(struct conn *c, const struct iovec *iov,
                     int n);               /* > 0; 0 later; -1 gone */
    bool (*pending)(const struct conn *c); /* decrypted bytes waiting */
    void (*finish)(struct conn *c);        /* no more output: FIN */
    void (*close)(struct conn *c); /* frees what is its own; the fd is closed by conn */
    bool is_socket; /* a write is a send, which somebody else may do for it */
};

extern const struct transport_ops transport_plain;

#endif
