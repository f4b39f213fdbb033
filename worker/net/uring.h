/* uring: the writes of many connections as one batch of non-blocking sends (io_uring).
 * Owns the ring, which can do nothing else, and the room for what is being sent. Nothing
 * is in flight any more when a call returns. Never for a transport of its own (TLS). */
#ifndef WORKER_NET_URING_H
#define WORKER_NET_URING_H

#include "common/err.h"

#define URING_BATCH 256   /* writes at once: what they touch stays in the cache */
#define URING_WORTH_IT 16 /* writes: below, plain sends cost no more */

struct conn;
struct uring;

/* NULL: this kernel, or whoever confines us, does not let us (*e says why). */
struct uring *uring_open(struct err *e);
bool uring_is_permitted(struct err *e);
void uring_close(struct uring *u); /* NULL is fine */
/* What these owe is written as far as the sockets take it, as by conn_write. n:
 * at most URING_BATCH. false: the ring is of no use any more; nothing is lost by it. */
bool uring_write(struct uring *u, struct conn **v, size_t n);

#endif
