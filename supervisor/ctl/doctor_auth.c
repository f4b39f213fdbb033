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

/* ---- what can be seen of it ---- */

/* Where a token travels in the URL (PROTOCOL part B, C), else STR_NONE. */
static struct str token_in(struct str target)
{
    struct str query, value;

    str_split(target, '?', &query);
    while (query.n > 0) {
        if (str_is(str_split(str_split(query, '&', &query), '=', &value), "token"))
            return value;
    }
    return STR_NONE;
}

static struct str token_of(const struct doctor *d)
{
    return d->ctl->opt.token ? str_of(d->ctl->opt.token)
                             : token_in(buf_view(&d->url.target));
}

static bool is_bad(enum token_state state)
{
    return state == TOKEN_EXPIRED || state == TOKEN_EARLY || state == TOKEN_UNSIGNED;
}

/* The token as the clock of the server sees it and as ours does: where they disagree, one
 * clock is wrong. The issuer's clock is the third: it stands in the token. */
struct view {
    struct doctor_token token;
    enum token_state here, there;
    struct buf said;
    const char *fix; /* NULL: no clock is to blame */
};

static void say_clocks(const struct doctor *d, struct buf *said)
{
    buf_printf(said, " by the server's clock, which is %" PRId64 " s %s this machine's",
               (int64_t)llabs(d->ahead_s), d->ahead_s > 0 ? "ahead of" : "behind");
}

static void blame_a_clock(const struct doctor *d, struct view *v)
{
    bool are_apart = d->has_date && llabs(d->ahead_s) >= DOCTOR_CLOCK_OFF_S;

    if (are_apart && is_bad(v->there) && v->here == TOKEN_GOOD) {
        say_clocks(d, &v->said);
        buf_printf(&v->said,
                   "; by this machine's it is good: the server's clock is wrong");
        v->fix = "set the clock of the server (if this machine made the token, compare "
                 "both with a third)";
    } else if (are_apart && v->there == TOKEN_GOOD && is_bad(v->here)) {
        say_clocks(d, &v->said);
        buf_printf(&v->said,
                   "; by this machine's it is not: this machine's clock is wrong");
        v->fix = "set the clock of this machine";
    } else if (v->there == TOKEN_EARLY) {
        buf_printf(
            &v->said, "%s",
            d->has_date && !are_apart
                ? ", by the clocks of the server and of this machine: the issuer's "
                  "clock is ahead"
                : ": the issuer's clock is ahead");
        v->fix = "set the clock of the machine that issues the tokens";
    } else if (are_apart && v->there == TOKEN_EXPIRED) {
        say_clocks(d, &v->said);
    }
}

static struct view look_at_token(struct doctor *d)
{
    int64_t now = clock_wall_ms() / 1000;
    struct view v = {.token = doctor_token_read(token_of(d))};

    v.here = doctor_token_judge(&v.token, now);
    v.there = doctor_token_judge(&v.token, now + d->ahead_s);
    doctor_token_say(&v.token, now + d->ahead_s, &v.said);
    blame_a_clock(d, &v);
    return v;
}

static bool has_word(struct str list, const char *word)
{
    while (list.n > 0) {
        if (str_is(str_trim(str_split(list, ',', &list)), word))
            return true;
    }
    return false;
}

/* Of one that was refused for no other reason to be seen. */
static void blame_the_algorithm(struct doctor *d, struct view *v)
{
    struct buf where = {0}, list = {0};

    if (v->there == TOKEN_GOOD && !v->fix &&
        doctor_config_get(d, "].auth.algorithms", &where, &list) &&
        !has_word(buf_view(&list), v->token.alg)) {
        buf_printf(&v->said, "; its algorithm is not in %s: %s", buf_cstr(&where),
                   buf_cstr(&list));
        v->fix = "sign the token with an algorithm of the list, or add this one there";
    }
    buf_free(&where);
    buf_free(&list);
}

