/* accept: the worker's end of the listening sockets: takes what waits, in bounded
 * batches; pauses when descriptors run out. Owns the descriptors it was handed. Never
 * binds or listens: that is the supervisor's. */
#ifndef WORKER_NET_ACCEPT_H
#define WORKER_NET_ACCEPT_H

#include "common/list.h"
#include "worker/net/conn.h"

struct listener {
    struct list link;
    uint32_t id, slot; /* as the supervisor names it */
    int fd;
    struct event ev, retry;
    struct acceptor *acceptor;
    uint32_t accepted;
};
struct acceptor {
    struct net *net;
    struct list listeners;
    bool started;           /* before acceptor_start listeners are only kept */
    size_t max_connections; /* of net->conns_n; above it accepting pauses */
    void (*on_accept)(void *ctx, int fd, unsigned listener); /* takes the fd */
    void *ctx;
};

void acceptor_init(struct acceptor *a, struct net *net,
                   void (*on_accept)(void *, int, unsigned), void *ctx);
void acceptor_fini(struct acceptor *a);
/* Takes the fd; accepts once started. */
int acceptor_add(struct acceptor *a, int fd, uint32_t id, uint32_t slot,
                 struct err *e) NODISCARD;
void acceptor_start(struct acceptor *a);
/* Accepts until the queue is empty, closes; returns how many came out, -1 if there is no
 * such listener. */
int acceptor_drain(struct acceptor *a, uint32_t id, uint32_t slot);
void acceptor_drain_all(struct acceptor *a);

#endif
