#include "supervisor/ctl/doctor.h"

#include "common/json.h"

#define CLOSE_AUTH_TIMEOUT 4001
#define CLOSE_AUTH_LAST 4004
#define CLOSE_OF_STATUS 4000 /* a refusal that was accepted first */
#define LET_PASS                                                                         \
    "let the proxy in between pass the upgrade (nginx: proxy_http_version 1.1; "         \
    "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade)"

/* What a server says when it refuses. */
struct refusal {
    unsigned status;   /* of HTTP; 4403 is 403 again */
    struct buf words;  /* its reason, and what it hints at */
    struct buf hint;   /* a heliod's: what to change */
    struct buf target; /* of a redirection */
};

static void refusal_fini(struct refusal *r)
{
    buf_free(&r->words);
    buf_free(&r->hint);
    buf_free(&r->target);
}

static const char *words_of(struct refusal *r)
{
    return r->words.n ? buf_cstr(&r->words) : "no reason is given";
}

/* The sentences of a heliod (PROTOCOL part D), or none. */
static void read_body(struct str body, struct refusal *r)
{
    struct err e;
    struct json_object *o = body.n ? json_read(body, &e) : NULL;
    struct str message = json_get_str(o, "message"), hint = json_get_str(o, "hint");

    buf_str(&r->words, message);
    if (hint.n > 0)
        buf_printf(&r->words, " " STR_FMT, STR_ARG(hint));
    buf_str(&r->hint, hint);
    json_object_put(o);
}

static void refused_origin(struct doctor *d, struct refusal *r, struct finding *f)
{
    const char *origin = d->ctl->opt.origin;
    struct buf where = {0}, now = {0};

    finding_bad(f, DOCTOR_ORIGIN, "the origin %s is refused: %s",
                origin ? origin : "(none sent: give --origin)", words_of(r));
    if (doctor_config_get(d, "].allowed_origins", &where, &now))
        finding_fix(f, "add it to %s, which is now: %s; then helioctl reload",
                    buf_cstr(&where), buf_cstr(&now));
    else
        finding_fix(f, "add it to `allowed_origins` of this endpoint in heliod.yaml "
                       "(another server: to its list of origins), then helioctl reload");
    buf_free(&where);
    buf_free(&now);
}

static void refused_token(struct doctor *d, unsigned code, struct refusal *r,
                          struct finding *f)
{
    struct buf how = {0};

    buf_printf(&how, "refused with %u: %s", code, words_of(r));
    doctor_blame_token(d, buf_cstr(&how), f);
    buf_free(&how);
}

/* ---- the path, and what stands in it ---- */

static void wrong_path(struct doctor *d, struct refusal *r, struct finding *f)
{
    finding_bad(f, DOCTOR_PATH, "the path is refused with %u: %s", r->status,
                words_of(r));
    if (r->status == 400 && r->hint.n)
        finding_fix(f, "%s", buf_cstr(&r->hint));
    else
        finding_fix(f, "correct the path of the URL%s",
                    d->is_ours && r->status == 404
                        ? ", or add an endpoint for it to heliod.yaml"
                        : "");
}

/* We asked for a WebSocket, and it was not told. */
static void no_upgrade(struct refusal *r, struct finding *f)
{
    finding_bad(f, DOCTOR_PATH,
                "the server was not asked for a WebSocket (%u: %s): something in between "
                "took `Upgrade` away",
                r->status, words_of(r));
    finding_fix(f, LET_PASS);
}

static void wrong_method(struct refusal *r, struct finding *f)
{
    finding_bad(
        f, DOCTOR_PATH,
        "at this path GET is not allowed, with which every WebSocket begins (405: "
        "%s)",
        words_of(r));
    finding_fix(f, "correct the path of the URL; if it is right, let the proxy or "
                   "firewall in between pass GET");
}

static void wrong_form(struct refusal *r, struct finding *f)
{
    finding_bad(f, DOCTOR_PATH, "the form of the handshake is refused (%u: %s)",
                r->status, words_of(r));
    finding_fix(f, LET_PASS);
}

/* "https://example.com/x?y" for ws://: the page has to say wss itself, no browser
 * follows.
 */
