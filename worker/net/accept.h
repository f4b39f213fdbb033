/* accept: the worker's end of the listening sockets: takes what waits, in bounded
 * batches; pauses when descriptors run out. Owns the descriptors it was handed. Never
 * binds or listens, nor closes a queue as the last one: that is the supervisor's. */
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
    bool is_leaving; /* closed as soon as its queue is empty */
};
struct acceptor {
    struct net *net;
    struct list listeners;
    bool started;           /* before acceptor_start listeners are only kept */
    size_t max_connections; /* of net->conns_n; above it accepting pauses; 0: none */
    size_t max_drained;     /* the same for listeners that leave */
    void (*on_accept)(void *ctx, int fd, unsigned listener); /* takes the fd */
    void (*on_drained)(void *ctx, const struct listener *l); /* before it is freed */
    void *ctx;
};

void acceptor_init(struct acceptor *a, struct net *net, void *ctx);
void acceptor_fini(struct acceptor *a);
/* Takes the fd; accepts once started. */
int acceptor_add(struct acceptor *a, int fd, uint32_t id, uint32_t slot,
                 struct err *e) NODISCARD;
void acceptor_start(struct acceptor *a);
/* Accepts until the queue is empty, closes, says so by on_drained. Where there is no room
 * for them: a patient one waits until there is, the other closes at once (somebody else
 * has the socket, too). false: there is no such listener. */
bool acceptor_drain(struct acceptor *a, uint32_t id, uint32_t slot, bool is_patient);
/* All of them, as far as there is room. */
void acceptor_drain_all(struct acceptor *a);

#endif
