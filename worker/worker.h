/* worker: one process that holds connections: its rooms, its loop, its configuration, its
 * end. Owns everything below; is told what to do over the control channel
 * (from_supervisor). Opens no file, resolves no name. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "common/addresses.h"
#include "common/chan.h"
#include "worker/http/http.h"
#include "worker/net/accept.h"
#include "worker/shadow.h"

/* The fixed descriptors a worker is born with. */
enum { WORKER_FD_CHAN = 3, WORKER_FD_COUNTERS = 4, WORKER_FD_LOG = 5 };

enum worker_phase {
    WORKER_STARTING, /* no configuration yet */
    WORKER_SERVING,
    WORKER_RETIRING, /* accepts nothing new; leaves with the last client */
    WORKER_STOPPING, /* everyone has been told */
};

struct worker {
    struct event_base *base;
    struct net net;
    struct acceptor acceptor;
    struct chan chan;
    struct counters *counters;
    struct addresses book;
    struct webhooks *webhooks;
    struct hub *hub;
    struct cluster *cluster;
    char node[80];   /* this broker, among all */
    struct bus *bus; /* NULL before the first configuration */
    struct services services;
    struct http_site site;
    struct metrics metrics;
    struct list endpoints;
    struct list answers; /* query's */
    struct conf *conf;
    struct shadow shadow;
    struct event on_term;
    unsigned slot, number;
    const char *run_dir;
    enum worker_phase phase;
    bool unready;        /* told that a stop is near */
    bool bus_was_up;     /* as the supervisor was told … */
    char bus_why[160];   /* … and why not */
    int64_t leave_ms;    /* RETIRING, STOPPING: at the latest */
    unsigned end_code;   /* what clients are told: 1001, 1012 */
    int64_t farewell_ms; /* Redis was told the last; so long is its answer awaited */
    bool done;
};

/* The whole life; returns the exit code. */
int worker_run(unsigned slot, unsigned number, const char *run_dir);

/* Both phases of a reload; the first configuration comes the same way. */
int worker_commit(struct worker *w, uint32_t gen, int fd, struct err *e) NODISCARD;
int worker_apply(struct worker *w, uint32_t gen, struct err *e) NODISCARD;
void worker_abort(struct worker *w, uint32_t gen);

void worker_retire(struct worker *w, int64_t timeout_ms);
/* Serves the accept queues, tells every client, waits for close handshakes until
 * timeout_ms. */
void worker_stop(struct worker *w, unsigned code, int64_t timeout_ms);

/* acceptor.on_drained: tells the supervisor. */
void worker_drained(void *ctx, const struct listener *l);

extern const struct msg_handlers from_supervisor;

#endif
