/* POST /api/events: what a program wants delivered. */
#include "common/log.h"
#include "worker/http/api_routes.h"
#include "worker/hub/publication.h"

#define ROOM "api"

static void on_published(void *ctx, bool ok, const char *why)
{
    struct api_call *call = ctx;
    if (ok)
        COUNT(call->counters, api_published);
    if (!api_settled(call))
        return;
    if (ok)
        api_reply(call, 200, STR("{\"published\":true}\n"));
    else if (strcmp(why, "bus-uncertain") == 0)
        api_bus_uncertain(call);
    else
        api_bus_down(call, str_of(why));
}

/* The answer may come before publication_send returns. */
void api_serve_events(struct api_call *call, struct str body)
{
    struct err e;
    log_debug("publishes %s key=%s bytes=%zu", conn_esc(call->c), call->key, body.n);
    struct hub *hub = api_site(call)->hub;
    api_wait(call, API_OWED, api_bus_uncertain);
    if (publication_send(hub, body, on_published, call, &e) == 0)
        return;
    call->state = API_READING;
    api_turn_down(call, 400, "bad-body",
                  "Send {\"to\":{\"room\":…},\"event\":…,\"data\":…,\"exclude\":[…]}; "
                  "`to` holds room, user, client or broadcast:true.",
                  "The body cannot be used: %s.", e.text);
}
