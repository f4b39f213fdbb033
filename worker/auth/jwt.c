/* jwt: signed tokens (RFC 7519, RFC 7515 compact form), judged under RFC 8725: the
 * algorithm is held against the configured list before anything else is looked at, and
 * each key serves only the algorithms it was made for. Owns the parsed keys. Never shows
 * any part of a token. */
#include "worker/auth/auth.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/scan.h"
#include "worker/auth/jwt_keys.h"

#include <math.h>

#define ROOM "jwt"
#define TOKEN_MAX 8192
#define NUMBER_MAX 32           /* characters of a time */
#define EXPIRY_MAX 253402300799 /* the year 9999, in seconds */

struct jwt {
    const struct jwt_alg **algs;
    struct jwt_key **keys;
    size_t algs_n, keys_n;
    bool has_kids; /* a token's kid selects */
    struct str issuer, audience;
    char *user_claim;
    double leeway_s;
    bool require_exp, enforce_expiry;
};

/* ── opening: keys and rules ── */

static int add_algorithm(struct jwt *j, struct str name, struct err *e)
{
    const struct jwt_alg *alg = jwt_alg_find(name);
    if (!alg && str_eq_nocase(name, STR("none")))
        return err_set(e, "`none` is never accepted");
    if (!alg)
        return err_set(e,
                       "unknown algorithm %s; known: HS, RS, PS or ES with 256, 384 or "
                       "512, and EdDSA",
                       log_esc(name));
    j->algs[j->algs_n++] = alg;
    return 0;
}

static int add_algorithms(struct jwt *j, const struct conf_strs *names, struct err *e)
{
    j->algs = mem_new((names->n + 1) * sizeof(j->algs[0]));
    for (size_t i = 0; i < names->n; i++)
        if (add_algorithm(j, names->v[i], e) != 0)
            return err_add(e, "auth.algorithms");
    return names->n ? 0 : err_set(e, "auth.algorithms: none given");
}

/* "auth.key", "auth.keys[2] (kid blue)" for messages. */
static const char *name_key(char *out, size_t n, const struct conf_auth *conf, int row)
{
    if (row < 0)
        snprintf(out, n, "auth.key");
    else
        snprintf(out, n, "auth.keys[%d].key (kid %s)", row,
                 log_esc(conf->keys.v[row].kid));
    return out;
}

static bool fits_any(const struct jwt *j, const struct jwt_key *key)
{
    for (size_t i = 0; i < j->algs_n; i++)
        if (jwt_key_fits(key, j->algs[i]))
            return true;
    return false;
}

static void warn_if_short(const struct jwt *j, const struct jwt_key *key,
                          const char *name)
{
    for (size_t i = 0; i < j->algs_n; i++)
        if (jwt_key_is_short(key, j->algs[i]))
            log_warn("%s is shorter than the hash of %s, against RFC 7518 section 3.2",
                     name, jwt_alg_name(j->algs[i]));
}

