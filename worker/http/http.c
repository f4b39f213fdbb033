#include "worker/http/http.h"

#include "common/log.h"
#include "worker/http/answer.h"
#include "worker/http/api.h"
#include "worker/http/opening.h"
#include "worker/http/pages.h"
#include "worker/http/turned_away.h"

#define ROOM "http"
#define ANSWERS_MAX                                                                      \
    (64 * 1024) /* unsent answers above which a pipelining client is not read */

/* ---- one request ---- */

static bool is_head(const struct request *r)
{
    return str_is(r->method, "HEAD");
}

/* The 101. deflate: NULL, or the terms taken. */
static void accept_upgrade(struct conn *c, const struct request *r,
                           const struct extensions_deflate *deflate)
{
    struct buf out = {0};
    upgrade_answer(r, deflate, &out);
    conn_raw(c, buf_view(&out));
    buf_free(&out);
}

/* By a status or, where the place wants it and the request is a handshake, by a close
 * (PROTOCOL part D). true: upgraded. */
static bool refuse(struct conn *c, const struct request *r, const struct refusal *why,
                   enum conf_refusals by, bool keep_alive)
{
    struct refusal no_handshake;
    if (by == REFUSALS_CLOSE && upgrade_check(r, &no_handshake)) {
        accept_upgrade(c, r, NULL);
        turned_away_start(c, why);
        return true;
    }
    answer_refusal(c, why, !is_head(r), keep_alive);
    return false;
}

static void hint_at_path(struct str near, struct str path, struct refusal *why)
{
    struct str missing = route_missing(near, path);
    if (!near.p || near.n >= sizeof(why->hint) / 2)
        snprintf(why->hint, sizeof(why->hint), "See the `endpoints` in heliod.yaml.");
    else if (missing.p)
        snprintf(why->hint, sizeof(why->hint),
                 "Add " STR_FMT ": the path is " STR_FMT ".", STR_ARG(missing),
                 STR_ARG(near));
    else
        snprintf(why->hint, sizeof(why->hint), "Did you mean " STR_FMT "?",
                 STR_ARG(near));
}

static bool no_such_path(struct conn *c, const struct request *r, bool keep_alive)
{
    struct refusal why;
    refusal_set(&why, 404, "no-such-endpoint", "");
    snprintf(why.message, sizeof(why.message),
             "No endpoint is configured at the path %s.", log_esc(r->path));
    hint_at_path(route_nearest(&c->net->site->routes, r->path), r->path, &why);
    return refuse(c, r, &why, c->net->site->refusals, keep_alive);
}

/* Checks everything an upgrade needs. */
static bool may_upgrade(const struct request *r, const struct conf_endpoint *conf,
                        struct refusal *why)
{
    return upgrade_check(r, why) &&
           upgrade_origin_ok(r, conf->allowed_origins.v, conf->allowed_origins.n,
                             conf->require_origin, why);
}

static enum conf_refusals refusals_of(const struct route_match *m)
{
    return (enum conf_refusals)m->route->conf->refusals;
}

/* true: the connection is a WebSocket now. */
static bool to_endpoint(struct conn *c, const struct request *r,
                        const struct route_match *m)
{
    struct refusal why = {0};
    struct opening o = {0};
    bool is_welcome =
        may_upgrade(r, m->route->conf, &why) && opening_init(&o, r, m, &why);
    if (is_welcome) {
        struct extensions_deflate terms = {0};
        bool packs = m->route->conf->compression == COMPRESSION_ON &&
                     extensions_take_deflate(r, &terms);
        accept_upgrade(c, r, packs ? &terms : NULL);
        o.how.window_bits = terms.window_bits;
        session_start(c, m->route->env, &o.how);
    }
    opening_fini(&o);
    return is_welcome || refuse(c, r, &why, refusals_of(m), false);
}

/* true: upgraded. has_more: bytes stand behind the head. */
static bool dispatch(struct conn *c, const struct request *r, bool has_more)
{
    bool has_body = r->content_length > 0 || r->is_chunked;
    bool keep_alive = r->keep_alive && !has_body;
    struct route_match match;
    struct refusal why = {0};
    switch (route_find(&c->net->site->routes, r->path, &match, &why)) {
    case ROUTE_FOUND:
        return to_endpoint(c, r, &match);
    case ROUTE_BAD:
        return refuse(c, r, &why, refusals_of(&match), false);
    case ROUTE_NONE:
        break;
    }
    COUNT(c->net->counters, http_requests);
    if (api_is(r->path) && !upgrade_is_asked(r)) {
        api_begin(c, r, has_more);
        return false;
    }
    return !pages_answer(c, r, keep_alive) && no_such_path(c, r, keep_alive);
}

