/* route: which endpoint lives at a path. Owns its table, replaced as a whole at a reload.
 * Never looks at the query string. */
#ifndef WORKER_HTTP_ROUTE_H
#define WORKER_HTTP_ROUTE_H

#include "common/conf.h"
#include "worker/ws/session.h"

struct route {
    const struct conf_endpoint *conf; /* path, origins */
    struct session_env *env;
};
struct routes {
    struct route *v;
    size_t n;
};
const struct route *route_find(const struct routes *r, struct str path);
/* The configured path nearest to a wrong one, for the refusal's hint; p NULL when none is
 * near. */
struct str route_nearest(const struct routes *r, struct str path);

#endif
