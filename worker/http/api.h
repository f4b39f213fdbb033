/* api: what programs ask over HTTP: /api/… and /metrics, with a key. Owns a struct
 * api_call from the request's head to its answer (c->proto meanwhile; only one a
 * connection). Never reads a body, or says what there is, before the key was right. */
#ifndef WORKER_HTTP_API_H
#define WORKER_HTTP_API_H

#include "worker/http/request.h"
#include "worker/net/conn.h"

#define API_BODY_MAX (1024 * 1024)

bool api_is(struct str path);
/* Answers, or c->proto is set until it is answered: as long as the connection is reading
 * then, what comes next is the body. has_more: bytes stand behind the head already. */
void api_begin(struct conn *c, const struct request *r, bool has_more);
/* How many of the bytes belong to the body. */
size_t api_body(struct conn *c, struct str bytes);
/* As conn_ops has them. */
int64_t api_due(struct conn *c, int64_t now_ms);
void api_gone(struct conn *c);

#endif