/* Whoever set this up looks here: the client's own words ("wrong version number") are a
 * riddle. */
static void log_tls(const struct conn *c)
{
    static struct log_limit limit;
    unsigned swallowed = 0;
    if (log_permit(&limit, 1, 10000, &swallowed))
        log_info("TLS came to a port where plain HTTP is spoken %s (%u more before)",
                 conn_esc(c), swallowed);
}

static void refuse_head(struct conn *c, const struct request *r, enum request_verdict v,
                        const char *what)
{
    struct refusal why = {0};
    switch (v) {
    case REQUEST_TOO_LARGE:
        refusal_set(&why, 431, "header-too-large",
                    "Send fewer or shorter header fields; see limits.header.");
        break;
    case REQUEST_URI_LONG:
        refusal_set(&why, 414, "uri-too-long", "Shorten the URL; see limits.header.");
        break;
    case REQUEST_VERSION:
        refusal_set(&why, 505, "http-version", "Use HTTP/1.1.");
        break;
    case REQUEST_TLS:
        refusal_set(&why, 400, "tls-not-spoken",
                    "Use http:// and ws://, or the port of a proxy that speaks TLS.");
        log_tls(c);
        break;
    default:
        refusal_set(&why, 400, "bad-request",
                    "Send a well-formed HTTP/1.1 request (RFC 9112).");
    }
    snprintf(why.message, sizeof(why.message), "%s", what);
    answer_refusal(c, &why, !is_head(r), false);
}

/* Reads requests from p until one is incomplete, one upgrades, one has to be answered
 * first, or the connection ends. Returns how many bytes are done with. */
static size_t read_requests(struct conn *c, char *p, size_t n)
{
    const struct http_site *site = c->net->site;
    struct request_field fields[REQUEST_FIELDS_MAX];
    size_t done = 0;
    while (done < n && c->st.phase == CONN_OPENING && conn_is_reading(c)) {
        if (c->proto) {
            done += api_body(c, (struct str){p + done, n - done});
            continue;
        }
        struct request r = {.fields = fields,
                            .fields_cap = MIN(site->max_fields, ARRAY_LEN(fields))};
        const char *why = "";
        enum request_verdict v =
            request_parse((struct str){p + done, n - done}, site->max_head, &r, &why);
        if (v == REQUEST_MORE)
            break;
        if (v != REQUEST_OK) {
            refuse_head(c, &r, v, why);
            break;
        }
        done += r.size;
        c->st.opened_ms = net_now(c->net); /* the next request's time starts now */
        if (dispatch(c, &r, done < n))
            break;
        conn_choke(c, ANSWERS_MAX);
    }
    return done;
}

static void on_bytes(struct conn *c, char *p, size_t n)
{
    struct buf *kept = c->partial;
    if (kept) {
        buf_put(kept, p, n);
        p = kept->p;
        n = kept->n;
        c->partial = NULL;
    }
    size_t done = read_requests(c, p, n);
    if (c->ops != &http_conn_ops)
        c->ops->bytes(c, p + done,
                      n - done); /* frames right behind the opening handshake */
    else if (c->st.phase == CONN_OPENING && !conn_is_reading(c))
        conn_hold(c, p + done, n - done);
    else if (c->st.phase == CONN_OPENING && done < n)
        buf_put(conn_partial(c), p + done, n - done);
    if (kept)
        conn_give_back(c, kept);
}

static void on_gone(struct conn *c, const char *cause)
{
    log_debug("gone before the opening handshake %s cause=\"%s\"", conn_esc(c), cause);
    api_gone(c);
}

static int64_t on_due(struct conn *c, int64_t now_ms)
{
    if (c->proto)
        return api_due(c, now_ms);
    int64_t end = c->st.opened_ms + c->net->handshake_timeout_ms;
    if (now_ms < end)
        return end;
    COUNT(c->net->counters, handshake_timeouts);
    if (!c->partial) {
        conn_close(c, "no request in time");
        return 0;
    }
    struct refusal why = {0};
    refusal_set(&why, 408, "request-timeout",
                "Send the whole request at once; see client.handshake_timeout.");
    snprintf(why.message, sizeof(why.message),
             "The request was not complete within %" PRId64 " ms.",
             c->net->handshake_timeout_ms);
    answer_refusal(c, &why, true, false);
    return 0;
}

bool http_is_idle(const struct conn *c)
{
    return c->ops == &http_conn_ops && !c->partial && !c->proto;
}

const struct conn_ops http_conn_ops = {.bytes = on_bytes, .gone = on_gone, .due = on_due};
