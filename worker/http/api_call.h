/* api_call: one request to the HTTP API, from its head to its answer. Owns what it keeps
 * of both; lives on without its connection while somebody owes it a word. Never answers
 * twice. */
#ifndef WORKER_HTTP_API_CALL_H
#define WORKER_HTTP_API_CALL_H

#include "worker/http/answer.h"
#include "worker/http/body.h"
#include "worker/http/site.h"

enum api_state {
    API_READING, /* the head, the body */
    API_WAITING, /* for an answer that nobody misses if the call is gone */
    API_OWED,    /* for a word that comes exactly once, whoever is left to hear it */
};
struct api_route;
struct api_call {
    struct conn *c; /* NULL: answered or gone, but API_OWED */
    struct counters *counters;
    const struct api_route *route;
    enum api_state state;
    void (*late)(struct api_call *call); /* answers when what is awaited does not come */
    struct answer_how how;
    struct buf fields; /* of the answer */
    struct body body;
    struct buf *text;       /* borrowed while the body comes */
    struct buf name, after; /* out of path and query, decoded: UTF-8 */
    unsigned limit;         /* out of the query */
    struct metrics_wait wait;
    enum cluster_what asks; /* of the cluster */
    char key[65];           /* its name, escaped, for the log */
};

/* c->proto from now on. */
struct api_call *api_call_new(struct conn *c, const struct request *r);
/* The connection is gone. */
void api_call_gone(struct api_call *call);
static inline const struct http_site *api_site(const struct api_call *call)
{
    return call->c->net->site;
}

/* Answers: the call is not to be touched afterwards, unless it is API_OWED. */
void api_reply(struct api_call *call, unsigned status, struct str body);
void api_turn_down(struct api_call *call, unsigned status, const char *error,
                   const char *hint, const char *fmt, ...) PRINTF(5, 6);

/* The answer will come from elsewhere; what the client sends meanwhile waits. late: it
 * did not come within client.handshake_timeout; NULL: it comes soon, whatever happens. */
void api_wait(struct api_call *call, enum api_state for_what,
              void (*late)(struct api_call *call));
/* The word that was owed has come. false: nobody is there to be answered, and the call is
 * freed. */
bool api_settled(struct api_call *call) NODISCARD;

/* 503s about Redis: nothing was done; nobody knows whether it was. */
void api_bus_down(struct api_call *call, struct str why);
void api_bus_uncertain(struct api_call *call); /* fits api_wait's late */
/* What Redis said when it is no answer (BUS_DOWN, BUS_UNCERTAIN, BUS_ERROR, …). */
void api_bus_failed(struct api_call *call, const struct bus_reply *r);

#endif
