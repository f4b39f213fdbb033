#include "supervisor/ctl/doctor.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "supervisor/ctl/doctor_token.h"

void doctor_put_authenticate(struct doctor *d, struct doctor_wire *w)
{
    struct buf text = {0};

    buf_printf(&text, "{\"event\":\"authenticate\",\"data\":{\"type\":\"Bearer\","
                      "\"token\":");
    buf_json(&text, str_of(d->ctl->opt.token));
    buf_printf(&text, "}}");
    doctor_frame_put(w, FRAME_TEXT, buf_view(&text));
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
    enum got got =
        doctor_frame_next(&d->wire, clock_now_ms() + d->step_ms, &pings, &frame);

    if (got == GOT_IT && frame.opcode == FRAME_CLOSE)
        bad_token(state, said, "; refused: the connection was closed", f);
    else if (got == GOT_END)
        bad_token(state, said, "; refused: the connection was dropped", f);
    else if (got == GOT_IT)
        judge_answer(frame.payload, state, said, f);
    else
        finding_none(f, "%s; the server says nothing about it", said);
    if (got == GOT_IT)
        doctor_frame_drop(&d->wire, &frame);
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
        doctor_put_authenticate(d, &d->wire);
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
