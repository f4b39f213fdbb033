/* docs: the page /docs: what is configured here, a console to try it, close codes, and
 * how a client is written. One document without anything from elsewhere. Owns nothing.
 * Never shows a key, a URL of a hook, or text from outside as markup. */
#ifndef WORKER_HTTP_DOCS_H
#define WORKER_HTTP_DOCS_H

#include "worker/http/request.h"
#include "worker/net/conn.h"

/* GET or HEAD. */
void docs_answer(struct conn *c, const struct request *r, bool keep_alive);

/* A JSON text made fit for a script element: no `<` stays in it. */
void docs_embed_json(struct buf *out, struct str json);
/* The policy the page is served with. Host is named for browsers whose 'self' holds no
 * ws:, if it is a plain name or IPv4 address: nothing else is let into a header. */
void docs_policy(struct buf *out, struct str host);

#endif
