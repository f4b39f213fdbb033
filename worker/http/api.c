#include "worker/http/api.h"

#include "common/log.h"
#include "common/mem.h"
#include "worker/http/answer.h"
#include "worker/http/api_keys.h"
#include "worker/http/body.h"
#include "worker/http/cors.h"
#include "worker/http/site.h"
#include "worker/hub/publication.h"

#include <stdarg.h>

#define ROOM "api"
#define SHOWN_MAX 120 /* bytes of outside text in a message */

enum api_state { API_HEAD, API_BODY, API_COUNTERS, API_BUS };

struct api_call {
    struct conn *c; /* NULL: answered or gone, but the bus still owes us its word */
    struct counters *counters;
    const struct api_route *route;
    enum api_state state;
    struct answer_how how;
    struct buf fields; /* of the answer */
    struct body body;
    struct buf *text; /* borrowed while the body comes */
    struct metrics_wait wait;
    char key[65]; /* its name, for the log */
};
struct api_route {
    const char *path, *methods;
    bool takes_json;
    void (*serve)(struct api_call *call, struct str body);
};

static const struct http_site *site_of(const struct api_call *call)
{
    return call->c->net->site;
}

/* ---- life ---- */

static struct api_call *call_new(struct conn *c, const struct request *r)
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

/* The connection has nothing to do with it any more. */
static void let_go(struct api_call *call)
{
    struct conn *c = call->c;
    if (c) {
        give_back_text(call);
        c->proto = NULL;
        call->c = NULL;
        if (conn_is_paused(c))
            conn_resume(c);
    }
    if (call->state == API_BUS)
        return;
    list_unlink(&call->wait.link);
    buf_free(&call->fields);
    free(call);
}

static void reply(struct api_call *call, unsigned status, struct str body)
{
    call->how.fields = buf_view(&call->fields);
    answer_send(call->c, status, body, &call->how);
    let_go(call);
}

static void PRINTF(5, 6)
    turn_down(struct api_call *call, unsigned status, const char *error, const char *hint,
              const char *fmt, ...)
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
    let_go(call);
}

/* The answer will come from elsewhere; what the client sends meanwhile waits. */
static void begin_waiting(struct api_call *call, enum api_state for_whom)
{
    struct conn *c = call->c;
    call->state = for_whom;
    c->st.opened_ms = net_now(c->net);
    conn_pause(c);
}

/* ---- POST /api/events ---- */

static void bus_uncertain(struct api_call *call)
{
    turn_down(call, 503, "bus-uncertain",
              "Publish it again if it must arrive; some may get it twice.",
              "Redis was sent the message and has not answered: nobody knows whether it "
              "was delivered.");
}

static void bus_down(struct api_call *call, const char *why)
{
    struct buf shown = {0};
    buf_escape(&shown, str_of(why), SHOWN_MAX);
    turn_down(call, 503, "bus-down", "Publish it again later; /ready says when.",
              "Nothing was delivered, for Redis cannot be used: %s.", buf_cstr(&shown));
    buf_free(&shown);
}

static void on_published(void *ctx, bool ok, const char *why)
{
    struct api_call *call = ctx;
    call->state = API_HEAD; /* nobody owes anything any more */
    if (ok)
        COUNT(call->counters, api_published);
    if (!call->c)
        let_go(call);
    else if (ok)
        reply(call, 200, STR("{\"published\":true}\n"));
    else if (strcmp(why, "bus-uncertain") == 0)
        bus_uncertain(call);
    else
        bus_down(call, why);
}

/* The answer may come before publication_send returns. */
static void serve_events(struct api_call *call, struct str body)
{
    struct err e;
    log_debug("publishes %s key=%s bytes=%zu", conn_esc(call->c), call->key, body.n);
    begin_waiting(call, API_BUS);
    if (publication_send(site_of(call)->hub, body, on_published, call, &e) == 0)
        return;
    call->state = API_BODY;
    turn_down(call, 400, "bad-body",
              "Send {\"to\":{\"room\":…},\"event\":…,\"data\":…,\"exclude\":[…]}; `to` "
              "holds room, user, client or broadcast:true.",
              "The body cannot be used: %s.", e.text);
}

/* ---- GET /metrics ---- */

