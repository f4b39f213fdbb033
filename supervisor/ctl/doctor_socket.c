#include "supervisor/ctl/doctor.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/uuid.h"

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

unsigned doctor_status_of(struct doctor *d, struct str target, const char *origin)
{
    struct doctor_wire w;
    struct doctor_head h = {0};
    struct finding unused = {0};
    enum got got = shake_at(d, &w, target, origin, &h, &unused);

    doctor_wire_close(&w);
    finding_fini(&unused);
    return got == GOT_IT ? h.status : 0;
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
        doctor_explain_close(d, code, buf_cstr(&reason), f);
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
        doctor_explain_status(d, &h, f);
    } else if (f->proof != PROOF_BAD) {
        finding_bad(f, DOCTOR_PORT,
                    "the handshake is not answered: no WebSocket server%s",
                    doctor_holder(d));
        finding_fix(f, "end that program or correct the port in the URL");
    }
}
