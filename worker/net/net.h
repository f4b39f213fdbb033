/* net: what all connections of a worker share: the loop, the receive buffer, the wheel,
 * and what this turn owes. Owns them, and a few spare buffers. Never looks inside a
 * connection's bytes. */
#ifndef WORKER_NET_NET_H
#define WORKER_NET_NET_H

#include "common/buf.h"
#include "common/counters.h"
#include "common/err.h"
#include "worker/net/memory.h"
#include "worker/net/wheel.h"

#define INBOX_SIZE (256 * 1024)
#define NET_SLICE_MS                                                                     \
    50 /* of work in one go; then others, and what is owed, come first                   \
        */

struct conn;
struct deflate;
struct http_site;
struct uring;

/* What this loop turn owes. */
struct turn {
    struct conn **dirty; /* have output */
    size_t dirty_n, dirty_cap;
    struct conn **closing; /* to be buried */
    size_t closing_n, closing_cap;
    struct conn **resumed; /* held bytes to be fed again */
    size_t resumed_n, resumed_cap;
};

struct net {
    struct event_base *base;
    struct counters *counters;
    char *inbox; /* INBOX_SIZE bytes, shared: valid within one bytes() call */
    struct wheel wheel;
    struct turn turn;
    struct uring *uring; /* NULL: every write is a call of its own */
    struct conn **conns; /* all, dense */
    size_t conns_n, conns_cap;
    struct buf **spare; /* recycler of partial buffers */
    size_t spare_n;
    size_t spare_low; /* as few as were there since the last second */
    size_t ended;     /* connections since then */
    struct memory memory;
    uint64_t next_id;
    int64_t turn_ms; /* net_now() */
    /* settings in force, set by the worker at CONF_APPLY */
    int64_t handshake_timeout_ms, ping_after_ms, idle_timeout_ms, close_timeout_ms;
    const struct http_site *site; /* http/: what is served before an upgrade */
    struct deflate *deflate; /* ws/: made for the first who needs it, freed by worker */
};

/* Monotonic milliseconds, read once a turn. */
int64_t net_now(struct net *n);

int net_init(struct net *n, struct event_base *base, struct counters *counters,
             struct err *e) NODISCARD;
void net_fini(struct net *n);

/* Ends a turn that has lasted long enough; what is ready now waits for the next one. */
void net_look_at_the_clock(struct net *n);

/* The end of the turn. */
void net_resume(struct net *n); /* feeds held bytes of resumed connections */
void net_flush(struct net *n);  /* one write per dirty connection */
/* Batches of writes by io_uring from now on, or not. -1: it is not to be had. */
int net_use_uring(struct net *n, bool on, struct err *e) NODISCARD;
void net_bury(struct net *n);
bool net_owes(const struct net *n); /* work left that needs no new readiness */
void net_end_turn(struct net *n);   /* the clock is read anew */

/* About once a second: what a storm has left behind goes back to the system. */
void net_second(struct net *n, int64_t now_ms);

/* What is held besides the connections themselves. */
struct net_use {
    size_t queued;  /* bytes unsent; a frame counts for each who waits for it */
    size_t partial; /* messages that have not come whole */
    size_t lists;
    size_t spare; /* recycled buffers, and the inbox */
};
void net_measure(const struct net *n, struct net_use *out);

/* For conn: the lists above, and the recycler. */
void net_enlist(struct net *n, struct conn *c);
void net_delist(struct net *n, struct conn *c);
void net_dirty(struct net *n, struct conn *c);
void net_resumed(struct net *n, struct conn *c);
void net_closing(struct net *n, struct conn *c);
struct buf *net_borrow(struct net *n);
void net_give_back(struct net *n, struct buf *b);

#endif
