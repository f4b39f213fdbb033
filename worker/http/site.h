/* site: what a worker serves over HTTP: its endpoints, its limits, and whether it may.
 * Owns the table of routes. Replaced piece by piece at a reload; net->site points at it.
 */
#ifndef WORKER_HTTP_SITE_H
#define WORKER_HTTP_SITE_H

#include "worker/http/route.h"

struct http_site {
    struct routes routes;
    size_t max_head, max_fields;
    enum conf_refusals refusals; /* of paths without an endpoint */
    /* NULL: ready; else why not ("bus: …", "stopping"). */
    const char *(*not_ready)(void *ctx);
    void *ctx;
};

#endif
