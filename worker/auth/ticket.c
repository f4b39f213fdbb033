/* ticket: only heliod's own one-time tickets are good here. Those are known before any
 * method is asked (worker/protocols/entry), so whatever comes to this one is refused. */
#include "worker/auth/auth.h"

static void *open_ticket(const struct conf_auth *conf UNUSED, struct err *e UNUSED)
{
    return NULL;
}

static void close_ticket(void *state UNUSED) {}

static enum auth_verdict check_ticket(const void *state UNUSED, struct str token,
                                      int64_t now_s UNUSED,
                                      struct auth_identity *who UNUSED, struct err *why)
{
    err_set(why, token.p ? "the token is no ticket" : "no ticket");
    return AUTH_REFUSED;
}

const struct auth_ops auth_ticket_ops = {
    .open = open_ticket,
    .close = close_ticket,
    .check = check_ticket,
};
