/* tickets: one-time tokens that heliod makes itself, for one user at one endpoint, so
 * that no long-lived credential stands in a URL. Owns nothing: they live in Redis under
 * their SHA-256, until their time is over. Never logs one. */
#ifndef WORKER_HUB_TICKETS_H
#define WORKER_HUB_TICKETS_H

#include "common/conf.h"
#include "worker/hub/hub.h"

#define TICKET_PREFIX "tk_" /* 32 random bytes in base64url follow */
#define TICKET_TTL_MAX 3600 /* seconds */
#define TICKET_USER_MAX 512 /* bytes */

/* ticket p NULL: there is none; why says what Redis said. */
typedef void (*ticket_minted_fn)(void *ctx, struct str ticket,
                                 const struct bus_reply *why);
/* text: {"user":…,"endpoint":<path>,"ttl":<seconds, 30 if absent>}, nothing else. The
 * endpoint must be one that takes its token in the handshake. -1: e says what is wrong
 * with it, nothing was done and fn is not called; else fn is called once. */
int ticket_mint(struct hub *h, const struct conf_main *conf, struct str text,
                ticket_minted_fn fn, void *ctx, struct err *e) NODISCARD;

static inline bool ticket_is(struct str token)
{
    return str_starts(token, STR(TICKET_PREFIX));
}
/* Ends the ticket, whatever comes of it. user p NULL: not a valid one for that endpoint,
 * or Redis could not be asked (why->type). fn is called once, perhaps at once. */
typedef void (*ticket_redeemed_fn)(void *ctx, struct str user,
                                   const struct bus_reply *why);
void ticket_redeem(struct hub *h, struct str ticket, struct str endpoint,
                   ticket_redeemed_fn fn, void *ctx);

#endif
