#include "worker/http/api.h"

#include "common/log.h"
#include "worker/http/api_keys.h"
#include "worker/http/api_routes.h"
#include "worker/http/cors.h"

#define ROOM "api"
#define SHOWN_MAX 120 /* bytes of outside text in a message */

/* ---- the head ---- */

bool api_is(struct str path)
{
    return str_is(path, "/api") || str_starts(path, STR("/api/")) ||
           str_is(path, "/metrics");
}

static void no_such_route(struct api_call *call, const struct request *r)
{
    api_turn_down(call, 404, "no-such-route", "See HTTP API in heliod-protocol(7).",
                  "The HTTP API has nothing at the path %.150s.", log_esc(r->path));
}

static void foreign_origin(struct api_call *call, struct str origin)
{
    struct buf shown = {0};
    buf_escape(&shown, origin, SHOWN_MAX);
    api_turn_down(call, 403, "origin-not-allowed",
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
        api_reply(call, 204, STR_NONE);
    } else if (cors_allows(r, &api_site(call)->conf->allowed_origins)) {
        cors_preflight_fields(methods, &call->fields);
        api_reply(call, 204, STR_NONE);
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
    const struct conf_main *conf = api_site(call)->conf;
    if (conf->api_keys.n == 0) {
        api_turn_down(call, 403, "api-disabled", "Add api_keys to heliod.yaml.",
                      "The HTTP API is off: no keys are configured.");
        return false;
    }
    const struct conf_api_key *key = api_keys_find(conf, r);
    if (!key) {
        note_denied(call, r);
        api_turn_down(call, 401, "unauthorized",
                      "Send `Authorization: Bearer <key>` with a key of api_keys in "
                      "heliod.yaml.",
                      "The request has no valid API key.");
        return false;
    }
    snprintf(call->key, sizeof(call->key), "%s", log_esc(key->name));
    return true;
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
    api_turn_down(call, 413, "body-too-large", "Send less at once.",
                  "The body is longer than %d bytes.", API_BODY_MAX);
}

/* Everything that can be said against a body before it is there. */
static bool may_have_body(struct api_call *call, const struct request *r)
{
    struct str expect = request_field(r, "Expect");
    if (!is_json(r))
        api_turn_down(call, 415, "not-json",
                      "Send `Content-Type: application/json` and no Content-Encoding.",
                      "The body is not announced as plain JSON.");
    else if (!r->has_content_length && !r->is_chunked)
        api_turn_down(call, 411, "length-required",
                      "Send Content-Length, or Transfer-Encoding: chunked.",
                      "The request does not say how long its body is.");
    else if (r->minor > 0 && expect.p && !str_eq_nocase(expect, STR("100-continue")))
        api_turn_down(call, 417, "expectation-failed",
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
        api_turn_down(call, 400, "bad-request",
                      "Send a well-formed chunked body (RFC 9112 section 7.1).", "%s",
                      why);
    return used;
}

/* Path, query, then the body. */
static void begin(struct api_call *call, const struct request *r, bool has_more)
{
    struct err e;
    if (api_routes_read(call, r, &e) != 0)
        api_turn_down(call, 400, "bad-url",
                      "See HTTP API in heliod-protocol(7); encode segments and values as "
                      "encodeURIComponent does.",
                      "The URL cannot be used: %s.", e.text);
    else if (!call->route->takes_json)
        serve(call);
    else if (may_have_body(call, r))
        begin_body(call, r, has_more);
}

void api_begin(struct conn *c, const struct request *r, bool has_more)
{
    struct api_call *call = api_call_new(c, r);
    bool is_options = str_is(r->method, "OPTIONS");
    call->route = api_routes_find(r->path);
    if (!is_options && !is_admitted(call, r))
        return;
    if (!call->route)
        no_such_route(call, r);
    else if (is_options)
        answer_options(call, r);
    else if (!api_routes_allow(call->route, r->method))
        api_turn_down(call, 405, "method-not-allowed", "Use another method; see Allow.",
                      "%s takes only %s.", call->route->path, call->route->methods);
    else
        begin(call, r, has_more);
}

/* ---- time and the end ---- */

int64_t api_due(struct conn *c, int64_t now_ms)
{
    struct api_call *call = c->proto;
    int64_t limit_ms = c->net->handshake_timeout_ms;
    if (now_ms < c->st.opened_ms + limit_ms)
        return c->st.opened_ms + limit_ms;
    if (call->state != API_READING && !call->late)
        return now_ms + limit_ms;
    c->st.opened_ms = now_ms; /* of the next request, if there is one */
    if (call->state != API_READING) {
        call->late(call);
    } else {
        COUNT(c->net->counters, handshake_timeouts);
        call->how.keep_alive = false;
        api_turn_down(call, 408, "request-timeout",
                      "Send the whole request at once; see client.handshake_timeout.",
                      "The request's body was not complete within %" PRId64 " ms.",
                      limit_ms);
    }
    return now_ms + limit_ms;
}

void api_gone(struct conn *c)
{
    if (c->proto)
        api_call_gone(c->proto);
}
