/* readers: who reads an inbox on this worker: each user once, however many connections
 * show it, at whichever endpoint. Owns the users, their topics, what is asked of Redis on
 * their behalf. Never remembers a notification: what is in an inbox, Redis knows. */
#ifndef WORKER_PROTOCOLS_READERS_H
#define WORKER_PROTOCOLS_READERS_H

#include "worker/hub/inbox.h"
#include "worker/protocols/endpoint.h"

struct readers;
struct reader;

/* A connection that shows an inbox; embedded, and zeroed before. */
struct reading {
    struct list link; /* the reader's */
    struct reader *reader;
    struct conn *c;
    int64_t floor;   /* notifications up to this version are in its backlog or its list */
    int64_t counted; /* version of … */
    int64_t count;   /* … what it was told last is unread */
    bool is_open;    /* has been told of its connection */
    bool is_counting; /* what it asked for will be answered with the count */
    bool is_behind;   /* what was said while the bus was away it has not heard yet */
    struct buf held;  /* what comes before it is open, or while it is behind */
    size_t held_bytes;
};

/* services->readers lives from the first to the last endpoint of notifications. */
void readers_ref(struct services *s, const struct conf_inbox *limits);
void readers_configure(struct services *s, const struct conf_inbox *limits);
void readers_unref(struct services *s);

size_t readers_memory(const struct readers *rs); /* bytes; no connection's */

/* From the confirmation on (hub_await), nothing said to the user is missed. */
void reading_begin(struct reading *g, struct conn *c, struct str user);
/* The inbox as a script found it; returns how many are unread, which may be newer. When
 * that was sent, reading_open goes on with what came meanwhile. */
int64_t reading_start(struct reading *g, const struct inbox_state *state);
void reading_open(struct reading *g);
void reading_end(struct reading *g); /* safe for a zeroed one, and twice */

struct str reading_user(const struct reading *g);
struct inbox reading_inbox(const struct reading *g);
/* This connection asks for something that is answered with the count: until then it hears
 * of no other. The others learn of it as the script told them. */
void reading_ask(struct reading *g);
/* state NULL: it was not done. */
void reading_counted(struct reading *g, const struct inbox_state *state);

#endif