static void no_counters(struct api_call *call)
{
    turn_down(call, 503, "counters-unavailable", "Ask again later.",
              "The supervisor did not say what the workers have counted.");
}

static void on_counters(struct metrics_wait *w, struct str page)
{
    struct api_call *call = container_of(w, struct api_call, wait);
    call->how.type = METRICS_TYPE;
    if (page.p) {
        reply(call, 200, page);
        return;
    }
    call->how.type = NULL;
    no_counters(call);
}

static void serve_metrics(struct api_call *call, UNUSED struct str body)
{
    begin_waiting(call, API_COUNTERS);
    metrics_await(site_of(call)->metrics, &call->wait, on_counters);
}

static const struct api_route routes[] = {
    {"/api/events", "POST, OPTIONS", true, serve_events},
    {"/metrics", "GET, HEAD, OPTIONS", false, serve_metrics},
};

/* ---- the head ---- */

bool api_is(struct str path)
{
    return str_is(path, "/api") || str_starts(path, STR("/api/")) ||
           str_is(path, "/metrics");
}

static const struct api_route *route_of(struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (str_is(path, routes[i].path))
            return &routes[i];
    return NULL;
}

static void no_such_route(struct api_call *call, const struct request *r)
{
    turn_down(call, 404, "no-such-route", "See HTTP API in heliod-protocol(7).",
              "The HTTP API has nothing at the path %.150s.", log_esc(r->path));
}

static void foreign_origin(struct api_call *call, struct str origin)
{
    struct buf shown = {0};
    buf_escape(&shown, origin, SHOWN_MAX);
    turn_down(call, 403, "origin-not-allowed",
              "Add it to allowed_origins at the top level of heliod.yaml, not at an "
              "endpoint.",
              "Pages of the Origin %s may not use the HTTP API.", buf_cstr(&shown));
    buf_free(&shown);
}

/* A browser asks without a key. */
static void answer_options(struct api_call *call, const struct request *r)
{
    const char *methods = call->route->methods;
    if (!cors_is_preflight(r)) {
        buf_printf(&call->fields, "Allow: %s\r\n", methods);
        reply(call, 204, STR_NONE);
    } else if (cors_allows(r, &site_of(call)->conf->allowed_origins)) {
        cors_preflight_fields(methods, &call->fields);
        reply(call, 204, STR_NONE);
    } else {
        foreign_origin(call, request_field(r, "Origin"));
    }
}

static void note_denied(const struct api_call *call, const struct request *r)
{
    static struct log_limit limit;
    unsigned unlogged = 0;
    COUNT(call->counters, api_denied);
    if (log_permit(&limit, 5, 60000, &unlogged))
        log_warn("API request without a valid key: %s path=%s unlogged=%u",
                 conn_esc(call->c), log_esc(r->path), unlogged);
}

static bool is_admitted(struct api_call *call, const struct request *r)
{
    const struct conf_main *conf = site_of(call)->conf;
    if (conf->api_keys.n == 0) {
        turn_down(call, 403, "api-disabled", "Add api_keys to heliod.yaml.",
                  "The HTTP API is off: no keys are configured.");
        return false;
    }
    const struct conf_api_key *key = api_keys_find(conf, r);
    if (!key) {
        note_denied(call, r);
        turn_down(call, 401, "unauthorized",
                  "Send `Authorization: Bearer <key>` with a key of api_keys in "
                  "heliod.yaml.",
                  "The request has no valid API key.");
        return false;
    }
    snprintf(call->key, sizeof(call->key), "%s", log_esc(key->name));
    return true;
}

/* Is the method among the route's? */
static bool is_allowed(const struct api_route *route, struct str method)
{
    struct str rest = str_of(route->methods);
    while (rest.p)
        if (str_eq(str_trim(str_split(rest, ',', &rest)), method))
            return true;
    return false;
}

/* ---- the body ---- */

static bool is_json(const struct request *r)
{
    struct str parameters, coding = request_field(r, "Content-Encoding");
    struct str type = str_split(request_field(r, "Content-Type"), ';', &parameters);
    return request_count(r, "Content-Type") == 1 &&
           str_eq_nocase(str_trim(type), STR("application/json")) &&
           (!coding.p || str_eq_nocase(coding, STR("identity")));
}

