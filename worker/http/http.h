/* http: a connection before (or without) its upgrade: collects the head, answers pages, hands over to a session.
 * Owns nothing beyond the connection's borrowed buffer. Never refuses without saying why (PROTOCOL part D). */
#ifndef WORKER_HTTP_HTTP_H
#define WORKER_HTTP_HTTP_H

#include "worker/http/route.h"
#include "worker/http/upgrade.h"
#include "worker/net/conn.h"

/* What is served on this worker; net->site points at it. */
struct http_site {
    struct routes routes;
    size_t max_head, max_fields;
    /* NULL: ready; else why not ("bus: …", "stopping"). */
    const char *(*not_ready)(void *ctx);
    /* NULL: upgrades are taken; else the sentence of the 503. */
    const char *(*no_upgrades)(void *ctx);
    void *ctx;
};
extern const struct conn_ops http_conn_ops;

/* Answers with the refusal's status and the body {"error","message","hint"}; closes unless keep_alive. */
void http_refuse(struct conn *c, const struct refusal *r, bool keep_alive);

#endif
