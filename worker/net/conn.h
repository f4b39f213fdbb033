/* conn: a client connection as a socket: bytes in, frames out, one timer, one end. Owns
 * the descriptor, the queue, the borrowed buffer. Never knows HTTP or WebSocket: whoever
 * has it now says so with conn_ops, and news travels up through them. */
#ifndef WORKER_NET_CONN_H
#define WORKER_NET_CONN_H

#include "common/buf.h"
#include "common/counters.h"
#include "common/uuid.h"
#include "worker/net/net.h"
#include "worker/net/outq.h"
#include "worker/net/transport.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>

struct session_env; /* ws/session.h: the endpoint as the session sees it */

enum conn_phase {
    CONN_OPENING,  /* reading or answering HTTP */
    CONN_OPEN,     /* WebSocket */
    CONN_CLOSING,  /* our Close frame is queued or sent; theirs is awaited */
    CONN_DRAINING, /* nothing more will be read as meaning; flush, FIN, wait for theirs (a
                      lingering close) */
    CONN_DEAD,     /* buried at the end of the turn */
};

enum conn_flags {
    CONN_DIRTY = 1,   /* in turn.dirty */
    CONN_BLOCKED = 2, /* the socket took no more: EV_WRITE is set */
    CONN_PAUSED = 4,  /* the owner does not want to read now: conn_pause */
    CONN_PING_SENT = 8,
    CONN_FIN_SENT = 16,
    CONN_ENCRYPTED = 32, /* deliveries are sealed one by one (hub asks) */
    CONN_PACKED = 64,    /* the message under way is compressed */
    CONN_HELD = 256,     /* partial holds unread bytes to be fed again on resume */
    CONN_CHOKED = 1024,  /* reads nothing until its own output has gone out: conn_choke */
    CONN_EOF = 2048,     /* the peer's FIN came while output was unsent, which still goes
                            out; ops->gone was told */
    CONN_RESUMED = 4096, /* in turn.resumed */
    CONN_MUTED = 8192,   /* reachable in the hub, but not to be sent anything yet */
};

/* Plain data, no pointers: travels in a hand-off (HOUSE §10). What every message touches
 * comes first. */
struct conn_state {
    uint32_t flags;
    uint32_t skip; /* hub: number of the delivery this connection is excluded from */
    uint8_t phase; /* enum conn_phase */
    uint8_t frame_opcode; /* of the frame under way; 0xFF none */
    uint8_t frame_fin : 1;
    uint8_t window_bits : 4; /* permessage-deflate was agreed on; 0: was not */
    uint8_t message_opcode;  /* of the fragmented message under way; 0 none */
    uint8_t utf8;            /* decoder state */
    uint8_t head_n;          /* bytes of a frame header that has not come whole */
    uint16_t close_code;     /* of our Close frame; 0: none was sent */
    union {
        uint8_t head[14]; /* those bytes: there is no frame under way then */
        struct {
            uint64_t frame_left; /* payload bytes still to come of the frame under way */
            uint32_t frame_seen; /* payload bytes of it that came, mod 4 counts for the
                                    mask; DRAINING: bytes thrown away */
            uint8_t mask[4];
        };
    };
    int64_t seen_ms; /* any inbound bytes */
    union {
        int64_t message_ms; /* last complete data message */
        int64_t closing_ms; /* when CLOSING or DRAINING began: no message counts then */
    };
    uint32_t choke_limit; /* of conn_choke, bytes */
    uint16_t listener;
    uint16_t peer_port;   /* host order */
    int64_t opened_ms;    /* accept; from the upgrade on: the upgrade */
    uint64_t id;          /* serial in this worker, for logs */
    struct uuid uuid;     /* the client id on the wire */
    struct in6_addr peer; /* v4 as ::ffff:a.b.c.d; all zero: Unix socket */
};
static_assert(sizeof(struct conn_state) == 104, "no holes");

/* Whoever understands the bytes now (http/, ws/session). */
struct conn_ops {
    /* Bytes came; they may be changed in place; all are consumed (or held: conn_hold). */
    void (*bytes)(struct conn *c, char *p, size_t n);
    /* The peer is gone, speaks no more, or conn_close was called: once, before burial.
     * cause: "EOF", errno's words, … */
    void (*gone)(struct conn *c, const char *cause);
    /* The timer is due; returns the next due time (ms, monotonic), 0 for none. */
    int64_t (*due)(struct conn *c, int64_t now_ms);
};

/* A membership. Both ends know where the other one lies, so each can be swap-removed
 * without a search. Packed: 12 bytes, not 16. */
