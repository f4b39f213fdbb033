/* opening: what an endpoint wants to know of an opening handshake: room and role, token,
 * session. Owns the decoded texts until opening_fini, which wipes them. Never logs one.
 */
#ifndef WORKER_HTTP_OPENING_H
#define WORKER_HTTP_OPENING_H

#include "worker/http/request.h"
#include "worker/http/route.h"

struct opening {
    struct session_opening how; /* views into the request, the match and text */
    struct buf text;
};
/* false: the session key cannot be one (*why, 400). */
bool opening_init(struct opening *o, const struct request *r, const struct route_match *m,
                  struct refusal *why);
void opening_fini(struct opening *o);

#endif