static int say_unfit(const struct jwt *j, const struct jwt_key *key, const char *name,
                     struct err *e)
{
    struct buf names = {0};
    for (size_t i = 0; i < j->algs_n; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", jwt_alg_name(j->algs[i]));
    err_set(e, "%s: %s fits none of auth.algorithms (%s)", name, jwt_key_kind(key),
            buf_cstr(&names));
    buf_free(&names);
    return -1;
}

static int add_key(struct jwt *j, struct str material, struct str kid, const char *name,
                   struct err *e)
{
    struct jwt_key *key = jwt_key_new(material, kid, e);
    if (!key)
        return err_add(e, "%s", name);
    j->keys[j->keys_n++] = key;
    if (!fits_any(j, key))
        return say_unfit(j, key, name, e);
    warn_if_short(j, key, name);
    return 0;
}

static bool is_kid_known(const struct jwt *j, struct str kid)
{
    for (size_t i = 0; i < j->keys_n; i++)
        if (jwt_key_kid(j->keys[i]).p && str_eq(jwt_key_kid(j->keys[i]), kid))
            return true;
    return false;
}

static int add_keys(struct jwt *j, const struct conf_auth *conf, struct err *e)
{
    char name[192];
    bool has_key = conf->key.value.p && conf->key.value.n;
    j->keys = mem_new((conf->keys.n + 1) * sizeof(struct jwt_key *));
    if (has_key && add_key(j, conf->key.value, STR_NONE,
                           name_key(name, sizeof(name), conf, -1), e) != 0)
        return -1;
    for (size_t i = 0; i < conf->keys.n; i++) {
        const struct conf_auth_key *row = &conf->keys.v[i];
        name_key(name, sizeof(name), conf, (int)i);
        if (is_kid_known(j, row->kid))
            return err_set(e, "%s: an earlier key has the same kid", name);
        if (add_key(j, row->key.value, row->kid, name, e) != 0)
            return -1;
    }
    j->has_kids = conf->keys.n > 0;
    return j->keys_n ? 0 : err_set(e, "auth.key: neither it nor auth.keys is given");
}

/* An algorithm no key serves is a mistake in the list or a key forgotten. */
static int check_served(const struct jwt *j, struct err *e)
{
    for (size_t i = 0; i < j->algs_n; i++) {
        bool served = false;
        for (size_t k = 0; k < j->keys_n; k++)
            served |= jwt_key_fits(j->keys[k], j->algs[i]);
        if (!served)
            return err_set(e, "auth.algorithms: no key fits %s",
                           jwt_alg_name(j->algs[i]));
    }
    return 0;
}

static void close_jwt(void *state)
{
    struct jwt *j = state;
    for (size_t i = 0; i < j->keys_n; i++)
        jwt_key_free(j->keys[i]);
    free(j->keys);
    free(j->algs);
    free((char *)j->issuer.p);
    free((char *)j->audience.p);
    free(j->user_claim);
    free(j);
}

static void *open_jwt(const struct conf_auth *conf, struct err *e)
{
    struct jwt *j = NEW(struct jwt);
    j->issuer = (struct str){str_dup(conf->issuer), conf->issuer.n};
    j->audience = (struct str){str_dup(conf->audience), conf->audience.n};
    j->user_claim = str_dup(conf->user_claim);
    j->leeway_s = (double)conf->leeway / 1000.0;
    j->require_exp = conf->require_exp;
    j->enforce_expiry = conf->enforce_expiry;
    if (add_algorithms(j, &conf->algorithms, e) == 0 && add_keys(j, conf, e) == 0 &&
        check_served(j, e) == 0)
        return j;
    close_jwt(j);
    return NULL;
}

/* ── a token ── */

struct token {
    struct str header64, claims64, signature64;
    struct str signed_part; /* header64 "." claims64 */
    struct buf header, claims, signature;
    struct str kid; /* p NULL: none */
    struct buf kid_text;
    const struct jwt_alg *alg;
};

static void token_fini(struct token *t)
{
    buf_free(&t->header);
    buf_free(&t->claims);
    buf_free(&t->signature);
    buf_free(&t->kid_text);
}

static int split(struct token *t, struct str text, struct err *why)
{
    struct str rest;
    if (!text.p || text.n == 0)
        return err_set(why, "no token");
    if (text.n > TOKEN_MAX)
        return err_set(why, "the token is longer than 8 KiB");
    t->header64 = str_split(text, '.', &rest);
    t->claims64 = str_split(rest, '.', &rest);
    t->signature64 = rest;
    if (!rest.p || memchr(rest.p, '.', rest.n))
        return err_set(why, "the token is not made of three parts");
    t->signed_part = (struct str){text.p, t->header64.n + 1 + t->claims64.n};
    return 0;
}

static int read_algorithm(struct token *t, const struct jwt *j,
                          const struct scan_member *alg, struct err *why)
{
    if (alg->seen != 1 || alg->value.type != SCAN_STRING)
        return err_set(why, "the header has no single alg");
    for (size_t i = 0; i < j->algs_n && !t->alg; i++)
        if (scan_string_is(&alg->value, jwt_alg_name(j->algs[i])))
            t->alg = j->algs[i];
    return t->alg ? 0 : err_set(why, "the token's alg is not one of auth.algorithms");
}

static int read_kid(struct token *t, const struct scan_member *kid, struct err *why)
{
    if (!kid->seen)
        return 0;
    if (kid->seen != 1 || kid->value.type != SCAN_STRING)
        return err_set(why, "the header's kid is not a single string");
    t->kid = scan_string(&kid->value, &t->kid_text);
    return 0;
}

static int read_header(struct token *t, const struct jwt *j, struct err *why)
{
    struct scan_member wanted[] = {{.name = "alg"}, {.name = "kid"}, {.name = "crit"}};
    if (buf_unbase64url(&t->header, t->header64) != 0)
        return err_set(why, "the header is not base64url");
    if (scan_text(buf_view(&t->header), wanted, ARRAY_LEN(wanted)) != SCAN_OBJECT)
        return err_set(why, "the header is not a JSON object");
    if (read_algorithm(t, j, &wanted[0], why) != 0 || read_kid(t, &wanted[1], why) != 0)
        return -1;
    if (wanted[2].seen) /* RFC 7515 §4.1.11: we understand no extension */
        return err_set(why, "the header has crit");
    return 0;
}

/* A named key by its name only; a token without kid may be of any key. */
static bool is_candidate(const struct jwt *j, const struct jwt_key *key,
                         const struct token *t)
{
    if (!jwt_key_fits(key, t->alg))
        return false;
    if (!t->kid.p || !j->has_kids)
        return true;
    return jwt_key_kid(key).p && str_eq(jwt_key_kid(key), t->kid);
}

static int check_signature(struct token *t, const struct jwt *j, struct err *why)
{
    size_t tried = 0;
    if (t->kid.p && j->has_kids && !is_kid_known(j, t->kid))
        return err_set(why, "the token's kid is unknown");
    if (buf_unbase64url(&t->signature, t->signature64) != 0)
        return err_set(why, "the signature is not base64url");
    for (size_t i = 0; i < j->keys_n; i++) {
        if (!is_candidate(j, j->keys[i], t))
            continue;
        tried++;
        if (jwt_key_verifies(j->keys[i], t->alg, t->signed_part, buf_view(&t->signature)))
            return 0;
    }
    return err_set(why, "%s",
                   tried ? "the signature is wrong" : "the kid's key does not fit alg");
}

/* ── claims ── */

enum claim { CLAIM_EXP, CLAIM_NBF, CLAIM_IAT, CLAIM_ISS, CLAIM_AUD, CLAIMS };

static int unique(const struct scan_member *m, size_t n, struct err *why)
{
    for (size_t i = 0; i < n; i++) /* RFC 7519 §4 */
        if (m[i].seen > 1)
            return err_set(why, "a claim stands there twice");
    return 0;
}

/* RFC 7519 §2, NumericDate: seconds, a fraction is allowed. */
static int read_time(const struct scan_member *m, double *out, struct err *why)
{
    char text[NUMBER_MAX + 1];
    struct str raw = m->value.raw;
    if (m->value.type == SCAN_NUMBER && raw.n <= NUMBER_MAX) {
        memcpy(text, raw.p, raw.n);
        text[raw.n] = '\0';
        *out = strtod(text, NULL);
        if (isfinite(*out))
            return 0;
    }
    return err_set(why, "%s is not a time in seconds", m->name);
}

static int check_times(const struct jwt *j, const struct scan_member *m, int64_t now_s,
                       struct err *why)
{
    double now = (double)now_s, at = 0;
    if (!m[CLAIM_EXP].seen && j->require_exp)
        return err_set(why, "the token has no exp");
    for (enum claim c = CLAIM_EXP; c <= CLAIM_IAT; c++) {
        if (!m[c].seen)
            continue;
        if (read_time(&m[c], &at, why) != 0)
            return -1;
        if (c == CLAIM_EXP && now >= at + j->leeway_s)
            return err_set(why, "the token has expired");
        if (c != CLAIM_EXP && now < at - j->leeway_s)
            return err_set(why, "the token's %s is in the future", m[c].name);
    }
    return 0;
}

static bool is_text(const struct scan_value *v, struct str text)
{
    struct buf scratch = {0};
    bool is = v->type == SCAN_STRING && str_eq(scan_string(v, &scratch), text);
    buf_free(&scratch);
    return is;
}

static bool holds_text(const struct scan_value *v, struct str text)
{
    struct scan_value element;
    size_t pos = 0;
    if (v->type != SCAN_ARRAY)
        return is_text(v, text);
    while (scan_next(v->raw, &pos, &element))
        if (is_text(&element, text))
            return true;
    return false;
}

static int check_parties(const struct jwt *j, const struct scan_member *m,
                         struct err *why)
{
    if (j->issuer.n && !is_text(&m[CLAIM_ISS].value, j->issuer))
        return err_set(why, "iss is not auth.issuer");
    if (j->audience.n && !holds_text(&m[CLAIM_AUD].value, j->audience))
        return err_set(why, "aud does not hold auth.audience");
    return 0;
}

static bool is_integer(struct str raw)
{
    size_t sign = raw.n && raw.p[0] == '-';
    uint64_t v;
    return str_to_u64((struct str){raw.p + sign, raw.n - sign}, UINT64_MAX, &v);
}

/* A string that is not empty, or an integer, which becomes its digits (data bases number
 * their users). */
static int read_user(const struct jwt *j, struct str claims, struct buf *user,
                     struct err *why)
{
    struct scan_member m = {.name = j->user_claim};
    struct buf scratch = {0};
    scan_object(claims, &m, 1);
    if (unique(&m, 1, why) != 0)
        return -1;
    struct str text = STR_NONE;
    if (m.value.type == SCAN_STRING)
        text = scan_string(&m.value, &scratch);
    else if (m.value.type == SCAN_NUMBER && is_integer(m.value.raw))
        text = m.value.raw;
    buf_str(user, text);
    buf_free(&scratch);
    if (text.n == 0)
        return err_set(why, "the claim %s (auth.user_claim) is no text and no integer",
                       j->user_claim);
    return 0;
}

/* The claims are judged. */
static int64_t expiry_of(const struct jwt *j, const struct scan_member *m)
{
    struct err never;
    double at = 0;
    bool is_enforced = j->enforce_expiry && m[CLAIM_EXP].seen;
    if (!is_enforced || read_time(&m[CLAIM_EXP], &at, &never) != 0)
        return 0;
    double end = at + j->leeway_s;
    return end < EXPIRY_MAX ? (int64_t)end + 1 : EXPIRY_MAX;
}

static int check_claims(struct token *t, const struct jwt *j, int64_t now_s,
                        struct auth_identity *who, struct err *why)
{
    struct scan_member m[CLAIMS] = {
        [CLAIM_EXP] = {.name = "exp"}, [CLAIM_NBF] = {.name = "nbf"},
        [CLAIM_IAT] = {.name = "iat"}, [CLAIM_ISS] = {.name = "iss"},
        [CLAIM_AUD] = {.name = "aud"},
    };
    if (buf_unbase64url(&t->claims, t->claims64) != 0)
        return err_set(why, "the claims are not base64url");
    if (scan_text(buf_view(&t->claims), m, CLAIMS) != SCAN_OBJECT)
        return err_set(why, "the claims are not a JSON object");
    if (unique(m, CLAIMS, why) != 0 || check_times(j, m, now_s, why) != 0 ||
        check_parties(j, m, why) != 0)
        return -1;
    who->expires_s = expiry_of(j, m);
    return read_user(j, buf_view(&t->claims), &who->user, why);
}

static enum auth_verdict check_jwt(const void *state, struct str token, int64_t now_s,
                                   struct auth_identity *who, struct err *why)
{
    const struct jwt *j = state;
    struct token t = {0};
    bool good = split(&t, token, why) == 0 && read_header(&t, j, why) == 0 &&
                check_signature(&t, j, why) == 0 &&
                check_claims(&t, j, now_s, who, why) == 0;
    token_fini(&t);
    who->has_user = good;
    return good ? AUTH_ACCEPTED : AUTH_REFUSED;
}

const struct auth_ops auth_jwt_ops = {
    .open = open_jwt,
    .close = close_jwt,
    .check = check_jwt,
};
