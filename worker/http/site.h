/* site: what a worker serves over HTTP: its endpoints, its limits, and whether it may.
 * Owns the table of routes. Replaced piece by piece at a reload; net->site points at it.
 */
#ifndef WORKER_HTTP_SITE_H
#define WORKER_HTTP_SITE_H

#include "worker/http/metrics.h"
#include "worker/http/route.h"
#include "worker/hub/cluster.h"

struct http_site {
    struct routes routes;
    size_t max_head, max_fields;
    enum conf_refusals refusals; /* of paths without an endpoint */
    /* NULL: ready; else why not ("bus: …", "stopping"). */
    const char *(*not_ready)(void *ctx);
    void *ctx;
    bool is_leaving;              /* the worker serves no more requests than it has to */
    const struct conf_main *conf; /* keys and origins of the API */
    struct hub *hub;              /* what the API publishes to */
    struct cluster *cluster;      /* whom the API asks */
    struct metrics *metrics;
};

#endif
