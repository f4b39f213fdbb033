/* chan: a control channel: messages of msg.def over SOCK_SEQPACKET on libevent; one
 * datagram, one message, its descriptor. Owns its socket, its events and a bounded queue
 * of messages the peer has not taken yet (queued descriptors are duplicates). Never
 * blocks; a missing handler, a wrong direction or a short payload ends the channel with
 * one log line. */
#ifndef COMMON_CHAN_H
#define COMMON_CHAN_H

#include "common/buf.h"
#include "common/err.h"
#include "common/list.h"
#include "common/msg.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#define CHAN_QUEUE_MAX (8u << 20) /* bytes */

struct chan {
    int fd; /* -1: closed */
    struct event_base *base;
    struct event rd, wr;
    unsigned accepts; /* directions taken, MSG_W2S … */
    const struct msg_handlers *handlers;
    void *ctx;
    struct list queue; /* of messages waiting to be sent */
    size_t queued_bytes;
    void (*drained)(void *ctx);
    bool is_paused; /* chan_pause */
};

/* Takes the descriptor (made non-blocking), in failure too. accepts: the directions the
 * *received* messages may have. */
int chan_open(struct chan *c, struct event_base *base, int fd, unsigned accepts,
              const struct msg_handlers *handlers, void *ctx, struct err *e) NODISCARD;
/* fixed must have the table's size for the type (a bug otherwise); tail ≤ MSG_TAIL_MAX;
 * fd -1 or a descriptor that stays the caller's. 0, or -1 and errno: EPIPE, ECONNRESET:
 * the channel is closed or the peer has gone (which is told by `gone`); else its queue is
 * full, or memory or descriptors have run out. */
int chan_send(struct chan *c, enum msg_type type, const void *fixed, struct str tail,
              int fd);
/* Typed: CHAN_SEND(&w->chan, READY, struct msg_gen, STR_NONE, -1, .gen = 3) */
size_t chan_queued(const struct chan *c);
/* Called whenever the queue has become empty again (paging of long answers); NULL to
 * stop. */
void chan_on_drained(struct chan *c, void (*fn)(void *ctx));
/* Takes no messages (nor the news that the peer has gone) until it is lifted again. */
void chan_pause(struct chan *c, bool pause);
/* Now; `gone` is not called. Safe to call twice, on a zeroed struct and inside a handler,
 * which may free the struct after it. */
void chan_close(struct chan *c);

/* The dead branch makes the compiler compare the type with msg.def's. */
#define CHAN_SEND(chan, name, type, tail, fd, ...)                                       \
    chan_send(chan, MSG_##name,                                                          \
              1 ? &(type){__VA_ARGS__} : &((union msg_payload *)NULL)->name, tail, fd)

#endif
