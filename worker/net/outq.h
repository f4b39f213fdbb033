/* outq: what waits to be written to one connection: references to frames, in order.
 * Owns its references. Holds two frames without allocating anything; its vector goes away
 * when it drains. */
#ifndef WORKER_NET_OUTQ_H
#define WORKER_NET_OUTQ_H

#include "worker/net/frame.h"

#include <sys/uio.h>

struct outq {
    union {
        struct frame *inl[2]; /* n frames from the first */
        struct {
            struct frame **vec; /* n frames from head */
            uint32_t head, cap;
        }; /* is_long */
    };
    uint32_t n : 31, is_long : 1;
    uint32_t offset; /* bytes of the first frame already written */
    uint32_t bytes;  /* unsent, all frames */
};
static_assert(sizeof(struct outq) == 32, "every connection has one");

void outq_init(struct outq *q);
void outq_fini(struct outq *q);
/* Takes over the reference. */
void outq_push(struct outq *q, struct frame *f);
/* A small private message: joined to the last frame if that is unshared and has room,
 * else a new block. opcode as frame_header. */
void outq_reply(struct outq *q, unsigned opcode, struct str payload);
/* Raw bytes (HTTP answers). */
void outq_raw(struct outq *q, struct str bytes);
/* Up to max iovecs of what is next; returns how many. */
int outq_gather(const struct outq *q, struct iovec *iov, int max);
/* n bytes were written. */
void outq_written(struct outq *q, size_t n);
static inline bool outq_is_empty(const struct outq *q)
{
    return q->n == 0;
}

#endif
