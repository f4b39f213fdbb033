#include "supervisor/ctl/doctor.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/uuid.h"
#include "supervisor/ctl/doctor_token.h"

#define OP_TEXT 1 /* RFC 6455 §5.2 */
#define OP_CLOSE 8
#define OP_PING 9
#define OP_PONG 10
#define CLOSE_NONE 1005
#define CLOSE_AUTH_TIMEOUT 4001
#define CLOSE_HEARTBEAT 4002
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

static enum got shake(struct doctor *d, struct doctor_wire *w, struct str target,
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

/* The status of another handshake; 0: none. */
static unsigned status_of(struct doctor *d, struct str target, const char *origin)
{
    struct doctor_wire w;
    struct doctor_head h = {0};
    struct finding unused = {0};
    enum got got = shake(d, &w, target, origin, &h, &unused);

    doctor_wire_close(&w);
    buf_free(&unused.said);
    buf_free(&unused.fix);
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

static unsigned read_close(const struct doctor_frame *f, struct buf *reason)
{
    if (f->payload.n < 2)
        return CLOSE_NONE;
    buf_put(reason, f->payload.p + 2, f->payload.n - 2);
    return (unsigned)(uint8_t)f->payload.p[0] << 8 | (uint8_t)f->payload.p[1];
}

/* The next frame that is no ping: those are answered, and counted. */
static enum got next_frame(struct doctor *d, int64_t until, unsigned *pings,
                           struct doctor_frame *f)
{
    enum got got;

    while ((got = doctor_wire_frame(&d->wire, until, f)) == GOT_IT &&
           f->opcode == OP_PING) {
        struct str payload = {f->payload.p, MIN(f->payload.n, (size_t)125)};
        doctor_wire_put_frame(&d->wire, OP_PONG, payload);
        doctor_wire_drop_frame(&d->wire, f);
        ++*pings;
    }
    return got;
}

/* Up to a pong or a close; what else comes is the application's. */
static enum got ping(struct doctor *d, struct doctor_frame *frame)
{
    int64_t until = clock_now_ms() + d->step_ms;
    unsigned pings = 0;
    enum got got;

    doctor_wire_put_frame(&d->wire, OP_PING, STR("doctor"));
    while ((got = next_frame(d, until, &pings, frame)) == GOT_IT &&
           frame->opcode != OP_PONG && frame->opcode != OP_CLOSE)
        doctor_wire_drop_frame(&d->wire, frame);
    return got;
}

static void prove_open(struct doctor *d, struct finding *f)
{
    struct doctor_frame frame;
    struct buf reason = {0};
    enum got got = ping(d, &frame);

    if (got == GOT_IT && frame.opcode == OP_CLOSE) {
        unsigned code = read_close(&frame, &reason);
        explain_close(d, code, buf_cstr(&reason), f);
    } else if (got == GOT_IT) {
        d->is_open = true;
        doctor_wire_drop_frame(&d->wire, &frame);
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
    enum got got =
        shake(d, &d->wire, buf_view(&d->url.target), d->ctl->opt.origin, &h, f);
    if (got == GOT_IT && h.status == 101) {
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

/* ---- the token ---- */

static void put_authenticate(struct doctor *d)
{
    struct buf text = {0};

    buf_printf(&text, "{\"event\":\"authenticate\",\"data\":{\"type\":\"Bearer\","
                      "\"token\":");
    buf_json(&text, str_of(d->ctl->opt.token));
    buf_printf(&text, "}}");
    doctor_wire_put_frame(&d->wire, OP_TEXT, buf_view(&text));
    explicit_bzero(text.p, text.n);
    buf_free(&text);
}

/* By the server's clock if it told it. */
static enum token_state judge_token(struct doctor *d, struct buf *said)
{
    int64_t now = clock_wall_ms() / 1000;
    struct str token = str_of(d->ctl->opt.token);
    struct buf unused = {0};
    enum token_state here = doctor_token_judge(token, now, &unused);
    enum token_state there = doctor_token_judge(token, now + d->ahead_s, said);

    if (here != there)
        buf_printf(said, " by the server's clock, which is %" PRId64 " s %s ours",
                   (int64_t)llabs(d->ahead_s), d->ahead_s > 0 ? "ahead of" : "behind");
    buf_free(&unused);
    return there;
}

static void bad_token(enum token_state state, const char *said, const char *more,
                      struct finding *f)
{
    finding_bad(f, DOCTOR_AUTH, "%s%s", said, more);
    finding_fix(f,
                state == TOKEN_EXPIRED ? "get a new token; if it is new, set the clocks"
                : state == TOKEN_EARLY ? "set the clocks of issuer and server"
                : state == TOKEN_UNSIGNED
                    ? "sign the token: `none` is never accepted"
                    : "use a token that `auth` of this endpoint in heliod.yaml accepts: "
                      "its key, algorithm, issuer and audience");
}

static void judge_answer(struct str payload, enum token_state state, const char *said,
                         struct finding *f)
{
    struct err e;
    struct json_object *o = json_read(payload, &e);
    struct str event = json_get_str(o, "event");
    struct str message = json_get_str(json_get(o, "data"), "message");
    char more[256];

    if (str_is(event, "connected")) {
        finding_good(f, "accepted (%s)", said);
    } else if (str_is(event, "error")) {
        snprintf(more, sizeof(more), "; refused: %s", log_esc(message));
        bad_token(state, said, more, f);
    } else {
        finding_none(f, "%s; no answer of the events protocol", said);
    }
    json_object_put(o);
}

/* Only the events protocol answers: silence proves nothing. */
static void hear_answer(struct doctor *d, enum token_state state, const char *said,
                        struct finding *f)
{
    struct doctor_frame frame;
    unsigned pings = 0;
    enum got got = next_frame(d, clock_now_ms() + d->step_ms, &pings, &frame);

    if (got == GOT_IT && frame.opcode == OP_CLOSE)
        bad_token(state, said, "; refused: the connection was closed", f);
    else if (got == GOT_END)
        bad_token(state, said, "; refused: the connection was dropped", f);
    else if (got == GOT_IT)
        judge_answer(frame.payload, state, said, f);
    else
        finding_none(f, "%s; the server says nothing about it", said);
    if (got == GOT_IT)
        doctor_wire_drop_frame(&d->wire, &frame);
}

void doctor_prove_token(struct doctor *d, struct finding *f)
{
    struct buf said = {0};

    if (!d->ctl->opt.token) {
        finding_none(f, "not tried: no --token");
        return;
    }
    enum token_state state = judge_token(d, &said);
    if (d->is_open) {
        put_authenticate(d);
        hear_answer(d, state, buf_cstr(&said), f);
    } else {
        finding_none(f, "%s", buf_cstr(&said));
    }
    bool is_bad =
        state == TOKEN_EXPIRED || state == TOKEN_EARLY || state == TOKEN_UNSIGNED;
    if (f->proof == PROOF_NONE && is_bad)
        bad_token(state, buf_cstr(&said), "", f);
    buf_free(&said);
}

/* ---- holding it ---- */

static void put_pings(struct buf *b, unsigned pings)
{
    if (pings)
        buf_printf(b, "%u native ping%s came", pings, pings == 1 ? "" : "s");
    else
        buf_printf(b, "no native ping came");
}

static void ended_by_close(struct doctor *d, const struct doctor_frame *frame,
                           double at_s, struct finding *f)
{
    struct buf reason = {0};
    unsigned code = read_close(frame, &reason);
    const char *said = buf_cstr(&reason);

    if (code == CLOSE_AUTH_TIMEOUT && !d->ctl->opt.token)
        finding_none(f, "closed after %.1f s with 4001 (%s): holding wants --token here",
                     at_s, said);
    else if (code == CLOSE_HEARTBEAT)
        finding_good(f,
                     "held for %.1f s, then closed with 4002 (%s), as a client that "
                     "sends no heartbeats is",
                     at_s, said);
    else {
        finding_bad(f, DOCTOR_LIVENESS, "the server closed after %.1f s with %u (%s)",
                    at_s, code, said);
        finding_fix(f, "see heliod-errors(7) for the code");
    }
    buf_free(&reason);
}

static void vanished(double at_s, const char *pings, struct finding *f)
{
    finding_bad(f, DOCTOR_LIVENESS,
                "closed by something in between after ≈%.0f s idle, without a close "
                "frame; %s",
                at_s, pings);
    finding_fix(f,
                "lower client.ping_after below %.0f s in heliod.yaml, or raise the idle "
                "time-out of the proxy",
                at_s);
}

static void held(struct doctor *d, unsigned seconds, const char *pings, struct finding *f)
{
    struct doctor_frame frame;

    if (ping(d, &frame) == GOT_IT && frame.opcode == OP_PONG) {
        finding_good(f, "held for %u s and still answering; %s", seconds, pings);
        return;
    }
    finding_bad(f, DOCTOR_LIVENESS,
                "after %u s idle the peer does not answer any more, nobody said why; %s",
                seconds, pings);
    finding_fix(f,
                "lower client.ping_after below %u s in heliod.yaml, or raise the idle "
                "time-out of the proxy or firewall",
                seconds);
}

/* Silent until the end of the time, or of the peer. */
static void hold(struct doctor *d, struct finding *f)
{
    int64_t begin = clock_now_ms(), until = begin + (int64_t)d->ctl->opt.hold_s * 1000;
    struct doctor_frame frame;
    struct buf said = {0};
    unsigned pings = 0;
    enum got got;

    while ((got = next_frame(d, until, &pings, &frame)) == GOT_IT &&
           frame.opcode != OP_CLOSE)
        doctor_wire_drop_frame(&d->wire, &frame);
    double at_s = (double)(clock_now_ms() - begin) / 1000;
    put_pings(&said, pings);
    if (got == GOT_IT)
        ended_by_close(d, &frame, at_s, f);
    else if (got == GOT_TIMEOUT)
        held(d, (unsigned)d->ctl->opt.hold_s, buf_cstr(&said), f);
    else
        vanished(at_s, buf_cstr(&said), f);
    buf_free(&said);
}

void doctor_prove_hold(struct doctor *d, struct finding *f)
{
    if (d->ctl->opt.hold_s == 0)
        finding_none(f, "not tried: no --hold");
    else if (!d->is_open)
        finding_none(f, "not tried: no WebSocket is open");
    else
        hold(d, f);
}
