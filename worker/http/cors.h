/* cors: what a browser must be told so that a page of another origin may use the API
 * (WHATWG Fetch §3.2). Owns nothing. Pure. Never lets credentials of the browser's own
 * (cookies) in: a page needs a key. */
#ifndef WORKER_HTTP_CORS_H
#define WORKER_HTTP_CORS_H

#include "common/conf.h"
#include "worker/http/upgrade.h"

/* Does a browser ask whether it may ask? */
bool cors_is_preflight(const struct request *r);
/* Is there an Origin, one, and is it allowed? */
bool cors_allows(const struct request *r, const struct conf_strs *allowed);
/* Appends the fields that go with every answer. */
void cors_fields(const struct request *r, const struct conf_strs *allowed,
                 struct buf *out);
/* Appends what an allowed preflight is answered besides. */
void cors_preflight_fields(const char *methods, struct buf *out);

#endif
