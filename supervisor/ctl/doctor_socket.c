#include "supervisor/ctl/doctor.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/uuid.h"

#define CLOSE_AUTH_TIMEOUT 4001
#define CLOSE_AUTH_LAST 4004
#define CLOSE_OF_STATUS 4000 /* a refusal that was accepted first */

/* ---- asking ---- */

void doctor_put_host(const struct doctor *d, struct buf *out)
{
    struct str host = buf_view(&d->url.host);
    bool is_ip6 = host.n && memchr(host.p, ':', host.n);

    buf_printf(out, is_ip6 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(host));
    if (d->url.has_port)
        buf_printf(out, ":%u", (unsigned)d->url.port);
}

void doctor_put_swapped(const struct doctor *d, struct buf *out)
{
    struct str query, path = str_split(buf_view(&d->url.target), '?', &query);

    buf_str(out, d->url.tls ? STR("ws://") : STR("wss://"));
    doctor_put_host(d, out);
    if (!d->url.has_port) /* the scheme's own, and that of the other is another */
        buf_printf(out, ":%u", (unsigned)d->url.port);
    buf_str(out, path);
    buf_str(out, query.p ? STR("?…") : STR_NONE);
}

void doctor_put_handshake(struct doctor *d, struct buf *out, struct str target,
                          const char *origin)
{
    uint8_t key[16];

    random_bytes(key, sizeof(key));
    buf_printf(out, "GET " STR_FMT " HTTP/1.1\r\nHost: ", STR_ARG(target));
    doctor_put_host(d, out);
    buf_printf(out, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    buf_base64(out, (struct str){(const char *)key, sizeof(key)});
    if (origin)
        buf_printf(out, "\r\nOrigin: %s", origin);
    if (d->ctl->opt.token)
        buf_printf(out, "\r\nAuthorization: Bearer %s", d->ctl->opt.token);
    buf_printf(out, "\r\n\r\n");
}

static enum got shake_at(struct doctor *d, struct doctor_wire *w, struct str target,
                         const char *origin, struct doctor_head *h, struct finding *f)
{
    struct buf request = {0};
    enum got got = GOT_END;

    if (doctor_connect(d, w, f)) {
        doctor_put_handshake(d, &request, target, origin);
        doctor_wire_send(w, buf_view(&request));
        got = doctor_wire_head(w, clock_now_ms() + d->step_ms, h);
    }
    if (request.p)
        explicit_bzero(request.p, request.n);
    buf_free(&request);
    return got;
}

enum got doctor_shake(struct doctor *d, struct doctor_wire *w, const char *origin,
                      struct doctor_head *h, struct finding *f)
{
    return shake_at(d, w, buf_view(&d->url.target), origin, h, f);
}

/* The status of another handshake; 0: none. */
static unsigned status_of(struct doctor *d, struct str target, const char *origin)
{
    struct doctor_wire w;
    struct doctor_head h = {0};
    struct finding unused = {0};
    enum got got = shake_at(d, &w, target, origin, &h, &unused);

    doctor_wire_close(&w);
    finding_fini(&unused);
    return got == GOT_IT ? h.status : 0;
}

/* ---- refused ---- */

/* The words of a refusal of heliod, or none. */
static void read_refusal(struct str body, struct buf *said)
{
    struct err e;
    struct json_object *o = body.n ? json_read(body, &e) : NULL;
    struct str message = json_get_str(o, "message"), hint = json_get_str(o, "hint");

    buf_str(said, message);
    if (hint.n > 0)
        buf_printf(said, " " STR_FMT, STR_ARG(hint));
    json_object_put(o);
}

static void refused_origin(struct doctor *d, const char *said, struct finding *f)
{
    const char *origin = d->ctl->opt.origin;

    finding_bad(f, DOCTOR_ORIGIN, "the origin %s is refused: %s",
                origin ? origin : "(none sent: give --origin)", said);
    finding_fix(f, "add it to `allowed_origins` of this endpoint in heliod.yaml (another "
                   "server: to its list of origins), then helioctl reload");
}

static void refused_path(struct doctor *d, unsigned status, const char *said,
                         struct finding *f)
{
    finding_bad(f, DOCTOR_PATH, "the path is refused with %u: %s", status, said);
    if (status == 404)
        finding_fix(f, "correct the path of the URL%s",
                    d->is_ours ? ", or add an endpoint for it to heliod.yaml" : "");
    else
        finding_fix(f, "let proxies on the way pass Upgrade and Connection, and use GET");
}

static void refused_token(struct doctor *d, unsigned status, const char *said,
                          struct finding *f)
{
    finding_bad(f, DOCTOR_AUTH, "credentials are refused with %u: %s", status, said);
    finding_fix(f, d->ctl->opt.token ? "use a token that this endpoint accepts"
                                     : "give the token with --token");
}

/* Without a word of heliod: does the origin make the difference? */
static bool is_origin_to_blame(struct doctor *d)
{
    return d->ctl->opt.origin && status_of(d, buf_view(&d->url.target), NULL) == 101;
}

/* A web server that never upgrades is not the one that was meant. */
static bool is_web_server(struct doctor *d)
{
    return !d->is_ours && status_of(d, STR("/"), d->ctl->opt.origin) != 101 &&
           status_of(d, STR("/ws"), d->ctl->opt.origin) != 101;
}

static void no_socket(struct doctor *d, unsigned status, struct finding *f)
{
    finding_bad(
        f, DOCTOR_PORT,
        "something answers HTTP (%u) at port %u, but it is no heliod and opens no "
        "WebSocket%s",
        status, (unsigned)d->url.port, doctor_holder(d));
    finding_fix(
        f, "end that program, or correct port or path of the URL; behind a proxy, pass "
           "Upgrade and Connection");
}

bool doctor_is_gateway_error(unsigned status)
{
    return status == 502 || status == 503 || status == 504;
}

static void explain_status(struct doctor *d, unsigned status, const char *said,
                           struct finding *f)
{
    bool is_404 = status == 404;

    if (status == 403 && (d->is_ours || is_origin_to_blame(d)))
        refused_origin(d, said, f);
    else if (status == 401 || status == 403 || status == 407)
        refused_token(d, status, said, f);
    else if (!d->is_ours && (status == 502 || status == 504)) {
        finding_bad(f, DOCTOR_NOT_RUNNING,
                    "a proxy answers %u: its back end is not there", status);
        finding_fix(f, "start the server behind the proxy");
    } else if ((is_404 || status < 300 || status == 501) && is_web_server(d))
        no_socket(d, status, f);
    else if (is_404 || status == 400 || status == 405 || status == 426)
        refused_path(d, status, said, f);
    else {
        finding_bad(f, DOCTOR_UNDECIDED, "the handshake is answered with %u: %s", status,
                    said);
        finding_fix(f, "see heliod-errors(7), or the documentation of that server");
    }
}

static void explain_close(struct doctor *d, unsigned code, const char *said,
                          struct finding *f)
{
    if (code == CLOSE_OF_STATUS + 403)
        refused_origin(d, said, f);
    else if (code >= CLOSE_AUTH_TIMEOUT && code <= CLOSE_AUTH_LAST)
        refused_token(d, code, said, f);
    else if (code == CLOSE_OF_STATUS + 400 || code == CLOSE_OF_STATUS + 404)
        refused_path(d, code - CLOSE_OF_STATUS, said, f);
    else {
        finding_bad(f, DOCTOR_UNDECIDED, "opened and closed at once with %u: %s", code,
                    said);
        finding_fix(f, "see heliod-errors(7)");
    }
}

/* ---- opened ---- */

static void note_greeting(struct doctor *d, const struct buf *text)
{
    struct err e;
    struct json_object *o = text->n ? json_read(buf_view(text), &e) : NULL;
    struct str type = json_get_str(o, "type");

    snprintf(d->greeting, sizeof(d->greeting), STR_FMT, STR_ARG(type));
    json_object_put(o);
}

static void prove_open(struct doctor *d, struct finding *f)
{
    struct doctor_frame frame;
    struct buf reason = {0}, first = {0};
    enum got got = doctor_frame_ping(&d->wire, d->step_ms, &frame, &first);

    note_greeting(d, &first);

    if (got == GOT_IT && frame.opcode == FRAME_CLOSE) {
        unsigned code = doctor_frame_close(&frame, &reason);
        explain_close(d, code, buf_cstr(&reason), f);
    } else if (got == GOT_IT) {
        d->is_open = true;
        doctor_frame_drop(&d->wire, &frame);
        finding_good(f, "a WebSocket opened%s%s, and a ping was answered",
                     d->ctl->opt.origin ? " for the origin " : "",
                     d->ctl->opt.origin ? d->ctl->opt.origin : "");
    } else {
        finding_bad(f, got == GOT_NONSENSE ? DOCTOR_PORT : DOCTOR_LIVENESS,
                    "a WebSocket opened, but %s",
                    got == GOT_NONSENSE ? "what follows is no frame"
                    : got == GOT_END    ? "was dropped at once without a close"
                                        : "a ping was not answered");
        finding_fix(f, "look into the log of the server, and of proxies on the way");
    }
    buf_free(&reason);
    buf_free(&first);
}

static bool has_secret(const struct doctor *d)
{
    const struct buf *target = &d->url.target;

    return d->ctl->opt.token || memchr(target->p, '?', target->n);
}

void doctor_prove_handshake(struct doctor *d, struct finding *f)
{
    struct doctor_head h = {0};
    struct buf said = {0};

    if (d->is_doubtful && has_secret(d)) {
        finding_none(f, "not tried: the token or query would go to somebody whose "
                        "certificate is not good");
        return;
    }
    enum got got = doctor_shake(d, &d->wire, d->ctl->opt.origin, &h, f);
    if (got == GOT_IT && h.status == 101) {
        d->opened_ms = clock_now_ms();
        doctor_wire_drop_head(&d->wire, &h);
        prove_open(d, f);
    } else if (got == GOT_IT) {
        read_refusal(h.body, &said);
        explain_status(d, h.status, said.n ? buf_cstr(&said) : "no reason is given", f);
    } else if (f->proof != PROOF_BAD) {
        finding_bad(f, DOCTOR_PORT,
                    "the handshake is not answered: no WebSocket server%s",
                    doctor_holder(d));
        finding_fix(f, "end that program or correct the port in the URL");
    }
    buf_free(&said);
}
