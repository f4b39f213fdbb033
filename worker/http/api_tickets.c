/* POST /api/tickets: a token for one connection of one user. */
#include "common/log.h"
#include "worker/http/api_routes.h"
#include "worker/hub/tickets.h"

#define ROOM "api"

static void on_minted(void *ctx, struct str ticket, const struct bus_reply *why)
{
    struct api_call *call = ctx;
    if (ticket.p)
        COUNT(call->counters, tickets_minted);
    if (!api_settled(call))
        return;
    if (!ticket.p) {
        api_bus_failed(call, why);
        return;
    }
    struct buf body = {0};
    buf_printf(&body, "{\"ticket\":\"" STR_FMT "\"}\n", STR_ARG(ticket));
    api_reply(call, 200, buf_view(&body));
    buf_free(&body);
}

/* The answer may come before ticket_mint returns. */
void api_serve_tickets(struct api_call *call, struct str body)
{
    struct err e;
    const struct http_site *site = api_site(call);
    log_debug("wants a ticket %s key=%s", conn_esc(call->c), call->key);
    api_wait(call, API_OWED, api_bus_uncertain);
    if (ticket_mint(site->hub, site->conf, body, on_minted, call, &e) == 0)
        return;
    call->state = API_READING;
    api_turn_down(call, 400, "bad-body",
                  "Send {\"user\":…,\"endpoint\":<path as in heliod.yaml>,\"ttl\":"
                  "<seconds>}; `ttl` may be absent.",
                  "The body cannot be used: %s.", e.text);
}
