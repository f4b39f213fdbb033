/* turned_away: a refusal that a web page can read: the handshake is accepted and closed
 * at once with 4000 + the HTTP status and the sentence (PROTOCOL part D). Owns the
 * environment such connections have instead of an endpoint's. Never shows one to a
 * protocol. */
#ifndef WORKER_HTTP_TURNED_AWAY_H
#define WORKER_HTTP_TURNED_AWAY_H

#include "worker/http/upgrade.h"
#include "worker/ws/session.h"

#define TURNED_AWAY_REASON_MAX 123 /* bytes: RFC 6455 §5.5 */

/* After the 101 was queued: instead of session_start. Counted as refused. */
void turned_away_start(struct conn *c, const struct refusal *why);
/* Until its end; then it has no environment at all. */
bool is_turned_away(const struct conn *c);

/* The sentence, cut at a character; behind it the hint, if that leaves it a third. */
void turned_away_reason(const struct refusal *why, char out[TURNED_AWAY_REASON_MAX + 1]);

#endif
