#include "worker/http/api_call.h"

#include "common/log.h"
#include "common/mem.h"
#include "worker/http/api_routes.h"
#include "worker/http/cors.h"

#include <stdarg.h>

#define SHOWN_MAX 120 /* bytes of outside text in a message */

struct api_call *api_call_new(struct conn *c, const struct request *r)
{
    struct api_call *call = NEW(struct api_call);
    bool has_body = r->content_length > 0 || r->is_chunked;
    call->c = c;
    call->counters = c->net->counters;
    list_init(&call->wait.link);
    cors_fields(r, &c->net->site->conf->allowed_origins, &call->fields);
    call->how = (struct answer_how){
        .with_body = !str_is(r->method, "HEAD"),
        .keep_alive = r->keep_alive && !has_body, /* it is not read (yet) */
    };
    c->proto = call;
    return call;
}

static void give_back_text(struct api_call *call)
{
    if (call->text)
        conn_give_back(call->c, call->text);
    call->text = NULL;
}

static void end(struct api_call *call)
{
    list_unlink(&call->wait.link);
    buf_free(&call->fields);
    buf_free(&call->name);
    buf_free(&call->after);
    free(call);
}

void api_call_gone(struct api_call *call)
{
    struct conn *c = call->c;
    give_back_text(call);
    c->proto = NULL;
    call->c = NULL;
    if (conn_is_paused(c))
        conn_resume(c);
    if (call->state != API_OWED)
        end(call);
}

/* ---- answers ---- */

void api_reply(struct api_call *call, unsigned status, struct str body)
{
    call->how.fields = buf_view(&call->fields);
    answer_send(call->c, status, body, &call->how);
    api_call_gone(call);
}

void api_turn_down(struct api_call *call, unsigned status, const char *error,
                   const char *hint, const char *fmt, ...)
{
    struct refusal why;
    va_list args;
    refusal_set(&why, status, error, hint);
    if (status == 405)
        why.allow = call->route->methods;
    va_start(args, fmt);
    vsnprintf(why.message, sizeof(why.message), fmt, args);
    va_end(args);
    call->how.fields = buf_view(&call->fields);
    answer_explain(call->c, &why, &call->how);
    api_call_gone(call);
}

/* ---- waiting ---- */

void api_wait(struct api_call *call, enum api_state for_what,
              void (*late)(struct api_call *call))
{
    struct conn *c = call->c;
    call->state = for_what;
    call->late = late;
    c->st.opened_ms = net_now(c->net);
    conn_pause(c);
}

bool api_settled(struct api_call *call)
{
    call->state = API_READING; /* nobody owes anything any more */
    if (!call->c)
        end(call);
    else
        return true;
    return false;
}

/* ---- Redis ---- */

void api_bus_uncertain(struct api_call *call)
{
    api_turn_down(call, 503, "bus-uncertain",
                  "Send it again if it must be done; it may be done twice.",
                  "Redis was asked and has not answered: nobody knows whether it was "
                  "done.");
}

void api_bus_down(struct api_call *call, struct str why)
{
    struct buf shown = {0};
    buf_escape(&shown, why, SHOWN_MAX);
    api_turn_down(call, 503, "bus-down", "Send it again later; /ready says when.",
                  "Nothing was done, for Redis cannot be used: %s.", buf_cstr(&shown));
    buf_free(&shown);
}

void api_bus_failed(struct api_call *call, const struct bus_reply *r)
{
    if (r->type == BUS_UNCERTAIN)
        api_bus_uncertain(call);
    else if (r->type == BUS_DOWN || r->type == BUS_ERROR)
        api_bus_down(call, r->text);
    else
        api_bus_down(call, STR("its answer makes no sense"));
}
