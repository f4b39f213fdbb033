/* session: a WebSocket connection (RFC 6455 §4.2.2 onward): frames become messages,
 * control frames are answered, closes follow the rules. Owns the connection's frame
 * state; the endpoint above sees whole messages only. Never copies a message that came
 * whole in one read. */
#ifndef WORKER_WS_SESSION_H
#define WORKER_WS_SESSION_H

#include "worker/net/conn.h"
#include "worker/ws/wire.h"

/* What of the opening handshake an endpoint may want; views that die with `opened`. p
 * NULL: there is none. */
struct session_opening {
    struct str path, query;
    struct str origin;
    struct str room, role; /* of a path with these placeholders: decoded, checked */
    struct str token;      /* ?token= before Authorization: Bearer before token.<value> */
    struct str session;    /* ?session=, decoded; not empty */
    unsigned window_bits;  /* permessage-deflate was agreed on; 0: was not */
};

/* What an endpoint is asked. Everything may call session_close, conn_pause, session_send
 * within. */
struct session_ops {
    void (*opened)(struct conn *c, const struct session_opening *how);
    /* A whole message; text is valid UTF-8. The view dies when the call returns. */
    void (*message)(struct conn *c, bool is_text, struct str message);
    /* The end, exactly once for each opened one. code: the close code that counts (the
     * peer's when it closed, ours when we did, 1006 without any Close frame); cause says
     * how in words. c->proto is to be freed here. */
    void (*closed)(struct conn *c, unsigned code, const char *cause);
    /* The protocol's own timers: called when due; returns its next due time, 0 for none.
     * May be NULL. */
    int64_t (*due)(struct conn *c, int64_t now_ms);
    /* A pong came. May be NULL. */
    void (*pong)(struct conn *c);
};

/* The first member of struct endpoint. Fields change at a reload, the struct stays while
 * a connection has it. */
struct session_env {
    const struct session_ops *ops;
    uint64_t max_message;  /* bytes */
    uint64_t backpressure; /* unsent bytes */
    size_t connections;    /* that have it now; session keeps it */
    uint64_t pack_from;    /* bytes of a message that is worth compressing */
    int pack_level;        /* 1 … 9 */
};

/* After the 101 was queued: phase OPEN, ops->opened. Bytes behind the request go to
 * session_conn_ops.bytes. */
void session_start(struct conn *c, struct session_env *env,
                   const struct session_opening *how);
extern const struct conn_ops session_conn_ops;

/* Answers to what this client itself sent: never over a limit, because reading stops
 * while its answers are not taken. */
void session_reply_text(struct conn *c, struct str payload);
void session_reply_binary(struct conn *c, struct str payload);
/* Pushes: not to a connection that is CONN_MUTED; above backpressure the connection is
 * closed 1008 `Slow consumer` (an empty queue takes one of any size). */
void session_send_text(struct conn *c, struct str payload);
/* A shared frame of frame_new: one reference is taken; the caller keeps its own.
 * Compressed, it is kept beside the plain one for the next who needs it so. */
void session_send_frame(struct conn *c, struct frame *f);

/* An unasked ping (§5.5.2); nothing if the connection is closing. */
void session_ping(struct conn *c);
/* Our Close (§7.1.2). reason ≤ 123 bytes, cut at a character otherwise. Later calls and
 * sends do nothing. */
void session_close(struct conn *c, unsigned code, const char *reason);
/* Drops it without a Close frame. */
void session_drop(struct conn *c, const char *cause);
static inline bool session_is_open(const struct conn *c)
{
    return c->st.phase == CONN_OPEN;
}
/* One info line, rate-limited: `disconnected id=… addr=… user=… code=… cause=…`. user p
 * NULL: no such word. */
void session_log_end(const struct conn *c, struct str user, unsigned code,
                     const char *cause);

#endif
