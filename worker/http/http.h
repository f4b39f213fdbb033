/* http: a connection before (or without) its upgrade: collects the head, answers pages, hands over to a session.
 * Owns nothing beyond the connection's borrowed buffer. Never answers without saying why (PROTOCOL part D). */
#ifndef WORKER_HTTP_HTTP_H
#define WORKER_HTTP_HTTP_H

#include "worker/http/route.h"
#include "worker/http/upgrade.h"
#include "worker/net/conn.h"

/* What the pages need to know; net->worker points at the owner, who sets http_site of the net. */
struct http_site {
    struct routes routes;
    size_t max_head, max_fields;
    /* NULL: ready; else why not ("bus unreachable: …", "draining") */
    const char *(*not_ready)(void *worker);
    /* NULL: upgrades are taken; else the sentence for a 503 */
    const char *(*no_upgrades)(void *worker);
};
extern const struct conn_ops http_conn_ops;
/* One site per worker process, set at start, changed at CONF_APPLY. */
void http_set_site(const struct http_site *site);

/* The head of any answer, bodies are JSON: {"error","message","hint"} for refusals. */
void http_refuse(struct conn *c, const struct refusal *r, bool keep_alive);

#endif
