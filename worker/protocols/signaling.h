/* signaling: rooms of a few peers who relay messages to each other (seed 000, PROTOCOL
 * part B), the same wherever they are connected. Who is in a room Redis decides
 * (signaling.lua) and tells in the room's log; what this worker knows of a room is what
 * its log has said. Owns the member of each connection, the rooms that have members
 * here, and a timer per endpoint. Never interprets what peers say. */
#ifndef WORKER_PROTOCOLS_SIGNALING_H
#define WORKER_PROTOCOLS_SIGNALING_H

#include "common/digest.h"
#include "common/log.h"
#include "worker/protocols/endpoint.h"
#include "worker/protocols/entry.h"
#include "worker/protocols/signaling_news.h"
#include "worker/protocols/signaling_roster.h"

/* One endpoint in this worker: e->state. */
struct signaling {
    struct endpoint *endpoint;
    struct uuid server;      /* this worker's */
    struct map rooms;        /* by name */
    struct list renewals;    /* rooms, the next to be renewed first */
    struct topic own;        /* what other workers ask this one */
    struct hub_watch watch;  /* of the bus */
    bool is_up;              /* and everything is subscribed */
    bool was_up;             /* ever: epoch is known */
    bool is_open;            /* one may enter */
    int64_t open_ms;         /* when one may again; 0: not known, or is_open */
    struct uuid epoch;       /* by which Redis shows that it remembers */
    struct inquiry *inquiry; /* about it, under way */
    struct event tick;
    int64_t tick_ms; /* when it fires; 0: it does not */
    struct log_limit lines, malformed;
};

/* A room with members here. Freed by signaling_room_end when they are gone. */
struct signaling_room {
    struct signaling *s;
    char *name;
    struct topic topic;   /* its channel is the room's name in Redis, too */
    struct roster roster; /* complete while is_known */
    struct list members;  /* connections of this worker, entering ones too */
    struct list renewal;
    int64_t renew_ms;
    int64_t away_ms; /* when somebody has been away too long; 0: nobody will have */
    unsigned busy;   /* of nested begin and end */
    bool is_known;   /* the log has been followed since somebody entered here */
    bool is_asked;   /* the next renewal has the roster told */
};

enum member_state {
    MEMBER_ENTERING, /* reading is paused */
    MEMBER_IN,
    MEMBER_OUT, /* for good; its connection is still to end */
};

/* Somebody who wants to know whether a member still answers. */
struct probe {
    struct uuid worker, entrant;
};
#define PROBES_MAX 8

struct signaling_member {
    struct conn *c;
    struct list link;            /* room->members; not OUT */
    struct signaling_room *room; /* NULL: not looked for yet, or OUT */
    struct entrance *entrance;   /* while ENTERING */
    struct probe *probes;        /* PROBES_MAX, from the first on */
    char *room_name, *role;
    char *user;                     /* NULL: nobody in particular */
    int64_t expires_s;              /* of the token; 0: never */
    uint8_t session[DIGEST_SHA256]; /* digest of the query's */
    bool has_session;
    uint8_t state; /* enum member_state */
    uint8_t probes_n;
};

static inline struct signaling *signaling_of(const struct conn *c)
{
    return endpoint_of(c)->state;
}
static inline const struct conf_endpoint *signaling_conf(const struct signaling *s)
{
    return s->endpoint->set->c;
}
static inline struct signaling_member *member_of(const struct conn *c)
{
    return c->proto;
}
static inline struct str signaling_name(const struct signaling_room *r)
{
    return str_of(r->name);
}

/* ---- signaling_room: what is told and relayed ---- */

struct signaling_room *signaling_room_need(struct signaling *s, struct str name);
/* Around whatever may make members leave: only the last end frees the room. */
void signaling_room_begin(struct signaling_room *r);
void signaling_room_end(struct signaling_room *r);
struct signaling_member *signaling_room_member(const struct signaling_room *r,
                                               const struct uuid *id);
/* The member is no longer in the room; the others are told code and reason (static), now
 * or by the log. Its connection stays. */
void signaling_leave(struct signaling_member *m, unsigned code, const char *reason);
/* to p NULL: everybody else. false: it names nobody. json: the message as it is sent. */
bool signaling_relay(struct signaling_member *m, const struct uuid *to, struct str json);
/* The bus is gone: who is leaving has left, who is entering is refused … */
void signaling_room_down(struct signaling_room *r);
/* … it is there, and who has waited for it goes on. */
void signaling_room_up(struct signaling_room *r);

/* ---- signaling_enter: from the handshake to `joined` ---- */

struct entrance;
void entrance_begin(struct signaling_member *m, const struct session_opening *how);
/* The member is gone, in or refused. true: Redis may have let it in. */
bool entrance_end(struct signaling_member *m);
/* The log says that it is in: it is told so, and read again. */
void entrance_done(struct signaling_member *m, struct str joined);
/* What a holder's worker answers (NEWS_ALIVE, NEWS_GONE), or the log says of it
 * (NEWS_OUT, NEWS_AWAY). */
void entrance_answer(struct signaling_member *m, const struct news *n);
/* Redis may know it: the script that may let it in has been asked. */
bool entrance_was_asked(const struct signaling_member *m);
/* When to look again; 0: it is over. */
int64_t entrance_due(struct signaling_member *m, int64_t now_ms);
/* The bus went down, or came up. */
void entrance_down(struct signaling_member *m);
void entrance_up(struct signaling_member *m);

/* ---- signaling_keep: what Redis must know, and what other workers ask ---- */

void signaling_keep_open(struct signaling *s);
void signaling_keep_close(struct signaling *s);
void signaling_renew(struct signaling_room *r);
void signaling_renew_soon(struct signaling_room *r, int64_t due_ms);
void signaling_bury(struct signaling *s, struct str server_id);
/* Something else than workers say was published there. */
void signaling_malformed(struct signaling *s, const struct topic *t);
/* A member of a room was heard: whoever asked is told. */
void signaling_heard(struct signaling_member *m);

/* ---- signaling_script: calls of signaling.lua ---- */

#define SIGNALING_LEASE_MS 6000
#define SIGNALING_RENEW_MS 2000
/* fn NULL: nobody waits for the answer; a failure is logged. */
void signaling_call(struct signaling_room *r, struct str verb, const struct str *args,
                    size_t n, bus_reply_fn fn, void *ctx);
/* Of its user and its session, for the script: digests in hex, or "-". */
void signaling_claims(const struct signaling_member *m, struct buf *who,
                      struct buf *session);

#endif
