/* expiry: the end of a connection whose token has expired (auth.enforce_expiry). Owns
 * nothing. Never looks at a token: what it says was judged at entry. */
#ifndef WORKER_PROTOCOLS_EXPIRY_H
#define WORKER_PROTOCOLS_EXPIRY_H

#include "worker/protocols/endpoint.h"

/* For session_ops.due. expires_s: wall seconds (struct auth_identity), 0: never. Closes
 * 4001 `Token expired` when the time has come; else when to look again (milliseconds of
 * net_now), 0: never. */
int64_t expiry_due(struct conn *c, int64_t expires_s, int64_t now_ms);

#endif
