/* route: which endpoint lives at a path. Owns its table, replaced as a whole at a reload.
 * Never looks at the query string. */
#ifndef WORKER_HTTP_ROUTE_H
#define WORKER_HTTP_ROUTE_H

#include "common/conf.h"
#include "worker/http/upgrade.h"
#include "worker/ws/session.h"

#define ROUTE_SEGMENT_MAX 128 /* bytes of a room or role, decoded (PROTOCOL part B) */

struct route {
    const struct conf_endpoint *conf; /* path, origins */
    struct session_env *env;
};
struct routes {
    struct route *v;
    size_t n;
};

struct route_match {
    const struct route *route;
    struct str room, role; /* of a path with placeholders: decoded, into text; p NULL
                              without */
    char text[2][ROUTE_SEGMENT_MAX];
};
enum route_verdict {
    ROUTE_NONE,  /* no such endpoint */
    ROUTE_FOUND, /* out holds it */
    ROUTE_BAD, /* out->route is meant, but room or role cannot be: *why says which, 400 */
};
/* An endpoint without placeholders comes before one that has them. */
enum route_verdict route_find(const struct routes *r, struct str path,
                              struct route_match *out, struct refusal *why);
bool route_is_segment_char(char c); /* A-Z a-z 0-9 . _ ~ - */
/* The configured path nearest to a wrong one, for the refusal's hint; p NULL when none is
 * near. */
struct str route_nearest(const struct routes *r, struct str path);
/* The first placeholder a path is too short for: "{role}" of /ws/signaling/{room}/{role}
 * for /ws/signaling/r1; p NULL: that is not what is wrong. */
struct str route_missing(struct str pattern, struct str path);

#endif
