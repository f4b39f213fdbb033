#include "supervisor/ctl/doctor_token.h"

#include "common/json.h"
#include "common/log.h"

/* An object of a JWT (RFC 7519 §3); NULL: it is none. */
static struct json_object *part(struct str text)
{
    struct buf plain = {0};
    struct json_object *o = NULL;
    struct err e;

    if (buf_unbase64url(&plain, text) == 0)
        o = json_read(buf_view(&plain), &e);
    if (plain.p)
        explicit_bzero(plain.p, plain.n);
    buf_free(&plain);
    if (json_object_is_type(o, json_type_object))
        return o;
    json_object_put(o);
    return NULL;
}

static void read_claims(struct doctor_token *t, struct str alg,
                        struct json_object *claims)
{
    int64_t nbf = json_get_int(claims, "nbf", INT64_MIN);
    int64_t iat = json_get_int(claims, "iat", INT64_MIN);

    t->is_jwt = true;
    t->is_unsigned = str_eq_nocase(alg, STR("none"));
    t->from_s = MAX(nbf, iat);
    t->until_s = json_get_int(claims, "exp", INT64_MAX);
    snprintf(t->alg, sizeof(t->alg), "%s",
             alg.n > 0 && alg.n < sizeof(t->alg) ? log_esc(alg) : "unknown");
}

struct doctor_token doctor_token_read(struct str token)
{
    struct str rest, signature, head = str_split(token, '.', &rest);
    struct str body = str_split(rest, '.', &signature);
    struct json_object *header = signature.p ? part(head) : NULL;
    struct json_object *claims = header ? part(body) : NULL;
    struct doctor_token t = {0};

    if (claims)
        read_claims(&t, json_get_str(header, "alg"), claims);
    json_object_put(claims);
    json_object_put(header);
    return t;
}

enum token_state doctor_token_judge(const struct doctor_token *t, int64_t now_s)
{
    return !t->is_jwt            ? TOKEN_OPAQUE
           : t->is_unsigned      ? TOKEN_UNSIGNED
           : t->until_s <= now_s ? TOKEN_EXPIRED
           : t->from_s > now_s   ? TOKEN_EARLY
                                 : TOKEN_GOOD;
}

void doctor_token_say(const struct doctor_token *t, int64_t now_s, struct buf *said)
{
    switch (doctor_token_judge(t, now_s)) {
    case TOKEN_OPAQUE:
        buf_printf(said, "no JWT: only the server can judge it");
        return;
    case TOKEN_UNSIGNED:
        buf_printf(said, "a JWT without a signature (algorithm none)");
        return;
    case TOKEN_EXPIRED:
        buf_printf(said, "a JWT, algorithm %s, expired %" PRId64 " s ago", t->alg,
                   now_s - MAX(t->until_s, (int64_t)0));
        return;
    case TOKEN_EARLY:
        buf_printf(said, "a JWT, algorithm %s, not valid before %" PRId64 " s from now",
                   t->alg, t->from_s - now_s);
        return;
    case TOKEN_GOOD:
        buf_printf(said, "a JWT, algorithm %s", t->alg);
        if (t->until_s != INT64_MAX)
            buf_printf(said, ", valid for another %" PRId64 " s", t->until_s - now_s);
        return;
    }
}