struct sub {
    struct room *room;
    uint32_t at; /* index of ours in the room's members */
} __attribute__((packed, aligned(4)));
struct conn_subs { /* hub's: the rooms this connection is in */
    union {
        struct sub one; /* cap == 1 */
        struct sub *v;  /* cap > 1 */
    } __attribute__((packed, aligned(4)));
    uint16_t n, cap;
    bool is_client; /* in the hub's id map: deliveries may come */
    bool left_own;  /* has left the room of its own id */
};
static inline struct sub *conn_subs_all(const struct conn_subs *s)
{
    return s->cap > 1 ? s->v : (struct sub *)&s->one;
}

/* In the order a delivery touches it, so that it needs two or three cache lines; what
 * libevent alone looks at comes last. */
struct conn {
    struct outq out;
    const struct transport_ops *transport;
    struct session_env *env; /* from the upgrade until its end was reported */
    struct net *net;
    const struct conn_ops *ops;
    struct conn_state st;
    void *proto;         /* the protocol's own struct */
    struct buf *partial; /* borrowed from net; NULL when idle */
    struct conn_subs subs;
    uint32_t index; /* in net->conns */
    struct wheel_entry timer;
    struct event ev;
};
static_assert(
    sizeof(struct conn) <= 360,
    "an idle connection is its struct: keep it small; with malloc's own 8 bytes "
    "a multiple of 16");

/* A connected, non-blocking socket becomes a connection in CONN_OPENING with these ops;
 * reading starts. Takes the fd, also on failure (NULL: out of descriptors or epoll
 * refused; the fd is closed). */
struct conn *conn_new(struct net *n, int fd, const struct transport_ops *t,
                      const struct conn_ops *ops, unsigned listener);
int conn_fd(const struct conn *c);

/* Output: queue, and the connection joins turn.dirty. Nothing is queued once phase is
 * DRAINING or DEAD. */
void conn_push(struct conn *c, struct frame *f); /* takes over the reference */
void conn_reply(struct conn *c, unsigned opcode, struct str payload);
void conn_raw(struct conn *c, struct str bytes);

/* Reading stops; the rest of the bytes under way go to conn_hold. On resume they are fed
 * again, before anything new is read. Nothing a client sent before it vanished is lost;
 * pauses must therefore be bounded by whoever makes them. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
static inline bool conn_is_paused(const struct conn *c)
{
    return c->st.flags & CONN_PAUSED;
}
/* Reading stops until less than a quarter of `limit` bytes is unsent, when at least half
 * of it is: a client that does not take its answers is not asked for more. */
void conn_choke(struct conn *c, size_t limit);
static inline bool conn_is_reading(const struct conn *c)
{
    return !(c->st.flags & (CONN_PAUSED | CONN_CHOKED));
}
void conn_hold(struct conn *c, const char *p, size_t n);
/* The same for whoever has had its share of this turn: fed again in the next one. */
void conn_yield(struct conn *c, const char *p, size_t n);
/* Borrows the partial buffer if there is none. */
struct buf *conn_partial(struct conn *c);
void conn_partial_done(struct conn *c); /* gives it back */
void conn_give_back(struct conn *c,
                    struct buf *b); /* the same for one taken out of the connection */

/* When the timer should ask ops->due (ms, monotonic). Only ever moves the time nearer;
 * due() itself may name a later one. */
void conn_due(struct conn *c, int64_t due_ms);

/* After what is queued: FIN, then wait (bounded) for the peer's. phase becomes DRAINING.
 */
void conn_drain(struct conn *c);
/* Now: ops->gone(cause) is called and the connection is buried at the end of the turn.
 * Safe anywhere, any number of times. */
void conn_close(struct conn *c, const char *cause);

/* Writes what it owes as far as the socket takes it; may be called before the turn ends.
 */
void conn_write(struct conn *c);

/* For whoever writes for many at once. What conn_write would write now: at most max
 * pieces, 0: nothing. Then, before anything else is done with it, what came of that: how
 * many bytes, 0: none now, -1: errno. */
int conn_offer(struct conn *c, struct iovec *iov, int max);
void conn_sent(struct conn *c, ssize_t sent);

/* What else net does with it at the end of a turn: feed what it held, free it. */
void conn_feed(struct conn *c);
void conn_bury(struct conn *c);
void conn_on_due(struct wheel_entry *e, int64_t now_ms); /* the wheel's */

/* "id=12 addr=127.0.0.1:5000" for log lines; static ring of eight. */
const char *conn_esc(const struct conn *c);
void conn_address(const struct conn *c, struct buf *out,
                  bool with_port); /* "127.0.0.1", "::1", "unix" */

#endif
