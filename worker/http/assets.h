/* assets: what browsers are served: the pages /docs and /demos, each one document with
 * its own style and script, and the module /heliod.js. Owns nothing. Never shows text
 * from outside as markup, nor lets a page load anything from elsewhere. */
#ifndef WORKER_HTTP_ASSETS_H
#define WORKER_HTTP_ASSETS_H

#include "common/conf.h"
#include "worker/http/request.h"
#include "worker/net/conn.h"

struct asset; /* one of them */

/* NULL: there is none at this path, or it is switched off. */
const struct asset *assets_find(const struct conf_main *conf, struct str path);
/* GET or HEAD. */
void assets_answer(struct conn *c, const struct asset *a, const struct request *r,
                   bool keep_alive);

/* A JSON text made fit for a script element: no `<` stays in it. */
void assets_embed_json(struct buf *out, struct str json);
/* The policy a page is served with. Host is named for browsers whose 'self' holds no
 * ws:, if it is a plain name or IPv4 address: nothing else is let into a header. */
void assets_policy(struct buf *out, const struct asset *page, struct str host);

#endif
