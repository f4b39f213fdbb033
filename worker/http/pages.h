/* pages: what plain HTTP on the clients' port shows: /health and /ready.
 * Owns nothing. Never changes anything. */
#ifndef WORKER_HTTP_PAGES_H
#define WORKER_HTTP_PAGES_H

#include "worker/http/http.h"

/* false: there is no such page. */
bool pages_answer(struct conn *c, const struct request *r, bool keep_alive);
/* Status line, fields and JSON body; with_body false for HEAD. Closes unless keep_alive. (http.c) */
void http_answer(struct conn *c, unsigned status, struct str body, bool with_body, bool keep_alive);

#endif
