#include "supervisor/ctl/doctor.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#include <time.h>

#define TLS_ALERT 0x15 /* RFC 8446 §5.1: types of a record */
#define TLS_HANDSHAKE 0x16
#define TLS_MAJOR 0x03

static bool is_tls(const struct buf *in)
{
    return in->n >= 2 && (in->p[0] == TLS_HANDSHAKE || in->p[0] == TLS_ALERT) &&
           in->p[1] == TLS_MAJOR;
}

/* ---- HTTP ---- */

static void put_get(struct doctor *d, struct buf *out, const char *path)
{
    buf_printf(out, "GET %s HTTP/1.1\r\nHost: ", path);
    doctor_put_host(d, out);
    buf_printf(out, "\r\nUser-Agent: " CTL_PROGRAM "/" HELIOD_VERSION
                    "\r\nConnection: close\r\n\r\n");
}

/* RFC 9110 §5.6.7, the form that servers send today. */
static bool read_date(struct str text, int64_t *out)
{
    char date[64];
    struct tm tm = {0};

    snprintf(date, sizeof(date), STR_FMT, STR_ARG(text));
    if (!text.p || !strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return false;
    *out = timegm(&tm);
    return true;
}

static bool is_health_of_ours(const struct doctor_head *h)
{
    struct err e;
    struct json_object *o = h->status == 200 ? json_read(h->body, &e) : NULL;
    bool ours = str_is(json_get_str(o, "status"), "ok") && json_get_str(o, "version").p;

    json_object_put(o);
    return ours;
}

/* What servers and proxies answer when they wanted TLS on this port. */
static bool wants_tls(const struct doctor_head *h)
{
    static const char *const signs[] = {"HTTPS port", "HTTPS server", "https-only",
                                        "http-not-spoken"};
    for (size_t i = 0; h->status == 400 && i < ARRAY_LEN(signs); i++) {
        if (memmem(h->body.p, h->body.n, signs[i], strlen(signs[i])))
            return true;
    }
    return false;
}

static void learn(struct doctor *d, const struct doctor_head *h)
{
    int64_t date;

    d->is_ours = d->is_ours || is_health_of_ours(h);
    if (read_date(doctor_head_field(h, "Date"), &date)) {
        d->has_date = true;
        d->ahead_s = date - clock_wall_ms() / 1000;
    }
}

static void note_alert(struct doctor *d, struct doctor_wire *w)
{
    const char *why;

    if (w->tls && doctor_tls_fault(w->tls, &why) == TLS_FAULT_ALERT)
        snprintf(d->alert, sizeof(d->alert), "%s", why);
}

/* One request on a connection of its own. first: how the answer began, if it is neither.
 */
static enum speech ask(struct doctor *d, struct str request, struct buf *first)
{
    struct doctor_wire w;
    struct doctor_head h;
    struct finding unused = {0};
    enum speech speech = SPEECH_NONE;

    if (doctor_connect(d, &w, &unused)) {
        int64_t until = clock_now_ms() + d->step_ms;
        doctor_wire_send(&w, request);
        enum got got = doctor_wire_head(&w, until, &h);
        if (got == GOT_IT) {
            learn(d, &h);
            speech = wants_tls(&h) ? SPEECH_TLS : SPEECH_HTTP;
        } else if (is_tls(&w.in)) {
            speech = SPEECH_TLS;
        }
        buf_clear(first);
        buf_put(first, w.in.p, MIN(w.in.n, (size_t)32));
        note_alert(d, &w);
    }
    doctor_wire_close(&w);
    finding_fini(&unused);
    return speech;
}

/* Some WebSocket servers answer nothing but a handshake. */
enum speech doctor_ask(struct doctor *d, struct buf *first)
{
    struct buf request = {0};

    put_get(d, &request, "/health");
    enum speech speech = ask(d, buf_view(&request), first);
    if (speech == SPEECH_NONE && first->n == 0) {
        buf_clear(&request);
        doctor_put_handshake(d, &request, buf_view(&d->url.target), NULL);
        speech = ask(d, buf_view(&request), first);
    }
    buf_free(&request);
    return speech;
}

/* Whatever a TLS server thinks of our hello: it answers in TLS. */
static enum speech say_hello(struct doctor *d, struct finding *f)
{
    struct doctor_wire w;
    const char *why;
    enum speech speech = SPEECH_NONE;

    if (doctor_connect(d, &w, f)) {
        enum got got = doctor_wire_secure(&w, d->trust, buf_cstr(&d->url.host),
                                          clock_now_ms() + d->step_ms);
        enum tls_fault fault = doctor_tls_fault(w.tls, &why);
        if (got == GOT_IT || fault == TLS_FAULT_VERSION || fault == TLS_FAULT_ALERT)
            speech = SPEECH_TLS;
    }
    doctor_wire_close(&w);
    return speech;
}

/* ---- the checks ---- */

void doctor_explain_other(struct doctor *d, const struct buf *first, struct finding *f)
{
    if (first->n > 0)
        finding_bad(f, DOCTOR_PORT,
                    "port %u is in use by something that speaks neither HTTP nor TLS%s: "
                    "it answers \"%s\"",
                    (unsigned)d->url.port, doctor_holder(d), log_esc(buf_view(first)));
    else
        finding_bad(f, DOCTOR_PORT,
                    "port %u is in use by something that accepts and answers nothing%s",
                    (unsigned)d->url.port, doctor_holder(d));
    finding_fix(f,
                "end that program or correct the port; if it is heliod, it hangs: look "
                "into its log");
}

static void explain_tls(struct doctor *d, struct finding *f)
{
    struct buf url = {0};

    doctor_put_swapped(d, &url);
    finding_bad(f, DOCTOR_TLS, "TLS is spoken at port %u, the URL says ws://",
                (unsigned)d->url.port);
    finding_fix(f, "use %s", buf_cstr(&url));
    buf_free(&url);
}

/* It spoke TLS just before. In TLS 1.3 a server looks at the client's certificate only
 * when the client takes the handshake for done (RFC 8446 §4.4.2.4). */
static void explain_mute(struct doctor *d, struct finding *f)
{
    if (d->is_client_asked) {
        finding_bad(f, DOCTOR_TLS,
                    "the server asks for a certificate of the client, and ends the "
                    "connection of one that has none%s%s",
                    d->alert[0] ? ": " : "", d->alert);
        finding_fix(f,
                    "make it optional at the server, or see that every client has one; "
                    "this program has none");
        return;
    }
    finding_bad(f, DOCTOR_PORT, "TLS is spoken, but behind it nothing answers HTTP%s",
                doctor_holder(d));
    finding_fix(f, "correct the port, or start what the TLS proxy passes requests to");
}

static void explain_http(struct doctor *d, struct finding *f)
{
    const char *what = d->is_ours ? "a heliod" : "speaks HTTP; not known as heliod";

    if (d->has_date && llabs(d->ahead_s) >= DOCTOR_CLOCK_OFF_S)
        finding_good(f, "%s; its clock is %" PRId64 " s %s this machine's", what,
                     (int64_t)llabs(d->ahead_s), d->ahead_s > 0 ? "ahead of" : "behind");
    else
        finding_good(f, "%s", what);
}

void doctor_prove_server(struct doctor *d, struct finding *f)
{
    struct buf first = {0};
    enum speech speech = doctor_ask(d, &first);

    if (speech == SPEECH_NONE && !d->is_secure)
        speech = say_hello(d, f);
    if (speech == SPEECH_HTTP)
        explain_http(d, f);
    else if (speech == SPEECH_TLS && !d->is_secure)
        explain_tls(d, f);
    else if (first.n > 0 || !d->is_secure)
        doctor_explain_other(d, &first, f);
    else
        explain_mute(d, f);
    buf_free(&first);
}

static void judge_ready(const struct doctor_head *h, struct finding *f)
{
    struct err e;
    struct json_object *o = h->body.n ? json_read(h->body, &e) : NULL;
    struct str reason = json_get_str(o, "reason");
    bool is_bus = str_starts(reason, STR("bus"));

    if (h->status == 200) {
        finding_good(f, "/ready: it can really serve");
    } else if (h->status == 503 && reason.p) {
        finding_bad(f, is_bus ? DOCTOR_BUS : DOCTOR_NOT_RUNNING, "/ready: 503, " STR_FMT,
                    STR_ARG(reason));
        finding_fix(f, is_bus ? "look at Redis and `redis.url` in heliod.yaml, then at "
                                "helioctl status"
                              : "wait for the broker to start or restart");
    } else {
        finding_none(f, "/ready answers %u", h->status);
    }
    json_object_put(o);
}

void doctor_prove_bus(struct doctor *d, struct finding *f)
{
    struct doctor_wire w;
    struct doctor_head h;
    struct buf request = {0};

    if (!d->is_ours) {
        finding_none(f, "not asked: not known as heliod");
        return;
    }
    put_get(d, &request, "/ready");
    if (doctor_connect(d, &w, f)) {
        doctor_wire_send(&w, buf_view(&request));
        if (doctor_wire_head(&w, clock_now_ms() + d->step_ms, &h) == GOT_IT)
            judge_ready(&h, f);
        else
            finding_none(f, "/ready did not answer");
    }
    doctor_wire_close(&w);
    buf_free(&request);
}
