/* entry: who is it that opens a connection with a token in its handshake? Owns the check
 * while Redis is asked about a ticket. Never blocks, never shows a token. For signaling
 * and notifications (PROTOCOL parts B, C); events asks in a message of its own. */
#ifndef WORKER_PROTOCOLS_ENTRY_H
#define WORKER_PROTOCOLS_ENTRY_H

#include "worker/protocols/endpoint.h"

struct entry;

/* user: p NULL when nobody in particular (anonymous); expires_s: wall seconds at which
 * the token ends, 0: never (expiry_due wants it). */
struct entry_identity {
    struct str user;
    int64_t expires_s;
};
/* Called once when the client may come in, from entry_begin or later from the loop. When
 * it may not, it has been closed (4001 Unauthorized, 4503 without Redis) instead. */
typedef void (*entry_fn)(struct conn *c, const struct entry_identity *who);

/* NULL: it is over already (fn was called, or the connection closed). Else the check is
 * under way: it is the caller's until fn is called, and to be cancelled at the end of a
 * connection that never was let in. */
struct entry *entry_begin(struct conn *c, const struct session_opening *how, entry_fn fn);
void entry_cancel(struct entry *e); /* NULL is fine */

#endif