static void too_large(struct api_call *call)
{
    turn_down(call, 413, "body-too-large", "Send less at once.",
              "The body is longer than %d bytes.", API_BODY_MAX);
}

/* Everything that can be said against a body before it is there. */
static bool may_have_body(struct api_call *call, const struct request *r)
{
    struct str expect = request_field(r, "Expect");
    if (!is_json(r))
        turn_down(call, 415, "not-json",
                  "Send `Content-Type: application/json` and no Content-Encoding.",
                  "The body is not announced as plain JSON.");
    else if (!r->has_content_length && !r->is_chunked)
        turn_down(call, 411, "length-required",
                  "Send Content-Length, or Transfer-Encoding: chunked.",
                  "The request does not say how long its body is.");
    else if (r->minor > 0 && expect.p && !str_eq_nocase(expect, STR("100-continue")))
        turn_down(call, 417, "expectation-failed",
                  "Send `Expect: 100-continue`, or none.",
                  "The request expects something unknown.");
    else if (body_init(&call->body, r, API_BODY_MAX) == BODY_TOO_LARGE)
        too_large(call);
    else
        return true;
    return false;
}

static void serve(struct api_call *call)
{
    struct conn *c = call->c;
    struct buf *text = call->text;
    call->text = NULL; /* the call may end before serve returns */
    call->route->serve(call, text ? buf_view(text) : STR_NONE);
    if (text)
        conn_give_back(c, text);
}

static void begin_body(struct api_call *call, const struct request *r, bool has_more)
{
    call->state = API_BODY;
    call->how.keep_alive = r->keep_alive;
    call->text = net_borrow(call->c->net);
    if (r->has_content_length && r->content_length == 0)
        serve(call);
    else if (r->minor > 0 && !has_more && request_count(r, "Expect") > 0)
        conn_raw(call->c, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

size_t api_body(struct conn *c, struct str bytes)
{
    struct api_call *call = c->proto;
    const char *why = "";
    size_t used = 0;
    enum body_verdict v = body_feed(&call->body, bytes, &used, call->text, &why);
    if (v == BODY_DONE)
        serve(call);
    if (v == BODY_DONE || v == BODY_MORE)
        return used;
    call->how.keep_alive = false; /* where would the next request begin? */
    if (v == BODY_TOO_LARGE)
        too_large(call);
    else
        turn_down(call, 400, "bad-request",
                  "Send a well-formed chunked body (RFC 9112 section 7.1).", "%s", why);
    return used;
}

void api_begin(struct conn *c, const struct request *r, bool has_more)
{
    struct api_call *call = call_new(c, r);
    bool is_options = str_is(r->method, "OPTIONS");
    call->route = route_of(r->path);
    if (!is_options && !is_admitted(call, r))
        return;
    if (!call->route)
        no_such_route(call, r);
    else if (is_options)
        answer_options(call, r);
    else if (!is_allowed(call->route, r->method))
        turn_down(call, 405, "method-not-allowed", "Use another method; see Allow.",
                  "%s takes only %s.", call->route->path, call->route->methods);
    else if (!call->route->takes_json)
        serve(call);
    else if (may_have_body(call, r))
        begin_body(call, r, has_more);
}

/* ---- time and the end ---- */

int64_t api_due(struct conn *c, int64_t now_ms)
{
    struct api_call *call = c->proto;
    int64_t limit_ms = c->net->handshake_timeout_ms;
    if (now_ms < c->st.opened_ms + limit_ms)
        return c->st.opened_ms + limit_ms;
    c->st.opened_ms = now_ms; /* of the next request, if there is one */
    if (call->state == API_BUS) {
        bus_uncertain(call);
    } else if (call->state == API_COUNTERS) {
        metrics_give_up(c->net->site->metrics);
        no_counters(call);
    } else {
        COUNT(c->net->counters, handshake_timeouts);
        call->how.keep_alive = false;
        turn_down(call, 408, "request-timeout",
                  "Send the whole request at once; see client.handshake_timeout.",
                  "The request's body was not complete within %" PRId64 " ms.", limit_ms);
    }
    return now_ms + limit_ms;
}

void api_gone(struct conn *c)
{
    if (c->proto)
        let_go(c->proto);
}
