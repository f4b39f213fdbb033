/* bus_redis_link: one non-blocking connection to Redis: bytes out of a buffer, replies in
 * through hiredis' reader. Owns the descriptor, the reader, the buffer. Knows RESP, but
 * no command and no state of the bus. Never calls back from within a call: news comes
 * from the loop. */
#ifndef WORKER_HUB_BUS_REDIS_LINK_H
#define WORKER_HUB_BUS_REDIS_LINK_H

#include "common/buf.h"
#include "common/err.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/socket.h>

#define LINK_REPLY_MAX (64u << 20) /* bytes of one reply; a longer one ends the link */
#define LINK_LINE_MAX (64u << 10)  /* of a line that has no end yet */
#define LINK_ELEMENTS 3

enum link_type {
    LINK_BULK,
    LINK_STATUS,
    LINK_ERROR,
    LINK_INTEGER,
    LINK_NIL,
    LINK_ARRAY,
};
struct link_reply {
    enum link_type type;
    struct str text;                   /* of a bulk, a status or an error */
    struct str element[LINK_ELEMENTS]; /* empty when only counted (takes_any) */
    size_t n;
    long long integer; /* itself, or the last integer among the elements */
};

struct redis_link;
struct redis_link_events {
    void (*connected)(struct redis_link *l);
    void (*reply)(struct redis_link *l,
                  const struct link_reply *r); /* views die with the call */
    /* An array begins: may it have any shape? Else a nested or a long one ends the link.
     */
    bool (*takes_any)(struct redis_link *l);
    void (*lost)(struct redis_link *l, const char *why); /* it has been closed */
};

struct redis_link {
    struct event_base *base;
    const struct redis_link_events *events;
    void *ctx;
    int fd; /* -1: closed */
    bool is_connected;
    struct event rd, wr;
    struct redisReader *reader;
    struct link_reply reply;        /* being read … */
    struct buf text[LINK_ELEMENTS]; /* … and its texts */
    size_t taken;                   /* bytes of it */
    bool is_any;                    /* it is an array of any shape */
    bool *gone; /* while a reply is told: set when the link ends meanwhile */
    struct buf out;
    size_t sent;     /* bytes of out that are written */
    uint64_t queued; /* bytes ever appended since redis_link_open, and … */
    uint64_t written;
    int64_t heard_ms; /* last whole reply */
    bool is_behind;   /* whole replies may wait in the reader */
    char broken[160]; /* why it cannot go on; told from the loop */
};

void redis_link_init(struct redis_link *l, struct event_base *base,
                     const struct redis_link_events *events, void *ctx);
void redis_link_fini(struct redis_link *l); /* also while a reply is told */
/* Begins to connect; `connected` or `lost` follows. */
int redis_link_open(struct redis_link *l, const struct sockaddr *sa, socklen_t n,
                    struct err *e) NODISCARD;
void redis_link_close(struct redis_link *l);
static inline size_t redis_link_unsent(const struct redis_link *l)
{
    return l->out.n - l->sent;
}

/* A command piece by piece: how many arguments, then each of them. Written by flush. */
void redis_link_command(struct redis_link *l, size_t arguments);
void redis_link_argument(struct redis_link *l, struct str prefix, struct str s);
/* RESP of one argument, to be appended later. */
void redis_link_format(struct buf *out, struct str prefix, struct str s);
void redis_link_raw(struct redis_link *l, struct str bytes);
void redis_link_flush(struct redis_link *l);
/* From time to time: gives empty buffers back. Never from within a reply. */
void redis_link_rest(struct redis_link *l);
/* It cannot go on: `lost` follows from the loop. */
void redis_link_break(struct redis_link *l, const char *why);

#endif
