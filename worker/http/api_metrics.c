/* GET /metrics: the counters of all workers of this broker. */
#include "worker/http/api_routes.h"

static void no_counters(struct api_call *call)
{
    api_turn_down(call, 503, "counters-unavailable", "Ask again later.",
                  "The supervisor did not say what the workers have counted.");
}

static void on_late(struct api_call *call)
{
    metrics_give_up(api_site(call)->metrics);
    no_counters(call);
}

static void on_counters(struct metrics_wait *w, struct str page)
{
    struct api_call *call = container_of(w, struct api_call, wait);
    if (page.p) {
        call->how.type = METRICS_TYPE;
        api_reply(call, 200, page);
    } else {
        no_counters(call);
    }
}

void api_serve_metrics(struct api_call *call, UNUSED struct str body)
{
    api_wait(call, API_WAITING, on_late);
    metrics_await(api_site(call)->metrics, &call->wait, on_counters);
}