static const char *fix_of(const struct view *v)
{
    if (v->fix)
        return v->fix;
    switch (v->there) {
    case TOKEN_EXPIRED:
        return "get a new token; if it is new, set the clock of the machine that issues "
               "them";
    case TOKEN_UNSIGNED:
        return "sign the token: `none` is never accepted";
    default:
        return "use a token that `auth` of this endpoint in heliod.yaml accepts: its "
               "key, "
               "algorithm, issuer and audience";
    }
}

static void bad_token(struct doctor *d, struct view *v, const char *how,
                      struct finding *f)
{
    blame_the_algorithm(d, v);
    finding_bad(f, DOCTOR_AUTH, "%s%s%s", buf_cstr(&v->said), *how ? "; " : "", how);
    finding_fix(f, "%s", fix_of(v));
}

void doctor_blame_token(struct doctor *d, const char *how, struct finding *f)
{
    if (token_of(d).n == 0) {
        finding_bad(f, DOCTOR_AUTH, "credentials are wanted, and none were given: %s",
                    how);
        finding_fix(f, "give the token with --token, or in the URL as ?token=");
        return;
    }
    struct view v = look_at_token(d);
    bad_token(d, &v, how, f);
    buf_free(&v.said);
}

/* ---- what the server thinks of it ---- */

static void judge_answer(struct doctor *d, struct str payload, struct view *v,
                         struct finding *f)
{
    struct err e;
    struct json_object *o = json_read(payload, &e);
    struct str event = json_get_str(o, "event");
    struct str message = json_get_str(json_get(o, "data"), "message");
    char how[256];

    if (str_is(event, "connected")) {
        finding_good(f, "accepted (%s)", buf_cstr(&v->said));
    } else if (str_is(event, "error")) {
        snprintf(how, sizeof(how), "refused: %s", log_esc(message));
        bad_token(d, v, how, f);
    } else {
        finding_none(f, "%s; no answer of the events protocol", buf_cstr(&v->said));
    }
    json_object_put(o);
}

/* Only the events protocol answers: silence proves nothing. */
static void hear_answer(struct doctor *d, struct view *v, struct finding *f)
{
    struct doctor_frame frame;
    unsigned pings = 0;
    enum got got =
        doctor_frame_next(&d->wire, clock_now_ms() + d->step_ms, &pings, &frame);

    if (got == GOT_IT && frame.opcode == FRAME_CLOSE)
        bad_token(d, v, "refused: the connection was closed", f);
    else if (got == GOT_END)
        bad_token(d, v, "refused: the connection was dropped", f);
    else if (got == GOT_IT)
        judge_answer(d, frame.payload, v, f);
    else
        finding_none(f, "%s; the server says nothing about it", buf_cstr(&v->said));
    if (got == GOT_IT)
        doctor_frame_drop(&d->wire, &frame);
}

/* Signaling and notifications judge a token before they greet. */
static bool is_greeted(const struct doctor *d)
{
    struct str greeting = str_of(d->greeting);

    return str_is(greeting, "joined") || str_is(greeting, "connection_established");
}

void doctor_prove_token(struct doctor *d, struct finding *f)
{
    if (token_of(d).n == 0) {
        finding_none(f, "not tried: no --token");
        return;
    }
    struct view v = look_at_token(d);
    if (is_greeted(d))
        finding_good(f, "let in with it (%s)", buf_cstr(&v.said));
    else if (d->is_open && d->ctl->opt.token) {
        doctor_put_authenticate(d, &d->wire);
        hear_answer(d, &v, f);
    } else {
        finding_none(f, "%s", buf_cstr(&v.said));
    }
    /* One in the URL was seen by the server, which let us in. */
    if (f->proof == PROOF_NONE && d->ctl->opt.token && is_bad(v.there))
        bad_token(d, &v, "", f);
    buf_free(&v.said);
}
