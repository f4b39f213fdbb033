#include "supervisor/ctl/doctor_token.h"

#include "common/json.h"
#include "common/log.h"

#define ALG_MAX 16

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

static enum token_state judge(struct str alg, struct json_object *claims, int64_t now_s,
                              struct buf *said)
{
    int64_t exp = json_get_int(claims, "exp", INT64_MAX);
    int64_t nbf = json_get_int(claims, "nbf", INT64_MIN);

    buf_printf(said, "a JWT, algorithm %s",
               alg.n <= ALG_MAX ? log_esc(alg) : "of a strange name");
    if (str_eq_nocase(alg, STR("none")))
        return TOKEN_UNSIGNED;
    if (exp <= now_s) {
        buf_printf(said, ", expired %" PRId64 " s ago", now_s - MAX(exp, (int64_t)0));
        return TOKEN_EXPIRED;
    }
    if (nbf > now_s) {
        buf_printf(said, ", not valid before %" PRId64 " s from now", nbf - now_s);
        return TOKEN_EARLY;
    }
    if (exp != INT64_MAX)
        buf_printf(said, ", valid for another %" PRId64 " s", exp - now_s);
    return TOKEN_GOOD;
}

enum token_state doctor_token_judge(struct str token, int64_t now_s, struct buf *said)
{
    struct str rest, signature, head = str_split(token, '.', &rest);
    struct str body = str_split(rest, '.', &signature);
    struct json_object *header = signature.p ? part(head) : NULL;
    struct json_object *claims = header ? part(body) : NULL;
    enum token_state state = TOKEN_OPAQUE;

    if (claims)
        state = judge(json_get_str(header, "alg"), claims, now_s, said);
    else
        buf_printf(said, "no JWT: only the server can judge it");
    json_object_put(claims);
    json_object_put(header);
    return state;
}