static void redirected(struct doctor *d, struct refusal *r, struct finding *f)
{
    bool is_secure = str_starts(buf_view(&r->target), STR("https://"));
    struct buf url = {0};
    struct str query, rest, scheme;

    scheme = str_split(str_split(buf_view(&r->target), '?', &query), ':', &rest);
    if (rest.p && (is_secure || str_is(scheme, "http")))
        buf_printf(&url, "use %s:" STR_FMT "%s", is_secure ? "wss" : "ws", STR_ARG(rest),
                   query.p ? "?…" : "");
    finding_bad(f, is_secure && !d->url.tls ? DOCTOR_TLS : DOCTOR_PATH,
                "the answer is a redirection (%u), which browsers do not follow here%s",
                r->status,
                is_secure && !d->url.tls ? ": TLS is wanted, the URL says ws://" : "");
    finding_fix(f, "%s", url.n ? buf_cstr(&url) : "use the URL it leads to");
    buf_free(&url);
}

/* ---- another server ---- */

/* Without a word of heliod: does the origin make the difference? */
static bool is_origin_to_blame(struct doctor *d)
{
    return d->ctl->opt.origin &&
           doctor_status_of(d, buf_view(&d->url.target), NULL) == 101;
}

/* A web server that never upgrades is not the one that was meant. */
static bool is_web_server(struct doctor *d)
{
    return !d->is_ours && doctor_status_of(d, STR("/"), d->ctl->opt.origin) != 101 &&
           doctor_status_of(d, STR("/ws"), d->ctl->opt.origin) != 101;
}

static void no_socket(struct doctor *d, unsigned status, struct finding *f)
{
    finding_bad(
        f, DOCTOR_PORT,
        "something answers HTTP (%u) at port %u, but it is no heliod and opens no "
        "WebSocket%s",
        status, (unsigned)d->url.port, doctor_holder(d));
    finding_fix(f,
                "end that program, or correct port or path of the URL; behind a proxy, "
                "pass Upgrade and Connection");
}

bool doctor_is_gateway_error(unsigned status)
{
    return status == 502 || status == 503 || status == 504;
}

/* 504 is what a back end that hangs looks like, too. */
static void no_back_end(unsigned status, struct finding *f)
{
    finding_bad(f, DOCTOR_NOT_RUNNING, "a proxy answers %u: its back end %s", status,
                status == 504 ? "does not answer" : "is not there");
    finding_fix(f, status == 504
                       ? "start the server behind the proxy, or look whether it hangs; "
                         "compare its address and port with the proxy's"
                       : "start the server behind the proxy, or correct its address and "
                         "port there");
}

/* ---- all of it ---- */

static void not_known(unsigned code, struct refusal *r, struct finding *f)
{
    finding_bad(f, DOCTOR_UNDECIDED, "the handshake is answered with %u: %s", code,
                words_of(r));
    if (r->hint.n)
        finding_fix(f, "%s", buf_cstr(&r->hint));
    else
        finding_fix(f, "see heliod-errors(7), or the documentation of that server");
}

static void judge_status(struct doctor *d, struct refusal *r, struct finding *f)
{
    unsigned s = r->status;

    if (s == 403 && (d->is_ours || is_origin_to_blame(d)))
        refused_origin(d, r, f);
    else if (s == 401 || s == 403 || s == 407)
        refused_token(d, s, r, f);
    else if (doctor_is_gateway_error(s) && !r->words.n) /* a heliod's 503 has words */
        no_back_end(s, f);
    else if (s >= 300 && s < 400 && r->target.n)
        redirected(d, r, f);
    else if ((s == 404 || s < 300 || s == 501) && is_web_server(d))
        no_socket(d, s, f);
    else if (s == 426)
        no_upgrade(r, f);
    else if (s == 405)
        wrong_method(r, f);
    else if (s == 404 || (s == 400 && r->hint.n))
        wrong_path(d, r, f);
    else if (s == 400)
        wrong_form(r, f);
    else
        not_known(s, r, f);
}

void doctor_explain_status(struct doctor *d, const struct doctor_head *h,
                           struct finding *f)
{
    struct refusal r = {.status = h->status};

    read_body(h->body, &r);
    buf_str(&r.target, doctor_head_field(h, "Location"));
    judge_status(d, &r, f); /* asks again: the head is gone then */
    refusal_fini(&r);
}

void doctor_explain_close(struct doctor *d, unsigned code, const char *reason,
                          struct finding *f)
{
    struct refusal r = {.status = code - CLOSE_OF_STATUS};

    buf_str(&r.words, str_of(reason));
    if (r.status == 403)
        refused_origin(d, &r, f);
    else if (code >= CLOSE_AUTH_TIMEOUT && code <= CLOSE_AUTH_LAST)
        refused_token(d, code, &r, f);
    else if (r.status == 400 || r.status == 404)
        wrong_path(d, &r, f);
    else
        not_known(code, &r, f);
    refusal_fini(&r);
}
