/* signaling_news: a line of a room's log (signaling.lua) and what workers tell each other
 * about probes, as they come from Redis. Owns nothing; views live as long as the line.
 * Pure. Judges like all that comes from outside: a line is wholly good or NEWS_BAD. */
#ifndef WORKER_PROTOCOLS_SIGNALING_NEWS_H
#define WORKER_PROTOCOLS_SIGNALING_NEWS_H

#include "common/buf.h"
#include "common/uuid.h"

enum news_type {
    NEWS_BAD,
    NEWS_IN,    /* id, was, peers */
    NEWS_ALL,   /* peers */
    NEWS_OUT,   /* id, code, reason */
    NEWS_AWAY,  /* id, ms */
    NEWS_SAY,   /* worker, id, to, json: a message of a peer, ready to be delivered */
    NEWS_PROBE, /* room, id, worker, to: does `id` still answer? `worker` asks for `to` */
    NEWS_ALIVE, /* room, id, to: it does … */
    NEWS_GONE,  /* … it is not here */
};
struct news {
    enum news_type type;
    struct uuid id, worker, to, was;
    bool has_to, has_was;
    struct str peers; /* for news_next_peer */
    struct str json;  /* as signaling_message wrote it: no server's message */
    struct str room;
    struct str reason;
    unsigned code;
    int64_t ms;
};
struct news_peer {
    struct uuid id, worker;
    struct str role;
    unsigned code; /* not 0: lost, but may return */
};

enum news_type news_read(struct str line, struct news *out);
bool news_next_peer(struct str *peers, struct news_peer *out);

/* Appends a NEWS_SAY. to NULL: everybody. */
void news_write_say(struct buf *out, struct str worker, const struct uuid *id,
                    const struct uuid *to, struct str json);
/* Appends a NEWS_ALIVE or NEWS_GONE. */
void news_write_answer(struct buf *out, enum news_type type, struct str room,
                       const struct uuid *id, const struct uuid *to);

#endif
