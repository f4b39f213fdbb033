/* pages: what plain HTTP on the clients' port shows: /health, /ready and
 * what browsers are served (which has a room of its own).
 * Owns nothing. Never changes anything. */
#ifndef WORKER_HTTP_PAGES_H
#define WORKER_HTTP_PAGES_H

#include "worker/http/request.h"
#include "worker/net/conn.h"

/* false: there is no such page. */
bool pages_answer(struct conn *c, const struct request *r, bool keep_alive);

#endif
