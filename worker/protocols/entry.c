#include "worker/protocols/entry.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/hub/tickets.h"

#define ROOM "entry"

/* A ticket at Redis. */
struct entry {
    struct conn *c; /* who holds it; NULL: cancelled */
    entry_fn fn;
    bool is_begun; /* entry_begin has returned: the answer comes from the loop */
    bool is_over;
};

static void refuse(struct conn *c, const char *why)
{
    log_debug("refused %s: %s", conn_esc(c), why);
    COUNT(c->net->counters, auth_refused);
    session_close(c, 4001, "Unauthorized");
}

static void admit(struct conn *c, entry_fn fn, const struct entry_identity *who)
{
    COUNT(c->net->counters, auth_accepted);
    fn(c, who);
}

static void turn_away(struct conn *c, const struct bus_reply *why)
{
    if (why->type == BUS_DOWN || why->type == BUS_UNCERTAIN || why->type == BUS_ERROR)
        session_close(c, 4503, "The ticket cannot be checked now, try again later");
    else
        refuse(c, "the ticket is used, too old, or for another endpoint");
}

/* Who is let in forgets the entry; who is turned away, or was leaving already, holds it
 * until its end, when it cancels. */
static void on_redeemed(void *ctx, struct str user, const struct bus_reply *why)
{
    struct entry *e = ctx;
    bool is_let_in = e->c && session_is_open(e->c) && user.p;
    e->is_over = true;
    if (is_let_in)
        admit(e->c, e->fn, &(struct entry_identity){.user = user});
    else if (e->c && session_is_open(e->c))
        turn_away(e->c, why);
    if (e->is_begun && (is_let_in || !e->c))
        free(e);
}

static struct entry *redeem(struct conn *c, struct str ticket, entry_fn fn)
{
    const struct endpoint *at = endpoint_of(c);
    struct entry *e = NEW(struct entry);
    *e = (struct entry){.c = c, .fn = fn};
    ticket_redeem(at->services->hub, ticket, at->set->c->path, on_redeemed, e);
    e->is_begun = true;
    if (!e->is_over)
        return e;
    free(e);
    return NULL;
}

static void check(struct conn *c, struct str token, entry_fn fn)
{
    struct auth_identity who = {0};
    struct err why = {0};
    enum auth_verdict v =
        auth_check(endpoint_of(c)->set->auth, token, clock_wall_ms() / 1000, &who, &why);
    if (v == AUTH_ACCEPTED)
        admit(c, fn,
              &(struct entry_identity){who.has_user ? buf_view(&who.user) : STR_NONE,
                                       who.expires_s});
    else
        refuse(c, why.text);
    auth_identity_fini(&who);
}

struct entry *entry_begin(struct conn *c, const struct session_opening *how, entry_fn fn)
{
    if (ticket_is(how->token))
        return redeem(c, how->token, fn);
    check(c, how->token, fn);
    return NULL;
}

void entry_cancel(struct entry *e)
{
    if (e && e->is_over)
        free(e);
    else if (e)
        e->c = NULL;
}
