#include "supervisor/ctl/doctor.h"

#include "common/clock.h"
#include "common/mem.h"

#include <time.h>

#define DAY_S 86400

/* ---- no TLS ---- */

static void explain_clear(struct doctor *d, struct finding *f)
{
    struct buf url = {0};

    doctor_put_swapped(d, &url);
    finding_bad(f, DOCTOR_TLS, "no TLS is spoken at port %u, the URL says wss://",
                (unsigned)d->url.port);
    finding_fix(f, "use %s, or the port of the proxy that speaks TLS", buf_cstr(&url));
    buf_free(&url);
}

static void explain_refused(enum tls_fault fault, const char *why, struct finding *f)
{
    if (fault == TLS_FAULT_VERSION) {
        finding_bad(
            f, DOCTOR_TLS,
            "the server speaks no TLS version that browsers take (1.2 or newer): %s",
            why);
        finding_fix(f, "allow TLS 1.2 and 1.3 at the server or proxy that speaks TLS");
    } else {
        finding_bad(f, DOCTOR_TLS, "the TLS handshake failed: %s%s",
                    fault == TLS_FAULT_ALERT ? "the server says " : "", why);
        finding_fix(f,
                    "look into the log of the server or proxy that speaks TLS: ciphers, "
                    "its certificate, and the names it serves");
    }
}

/* Whether it is HTTP in clear says the server itself, not OpenSSL. */
static void explain_failure(struct doctor *d, struct doctor_wire *w, struct finding *f)
{
    const char *said;
    enum tls_fault fault = doctor_tls_fault(w->tls, &said);
    char *why = mem_strdup(said);
    struct buf first = {0};

    doctor_wire_close(w);
    if (fault == TLS_FAULT_VERSION || fault == TLS_FAULT_ALERT)
        explain_refused(fault, why, f);
    else if (doctor_ask(d, &first) == SPEECH_HTTP)
        explain_clear(d, f);
    else if (fault == TLS_FAULT_OTHER)
        explain_refused(fault, why, f);
    else
        doctor_explain_other(d, &first, f);
    buf_free(&first);
    free(why);
}

/* ---- the certificate ---- */

static const char *day_of(int64_t wall_s)
{
    static char text[64];
    struct tm tm;
    time_t at = (time_t)wall_s;

    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &tm));
    return text;
}

/* "21 days", "3600 s" */
static const char *span_of(int64_t s)
{
    static char text[32];

    if (s >= 2 * DAY_S)
        snprintf(text, sizeof(text), "%" PRId64 " days", s / DAY_S);
    else
        snprintf(text, sizeof(text), "%" PRId64 " s", s);
    return text;
}

static void say(struct buf *b, const char *words)
{
    buf_printf(b, "%s%s", b->n ? "; " : "", words);
}

static void judge_name(struct doctor *d, struct doctor_cert *c, struct buf *said,
                       struct buf *fix)
{
    const char *host = buf_cstr(&d->url.host);

    say(said, "");
    if (c->names.n)
        buf_printf(said, "the certificate is for %s, not for %s", buf_cstr(&c->names),
                   host);
    else
        buf_printf(said,
                   "the certificate lists no host (its common name does not count), "
                   "so it is not for %s",
                   host);
    say(fix, "");
    buf_printf(fix, "%sget a certificate for %s",
               c->names.n ? "use a name of the certificate in the URL, or " : "", host);
}

/* This machine's clock may be the wrong one: the server's is asked. */
static bool is_good_there(struct doctor *d, const struct doctor_cert *c)
{
    struct buf first = {0};

    doctor_ask(d, &first);
    buf_free(&first);
    int64_t there = clock_wall_ms() / 1000 + d->ahead_s;
    return d->has_date && there >= c->from_s && there < c->until_s;
}

static void judge_dates(struct doctor *d, const struct doctor_cert *c, struct buf *said,
                        struct buf *fix)
{
    int64_t now = clock_wall_ms() / 1000;
    const char *whose =
        c->is_ca_date ? "a CA certificate of the chain" : "the certificate";

