/* api_keys: whose key is in a request? Owns nothing. Never tells, by answer or time, how
 * near a wrong key is to a right one. */
#ifndef WORKER_HTTP_API_KEYS_H
#define WORKER_HTTP_API_KEYS_H

#include "common/conf.h"
#include "worker/http/request.h"

/* `Authorization: Bearer <key>` (RFC 6750 §2.1); NULL: none of the configured ones. */
const struct conf_api_key *api_keys_find(const struct conf_main *conf,
                                         const struct request *r);

#endif
