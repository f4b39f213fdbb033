/* cluster: the workers of all brokers on one Redis: who is there, and questions that
 * every one of them answers. Owns this worker's place in the register and the questions
 * it has asked. Never waits longer than CLUSTER_ANSWER_MS, and trusts neither a question
 * nor an answer: both are judged as what they are, messages from outside. */
#ifndef WORKER_HUB_CLUSTER_H
#define WORKER_HUB_CLUSTER_H

#include "worker/hub/hub.h"

#define CLUSTER_ANSWER_MS 500
#define CLUSTER_RENEW_MS 2000
#define CLUSTER_LEASE_MS 6000
#define CLUSTER_ASKS_MAX 64 /* questions of one worker under way */
#define CLUSTER_LIMIT_MAX 1000
#define CLUSTER_ANSWER_MAX (256 * 1024) /* bytes a worker tells at once … */
#define CLUSTER_HELD_MAX (64u << 20)    /* … and of answers an asker keeps at a time */

enum cluster_what {
    CLUSTER_ROOMS,       /* all rooms with their members counted */
    CLUSTER_ROOM,        /* the connections in one */
    CLUSTER_USER,        /* the connections of one user */
    CLUSTER_STATS,       /* the counters */
    CLUSTER_KICK_CLIENT, /* close a connection … */
    CLUSTER_KICK_USER,   /* … or all of a user */
    CLUSTER_WHATS
};
/* after: what a list goes on behind (cluster_merge says what); limit: of its elements. */
struct cluster_question {
    enum cluster_what what;
    struct str name, after;
    unsigned limit;
};

/* A worker as an asker sees it. about, answer: JSON objects that were judged good. */
struct cluster_member {
    char id[UUID_TEXT + 1]; /* its serverId */
    bool is_registered;
    struct buf about, answer; /* answer empty: none came */
};

struct cluster_self {
    struct str node; /* this broker, among all */
    unsigned slot, number;
    /* Appends the answer of this worker, an object (cluster_merge says what it holds).
     * What should be closed is closed. */
    void (*answer)(void *ctx, const struct cluster_question *q, struct buf *json);
    void *ctx;
};

struct cluster;
struct cluster *cluster_new(struct hub *h, struct net *net,
                            const struct cluster_self *self);
/* Questions under way end as when the bus is down. Before hub_free. */
void cluster_free(struct cluster *c);
/* This worker is about to end: the others need not wait for it. */
void cluster_leave(struct cluster *c);
/* So did another one, without a farewell. */
void cluster_lost(struct cluster *c, struct str server_id);

/* why NULL: v are all there are, answered or not. Else what Redis said instead. */
typedef void (*cluster_answered_fn)(void *ctx, const struct cluster_member *v, size_t n,
                                    const struct bus_reply *why);
/* fn is called exactly once, within CLUSTER_ANSWER_MS, perhaps before cluster_ask
 * returns. false: too much is asked already, and fn is not called. */
bool cluster_ask(struct cluster *c, const struct cluster_question *q,
                 cluster_answered_fn fn, void *ctx) NODISCARD;

#endif