    say(said, whose);
    if (c->faults & CERT_EXPIRED)
        buf_printf(said, " expired on %s, %s ago", day_of(c->until_s),
                   span_of(now - c->until_s));
    else
        buf_printf(said, " is not valid before %s, in %s", day_of(c->from_s),
                   span_of(c->from_s - now));
    if (is_good_there(d, c)) {
        buf_printf(said, ", but it is valid by the server's clock, which is %s %s ours",
                   span_of(llabs(d->ahead_s)), d->ahead_s > 0 ? "ahead of" : "behind");
        say(fix, "set the clock of this machine");
    } else {
        say(fix, c->faults & CERT_EXPIRED
                     ? "renew the certificate and let the server load it"
                     : "set the clock of the CA that issued it, or wait");
    }
}

static void judge_chain(struct doctor_cert *c, struct buf *said, struct buf *fix)
{
    if (c->faults & CERT_SELF_SIGNED) {
        say(said, "the certificate is self-signed: no browser trusts it");
        say(fix, "get one from a CA that browsers trust; for a trial, add it to the "
                 "browser's own list, and give it here with --ca FILE");
    } else if (c->faults & CERT_INCOMPLETE) {
        say(said, "");
        buf_printf(said,
                   "the chain ends at the server's own certificate: its issuer (%s) is "
                   "neither sent nor trusted here",
                   buf_cstr(&c->issuer));
        say(fix,
            "let the server send the intermediate certificates, too (fullchain.pem); "
            "if the issuer is a CA of your own, trust it: --ca FILE");
    } else if (c->faults & CERT_UNKNOWN_CA) {
        say(said, "");
        buf_printf(said, "the CA of the certificate (%s) is not trusted here",
                   buf_cstr(&c->issuer));
        say(fix, "if it is a CA of your own, trust it: --ca FILE here, its own list in a "
                 "browser; if it is a public one, install ca-certificates");
    }
    if (c->faults & CERT_OTHER) {
        say(said, "");
        buf_printf(said, "the certificate is refused: %s", buf_cstr(&c->other));
        say(fix, "get a certificate without this fault");
    }
}

static void judge_cert(struct doctor *d, struct doctor_cert *c, struct finding *f)
{
    struct buf said = {0}, fix = {0};

    if (c->faults & CERT_NAME)
        judge_name(d, c, &said, &fix);
    if (c->faults & (CERT_EXPIRED | CERT_EARLY))
        judge_dates(d, c, &said, &fix);
    judge_chain(c, &said, &fix);
    finding_bad(f, DOCTOR_TLS, "%s", buf_cstr(&said));
    finding_fix(f, "%s", buf_cstr(&fix));
    f->goes_on = true;
    d->is_doubtful = true;
    buf_free(&said);
    buf_free(&fix);
}

static void judge(struct doctor *d, struct doctor_cert *c, struct finding *f)
{
    d->is_secure = true;
    d->is_client_asked = c->is_client_asked;
    if (c->faults)
        judge_cert(d, c, f);
    else
        finding_good(f, "%s, a certificate for %s, issued by %s, valid until %s",
                     c->version, buf_cstr(&c->names), buf_cstr(&c->issuer),
                     day_of(c->until_s));
}

void doctor_prove_tls(struct doctor *d, struct finding *f)
{
    struct doctor_wire w;

    if (!d->url.tls) {
        finding_none(f, "not wanted: the URL says ws://");
        return;
    }
    if (doctor_connect(d, &w, f)) {
        if (doctor_wire_secure(&w, d->trust, buf_cstr(&d->url.host),
                               clock_now_ms() + d->step_ms) == GOT_IT)
            judge(d, doctor_tls_cert(w.tls), f);
        else
            explain_failure(d, &w, f);
    }
    doctor_wire_close(&w);
}
