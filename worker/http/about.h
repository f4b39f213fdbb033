/* about: what is configured here, as the JSON that pages show. Owns nothing. Never shows
 * a key, a URL of a hook, or anything else that is not everybody's. */
#ifndef WORKER_HTTP_ABOUT_H
#define WORKER_HTTP_ABOUT_H

#include "worker/net/conn.h"

void about_broker(struct buf *out, const struct net *net);

#endif
