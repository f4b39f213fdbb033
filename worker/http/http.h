/* http: a connection before (or without) its upgrade: collects the head, finds the page
 * or the endpoint, hands over to a session. Owns nothing beyond the connection's borrowed
 * buffer. Never refuses without saying why (PROTOCOL part D). */
#ifndef WORKER_HTTP_HTTP_H
#define WORKER_HTTP_HTTP_H

#include "worker/http/site.h"
#include "worker/net/conn.h"

extern const struct conn_ops http_conn_ops;
/* No request is under way. */
bool http_is_idle(const struct conn *c);

#endif
