// floors: auth
#include "worker/auth/auth.h"

#include "common/digest.h"
#include "common/log.h"
#include "common/mem.h"
#include "tests/unit/jwt_vectors.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NOW 1700000000
#define USER "alice"

/* ── a configuration from a few words ── */

#define ALGS_MAX 16
struct setup {
    struct conf_auth conf;
    struct str algs[ALGS_MAX];
    struct conf_auth_key keys[4];
};

static struct conf_content content(const char *text)
{
    return (struct conf_content){.value = str_of(text)};
}

/* algs: "HS256 RS256" */
static struct conf_auth *setup(struct setup *s, const char *algs, const char *key)
{
    memset(s, 0, sizeof(*s));
    s->conf.method = AUTH_JWT;
    s->conf.key = content(key);
    s->conf.algorithms.v = s->algs;
    s->conf.keys.v = s->keys;
    s->conf.user_claim = STR("sub");
    s->conf.issuer = s->conf.audience = STR("");
    s->conf.require_exp = true;
    for (struct str rest = str_of(algs); rest.n;)
        s->algs[s->conf.algorithms.n++] = str_split(rest, ' ', &rest);
    return &s->conf;
}

static void add_key(struct setup *s, const char *kid, const char *key)
{
    s->keys[s->conf.keys.n++] =
        (struct conf_auth_key){.kid = str_of(kid), .key = content(key)};
}

static struct auth *open_auth(struct setup *s)
{
    struct err e = {""};
    struct auth *a = auth_new(&s->conf, &e);
    if (!a)
        fail_msg("refused: %s", e.text);
    return a;
}

/* ── tokens of our own, for what no library would sign ── */

static void base64url(struct buf *out, struct str in)
{
    struct buf b = {0};
    buf_base64(&b, in);
    for (size_t i = 0; i < b.n && b.p[i] != '='; i++)
        buf_char(out, b.p[i] == '+' ? '-' : b.p[i] == '/' ? '_' : b.p[i]);
    buf_free(&b);
}

static struct str hs256(struct buf *out, struct str secret, struct str head,
                        struct str claims)
{
    uint8_t mac[DIGEST_SHA256];
    struct digest_hmac *h = digest_hmac_new(secret);
    buf_clear(out);
    base64url(out, head);
    buf_char(out, '.');
    base64url(out, claims);
    struct str input = buf_view(out);
    digest_hmac_sign(h, &input, 1, mac);
    digest_hmac_free(h);
    buf_char(out, '.');
    base64url(out, (struct str){(char *)mac, sizeof(mac)});
    return buf_view(out);
}

#define HEAD "{\"alg\":\"HS256\"}"
#define GOOD "{\"sub\":\"alice\",\"exp\":1700003600}"

/* The user, or NULL and why. Checks what must hold for every token: refusals say
 * something and show nothing of the token. */
static const char *check_at(const struct auth *a, struct str token, int64_t now,
                            struct err *why)
{
    static char user[8192];
    struct auth_identity who = {0};
    why->text[0] = '\0';
    enum auth_verdict v = auth_check(a, token, now, &who, why);
    struct buf b = who.user;
    assert_int_equal(who.has_user, v == AUTH_ACCEPTED);
    if (v == AUTH_ACCEPTED) {
        assert_true(b.n > 0 && b.n < sizeof(user));
        strcpy(user, buf_cstr(&b));
    } else {
        assert_string_not_equal(why->text, "");
        assert_int_equal(b.n, 0);
        if (token.n > 16)
            assert_null(memmem(why->text, strlen(why->text), token.p, 16));
    }
    buf_free(&b);
    return v == AUTH_ACCEPTED ? user : NULL;
}

static void assert_accepted(const struct auth *a, struct str token, const char *user)
{
    struct err why;
    const char *is = check_at(a, token, NOW, &why);
    if (!is)
        fail_msg("refused: %s: " STR_FMT, why.text, STR_ARG(token));
    assert_string_equal(is, user);
}

static void assert_refused(const struct auth *a, struct str token, const char *words)
{
    struct err why;
    if (check_at(a, token, NOW, &why))
        fail_msg("accepted: " STR_FMT, STR_ARG(token));
    if (!strstr(why.text, words))
        fail_msg("`%s` lacks `%s`: " STR_FMT, why.text, words, STR_ARG(token));
}

/* ── every algorithm ── */

static const struct {
    const char *alg, *key, *token;
} good[] = {
    {"HS256", SECRET, HS256},           {"HS384", SECRET, HS384},
    {"HS512", SECRET, HS512},           {"RS256", RSA_PEM, RS256},
    {"RS384", RSA_PEM, RS384},          {"RS512", RSA_PEM, RS512},
    {"RS256", RSA_PKCS1_PEM, RS256},    {"PS256", RSA_PEM, PS256},
    {"PS384", RSA_PEM, PS384},          {"PS512", RSA_PEM, PS512},
    {"ES256", P256_PEM, ES256},         {"ES256", P256_CERTIFICATE, ES256},
    {"ES384", P384_PEM, ES384},         {"ES512", P521_PEM, ES512},
    {"ES256", P256_PEM, ES256_SHORT_R}, {"EdDSA", ED25519_PEM, EDDSA_25519},
    {"EdDSA", ED448_PEM, EDDSA_448},
};

static void every_algorithm(void **state UNUSED)
{
    struct setup s;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        setup(&s, good[i].alg, good[i].key);
        struct auth *a = open_auth(&s);
        assert_accepted(a, str_of(good[i].token), USER);
        assert_accepted(a, str_of(good[i].token), USER); /* contexts are used again */
        auth_free(a);
    }
}

/* One changed character anywhere ends every token. */
static void every_change_is_noticed(void **state UNUSED)
{
    struct setup s;
    struct err why;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        setup(&s, good[i].alg, good[i].key);
        struct auth *a = open_auth(&s);
        struct str token = str_of(good[i].token);
        char *copy = str_dup(token);
        for (size_t at = 0; at < token.n; at += 1 + token.n / 40) {
            char was = copy[at];
            copy[at] = was == 'A' ? 'B' : 'A';
            if (check_at(a, (struct str){copy, token.n}, NOW, &why))
                fail_msg("%s: accepted with byte %zu changed", good[i].alg, at);
            copy[at] = was;
            if (check_at(a, (struct str){copy, at}, NOW, &why))
                fail_msg("%s: accepted %zu of %zu bytes", good[i].alg, at, token.n);
        }
        free(copy);
        auth_free(a);
    }
}

/* Each token against each other row's key and list: the key's kind or the list refuses.
 */
static void nothing_crosses_over(void **state UNUSED)
{
    struct setup s;
    struct err why;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        setup(&s, good[i].alg, good[i].key);
        struct auth *a = open_auth(&s);
        for (size_t k = 0; k < ARRAY_LEN(good); k++) {
            bool same_alg = strcmp(good[i].alg, good[k].alg) == 0;
            if (same_alg && strcmp(good[i].alg, "EdDSA") != 0)
                continue;
            bool ok = check_at(a, str_of(good[k].token), NOW, &why);
            assert_int_equal(ok, good[i].token == good[k].token);
            if (!same_alg)
                assert_non_null(strstr(why.text, "alg is not one of"));
        }
        auth_free(a);
    }
}

/* RFC 7515 appendix A.1: a header with line breaks, `iss` as the user. */
static void example_of_rfc_7515(void **state UNUSED)
{
    struct setup s;
    struct buf key = {0};
    struct err why;
    struct str token = STR("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                           "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkz"
                           "ODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
                           "dBjftJeZ4CVP-mB92K27uhbUJU"
                           "1p1r_wW1gFWFOEjXk");
    assert_int_equal(
        buf_unbase64url(&key, STR("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr"
                                  "_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9C"
                                  "Aow")),
        0);
    setup(&s, "HS256", SECRET);
    s.conf.key.value = buf_view(&key);
    s.conf.user_claim = STR("iss");
    s.conf.issuer = STR("joe");
    struct auth *a = open_auth(&s);
    const char *user = check_at(a, token, 1300819379, &why);
    assert_non_null(user);
    assert_string_equal(user, "joe");
    assert_null(check_at(a, token, 1300819380, &why));
    assert_string_equal(why.text, "the token has expired");
    auth_free(a);
    buf_free(&key);
}

static void wrong_signatures(void **state UNUSED)
{
    static const struct {
        const char *algs, *key, *token, *words;
    } bad[] = {
        {"RS256", OTHER_RSA_PEM, RS256, "signature is wrong"},
        {"RS256", RSA_PEM, RS256_BY_OTHER, "signature is wrong"},
        {"RS256 PS256", RSA_PEM, RS256_SAYS_PS, "signature is wrong"},
        {"PS256", RSA_PEM, PS256_ODD_SALT, "signature is wrong"},
        {"ES256", P256_PEM, ES256_DER, "signature is wrong"},
        {"ES256", P256_PEM, ES256_BY_P384, "signature is wrong"},
        {"ES384", P384_PEM, ES256_BY_P384, "alg is not one of"},
        {"HS512", SECRET, HS256, "alg is not one of"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct setup s;
        setup(&s, bad[i].algs, bad[i].key);
        struct auth *a = open_auth(&s);
        assert_refused(a, str_of(bad[i].token), bad[i].words);
        auth_free(a);
    }
}

/* r = s = 0, and the group's order: classic forgeries. */
static void degenerate_ecdsa(void **state UNUSED)
{
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                      0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    struct setup s;
    uint8_t pair[64] = {0};
    setup(&s, "ES256", P256_PEM);
    struct auth *a = open_auth(&s);
    for (int i = 0; i < 2; i++) {
        struct buf token = {0};
        struct str text = str_of(ES256);
        buf_put(&token, text.p, text.n - 86);
        base64url(&token, (struct str){(char *)pair, sizeof(pair)});
        assert_int_equal(token.n, text.n);
        assert_refused(a, buf_view(&token), "signature is wrong");
        buf_free(&token);
        memcpy(pair, order, 32);
        memcpy(pair + 32, order, 32);
    }
    auth_free(a);
}

/* ── key confusion ── */

static void public_keys_are_no_secrets(void **state UNUSED)
{
    static const char *const pems[] = {RSA_PEM, RSA_PKCS1_PEM, P256_PEM, ED25519_PEM,
                                       P256_CERTIFICATE};
    struct setup s;
    struct buf token = {0};
    struct err e;

    for (size_t i = 0; i < ARRAY_LEN(pems); i++) {
        setup(&s, "HS256", pems[i]);
        assert_null(auth_new(&s.conf, &e));
        assert_non_null(strstr(e.text, "auth.key: "));
        assert_non_null(strstr(e.text, "fits none of auth.algorithms (HS256)"));
    }
    /* An HS token signed with the public key's text, RS in the list: the list refuses. */
    hs256(&token, STR(RSA_PEM), STR(HEAD), STR(GOOD));
    setup(&s, "RS256", RSA_PEM);
    struct auth *a = open_auth(&s);
    assert_refused(a, buf_view(&token), "alg is not one of");
    auth_free(a);
    /* Both families in the list, a key for each: the RSA key is not tried for HS. */
    setup(&s, "RS256 HS256", "");
    add_key(&s, "rsa", RSA_PEM);
    add_key(&s, "hs", SECRET);
    a = open_auth(&s);
    assert_refused(a, buf_view(&token), "signature is wrong");
    hs256(&token, STR(RSA_PEM), STR("{\"alg\":\"HS256\",\"kid\":\"rsa\"}"), STR(GOOD));
    assert_refused(a, buf_view(&token), "key does not fit");
    assert_accepted(a, STR(HS256), USER);
    assert_accepted(a, STR(RS256), USER);
    auth_free(a);
    buf_free(&token);
}

static void none_is_refused(void **state UNUSED)
{
    static const char *const heads[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"None\"}",
        "{\"alg\":\"NONE\"}",
        "{\"alg\":\"\"}",
        "{\"alg\":null}",
        "{\"alg\":5}",
        "{\"alg\":[\"HS256\"]}",
        "{}",
        "{\"alg\":\"hs256\"}",
        "{\"alg\":\"HS256 \"}",
        "{\"alg\":\"HS256\\u0000\"}",
        "{\"alg\":\"HS2567\"}",
        "{\"alg\":\"HS25\"}",
        "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"none\",\"alg\":\"HS256\"}",
    };
    struct setup s;
    struct err e;
    struct buf token = {0};
    setup(&s, "HS256", SECRET);
    struct auth *a = open_auth(&s);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        hs256(&token, STR(SECRET), str_of(heads[i]), STR(GOOD));
        assert_refused(a, buf_view(&token), "alg");
        token.n -= 43; /* no signature */
        assert_refused(a, buf_view(&token), "alg");
    }
    hs256(&token, STR(SECRET), STR(HEAD), STR(GOOD));
    token.n -= 43;
    assert_refused(a, buf_view(&token), "signature is wrong");
    auth_free(a);
    setup(&s, "HS256 none", SECRET);
    assert_null(auth_new(&s.conf, &e));
    assert_string_equal(e.text, "auth.algorithms: `none` is never accepted");
    buf_free(&token);
}

/* ── shape ── */

static void misshapen_tokens(void **state UNUSED)
{
    static const struct {
        const char *token, *words;
    } bad[] = {
        {"", "no token"},
        {"x", "three parts"},
        {".", "three parts"},
        {"..", "not a JSON object"},
        {"a.b.c.d", "three parts"},
        {HS256 ".", "three parts"},
        {HS256 "=", "signature is not base64url"},
        {HS256 "A", "signature is wrong"},
        {HS256 "AA", "signature is not base64url"}, /* 4n + 1 characters */
        {"eyJhbGciOiJIUzI1NiJ9.e30.AB", "signature is not base64url"}, /* spare bits */
        {" " HS256, "header is not base64url"},
        {HS256 "\n", "signature is not base64url"},
        {"eyJhbGciOiJIUzI1NiJ9=.e30.AAAA", "header is not base64url"},
        {"e y.e30.AAAA", "header is not base64url"},
        {"eyJhbGciOiJIUzI1NiJ8.e30.AAAA", "not a JSON object"}, /* …"HS256"| */
        {"W10.e30.AAAA", "not a JSON object"},                  /* [] */
        {"bnVsbA.e30.AAAA", "not a JSON object"},               /* null */
        {"eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "signature is wrong"},
        {"eyJhbGciOiJIUzI1NiJ9.e30.", "signature is wrong"},
    };
    struct setup s;
    setup(&s, "HS256", SECRET);
    struct auth *a = open_auth(&s);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(a, str_of(bad[i].token), bad[i].words);
    assert_refused(a, STR_NONE, "no token");
    assert_accepted(a, STR(HS256), USER);
    auth_free(a);
}

static void length_is_bounded(void **state UNUSED)
{
    struct setup s;
    struct buf token = {0}, claims = {0};
    setup(&s, "HS256", SECRET);
    struct auth *a = open_auth(&s);
    buf_str(&claims, STR("{\"sub\":\"alice\",\"exp\":1700003600,\"pad\":\""));
    for (int i = 0; i < 6000; i++)
        buf_char(&claims, 'x');
    buf_str(&claims, STR("\"}"));
    hs256(&token, STR(SECRET), STR(HEAD), buf_view(&claims));
    assert_true(token.n > 8000 && token.n <= 8192);
    assert_accepted(a, buf_view(&token), USER);
    claims.n -= 2;
    for (int i = 0; i < 200; i++)
        buf_char(&claims, 'x');
    buf_str(&claims, STR("\"}"));
    hs256(&token, STR(SECRET), STR(HEAD), buf_view(&claims));
    assert_refused(a, buf_view(&token), "longer than 8 KiB");
    auth_free(a);
    buf_free(&token);
    buf_free(&claims);
}

static void headers(void **state UNUSED)
{
    static const struct {
        const char *head, *words;
    } rows[] = {
        {"{\"alg\":\"HS256\",\"typ\":\"JWT\",\"x5t\":\"a\"}", NULL},
        {" { \"alg\" : \"HS256\" } ", NULL},
        {"{\"\\u0061lg\":\"HS256\"}", NULL},
        {"{\"alg\":\"HS256\",\"kid\":\"any\"}", NULL}, /* one key without a name */
        {"{\"alg\":\"HS256\",\"kid\":5}", "kid"},
        {"{\"alg\":\"HS256\",\"kid\":null}", "kid"},
        {"{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"b\"}", "kid"},
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", "crit"},
        {"{\"alg\":\"HS256\",\"crit\":[]}", "crit"},
        {"{\"alg\":\"HS256\",\"crit\":null}", "crit"},
        {"{\"alg\":\"HS256\",\"cri\\u0074\":[\"b64\"],\"b64\":false}", "crit"},
        {"{\"alg\":\"HS256\",}", "not a JSON object"},
        {"{\"alg\":\"HS256\"} x", "not a JSON object"},
        {"\xEF\xBB\xBF{\"alg\":\"HS256\"}", "not a JSON object"},
        {"{\"alg\":\"HS256\",\"n\":NaN}", "not a JSON object"},
    };
    struct setup s;
    struct buf token = {0};
    setup(&s, "HS256", SECRET);
    struct auth *a = open_auth(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        hs256(&token, STR(SECRET), str_of(rows[i].head), STR(GOOD));
        if (rows[i].words)
            assert_refused(a, buf_view(&token), rows[i].words);
        else
            assert_accepted(a, buf_view(&token), USER);
    }
    auth_free(a);
    buf_free(&token);
}

/* ── claims ── */

struct claims_row {
    const char *claims;
    const char *user;  /* NULL: refused */
    const char *words; /* why */
};

static void check_rows(struct setup *s, const struct claims_row *rows, size_t n)
{
    struct buf token = {0};
    struct auth *a = open_auth(s);
    for (size_t i = 0; i < n; i++) {
        hs256(&token, STR(SECRET), STR(HEAD), str_of(rows[i].claims));
        if (rows[i].user)
            assert_accepted(a, buf_view(&token), rows[i].user);
        else
            assert_refused(a, buf_view(&token), rows[i].words);
    }
    auth_free(a);
    buf_free(&token);
}

static void times(void **state UNUSED)
{
    static const struct claims_row rows[] = {
        /* now 1700000000, leeway 30 s */
        {"{\"sub\":\"a\",\"exp\":1700000001}", "a", NULL},
        {"{\"sub\":\"a\",\"exp\":1699999971}", "a", NULL},
        {"{\"sub\":\"a\",\"exp\":1699999970.5}", "a", NULL},
        {"{\"sub\":\"a\",\"exp\":1699999970}", NULL, "expired"},
        {"{\"sub\":\"a\",\"exp\":1.7e9}", "a", NULL},
        {"{\"sub\":\"a\",\"exp\":0}", NULL, "expired"},
        {"{\"sub\":\"a\",\"exp\":-5}", NULL, "expired"},
        {"{\"sub\":\"a\"}", NULL, "no exp"},
        {"{\"sub\":\"a\",\"exp\":\"1700003600\"}", NULL, "exp is not a time"},
        {"{\"sub\":\"a\",\"exp\":null}", NULL, "exp is not a time"},
        {"{\"sub\":\"a\",\"exp\":true}", NULL, "exp is not a time"},
        {"{\"sub\":\"a\",\"exp\":[1700003600]}", NULL, "exp is not a time"},
        {"{\"sub\":\"a\",\"exp\":1e999}", NULL, "exp is not a time"},
        {"{\"sub\":\"a\",\"exp\":17000036000000000000000000000000000}", NULL,
         "exp is not a time"},
        {"{\"sub\":\"a\",\"exp\":1700003600,\"exp\":1600000000}", NULL, "twice"},
        {"{\"sub\":\"a\",\"exp\":1600000000,\"exp\":1700003600}", NULL, "twice"},
        {"{\"sub\":\"a\",\"exp\":1700003600,\"nbf\":1700000030}", "a", NULL},
        {"{\"sub\":\"a\",\"exp\":1700003600,\"nbf\":1700000031}", NULL, "nbf is in the"},
        {"{\"sub\":\"a\",\"exp\":1700003600,\"nbf\":\"x\"}", NULL, "nbf is not a time"},
        {"{\"sub\":\"a\",\"exp\":1700003600,\"iat\":1700000030}", "a", NULL},
        {"{\"sub\":\"a\",\"exp\":1700003600,\"iat\":1700000031}", NULL, "iat is in the"},
        {"{\"sub\":\"a\",\"exp\":1700003600,\"iat\":{}}", NULL, "iat is not a time"},
        {"{\"sub\":\"a\",\"e\\u0078p\":1600000000}", NULL, "expired"},
    };
    static const struct claims_row endless[] = {
        {"{\"sub\":\"a\"}", "a", NULL},
        {"{\"sub\":\"a\",\"exp\":1600000000}", NULL, "expired"},
        {"{\"sub\":\"a\",\"exp\":null}", NULL, "exp is not a time"},
    };
    static const struct claims_row exact[] = {
        {"{\"sub\":\"a\",\"exp\":1700000000}", NULL, "expired"},
        {"{\"sub\":\"a\",\"exp\":1700000001,\"nbf\":1700000000}", "a", NULL},
        {"{\"sub\":\"a\",\"exp\":1700000001,\"nbf\":1700000001}", NULL, "nbf"},
    };
    struct setup s;
    setup(&s, "HS256", SECRET);
    s.conf.leeway = 30000;
    check_rows(&s, rows, ARRAY_LEN(rows));
    s.conf.require_exp = false;
    check_rows(&s, endless, ARRAY_LEN(endless));
    s.conf.leeway = 0;
    check_rows(&s, exact, ARRAY_LEN(exact));
}

#define EXP ",\"exp\":1700003600}"

static void parties(void **state UNUSED)
{
    static const struct claims_row rows[] = {
        {"{\"sub\":\"a\",\"iss\":\"me\",\"aud\":\"you\"" EXP, "a", NULL},
        {"{\"sub\":\"a\",\"iss\":\"me\",\"aud\":[\"x\",\"you\"]" EXP, "a", NULL},
        {"{\"sub\":\"a\",\"iss\":\"\\u006de\",\"aud\":[\"\\u0079ou\"]" EXP, "a", NULL},
        {"{\"sub\":\"a\",\"aud\":\"you\"" EXP, NULL, "iss"},
        {"{\"sub\":\"a\",\"iss\":\"Me\",\"aud\":\"you\"" EXP, NULL, "iss"},
        {"{\"sub\":\"a\",\"iss\":[\"me\"],\"aud\":\"you\"" EXP, NULL, "iss"},
        {"{\"sub\":\"a\",\"iss\":\"me\",\"iss\":\"me\",\"aud\":\"you\"" EXP, NULL,
         "twice"},
        {"{\"sub\":\"a\",\"iss\":\"me\"" EXP, NULL, "aud"},
        {"{\"sub\":\"a\",\"iss\":\"me\",\"aud\":\"yo\"" EXP, NULL, "aud"},
        {"{\"sub\":\"a\",\"iss\":\"me\",\"aud\":[]" EXP, NULL, "aud"},
        {"{\"sub\":\"a\",\"iss\":\"me\",\"aud\":[\"x\",[\"you\"],7]" EXP, NULL, "aud"},
        {"{\"sub\":\"a\",\"iss\":\"me\",\"aud\":{\"you\":1}" EXP, NULL, "aud"},
        {"{\"sub\":\"a\",\"iss\":\"me\",\"aud\":null" EXP, NULL, "aud"},
    };
    static const struct claims_row any[] = {
        {"{\"sub\":\"a\",\"iss\":5,\"aud\":null" EXP, "a", NULL},
        {"{\"sub\":\"a\"" EXP, "a", NULL},
    };
    struct setup s;
    setup(&s, "HS256", SECRET);
    check_rows(&s, any, ARRAY_LEN(any));
    s.conf.issuer = STR("me");
    s.conf.audience = STR("you");
    check_rows(&s, rows, ARRAY_LEN(rows));
}

static void users(void **state UNUSED)
{
    static const struct claims_row rows[] = {
        {"{\"uid\":\"u-1\"" EXP, "u-1", NULL},
        {"{\"uid\":\"\xC3\xA9\\u00e9 \\\"\"" EXP, "\xC3\xA9\xC3\xA9 \"", NULL},
        {"{\"uid\":42" EXP, "42", NULL},
        {"{\"uid\":0" EXP, "0", NULL},
        {"{\"uid\":-7" EXP, "-7", NULL},
        {"{\"uid\":9007199254740993" EXP, "9007199254740993", NULL},
        {"{\"uid\":4.0" EXP, NULL, "uid"},
        {"{\"uid\":1e3" EXP, NULL, "uid"},
        {"{\"uid\":\"\"" EXP, NULL, "uid"},
        {"{\"uid\":null" EXP, NULL, "uid"},
        {"{\"uid\":true" EXP, NULL, "uid"},
        {"{\"uid\":[\"u\"]" EXP, NULL, "uid"},
        {"{\"uid\":{}" EXP, NULL, "uid"},
        {"{\"sub\":\"alice\"" EXP, NULL, "uid"},
        {"{\"uid\":\"a\",\"uid\":\"b\"" EXP, NULL, "twice"},
        {"[\"uid\"]", NULL, "claims are not a JSON object"},
        {"{\"uid\":\"a\",}", NULL, "claims are not a JSON object"},
        {"", NULL, "claims are not a JSON object"},
        {"null", NULL, "claims are not a JSON object"},
    };
    struct setup s;
    setup(&s, "HS256", SECRET);
    s.conf.user_claim = STR("uid");
    check_rows(&s, rows, ARRAY_LEN(rows));
}

/* ── several keys ── */

#define SECRET_2 "fedcba9876543210fedcba9876543210"

static void keys_by_kid(void **state UNUSED)
{
    static const struct {
        const char *secret, *head, *words;
    } rows[] = {
        {SECRET, "{\"alg\":\"HS256\",\"kid\":\"one\"}", NULL},
        {SECRET_2, "{\"alg\":\"HS256\",\"kid\":\"two\"}", NULL},
        {SECRET_2, "{\"alg\":\"HS256\",\"kid\":\"tw\\u006f\"}", NULL},
        {SECRET, "{\"alg\":\"HS256\"}", NULL},
        {SECRET_2, "{\"alg\":\"HS256\"}", NULL},
        {SECRET_2, "{\"alg\":\"HS256\",\"kid\":\"one\"}", "signature is wrong"},
        {SECRET, "{\"alg\":\"HS256\",\"kid\":\"three\"}", "kid is unknown"},
        {SECRET, "{\"alg\":\"HS256\",\"kid\":\"\"}", "kid is unknown"},
        {SECRET, "{\"alg\":\"HS256\",\"kid\":\"one\\u0000\"}", "kid is unknown"},
        {SECRET, "{\"alg\":\"HS256\",\"kid\":\"rsa\"}", "key does not fit"},
        {"third secret, 3rd secret", "{\"alg\":\"HS256\"}", "signature is wrong"},
    };
    struct setup s;
    struct buf token = {0};
    setup(&s, "HS256 RS256", "");
    add_key(&s, "rsa", RSA_PEM);
    add_key(&s, "one", SECRET);
    add_key(&s, "two", SECRET_2);
    struct auth *a = open_auth(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        hs256(&token, str_of(rows[i].secret), str_of(rows[i].head), STR(GOOD));
        if (rows[i].words)
            assert_refused(a, buf_view(&token), rows[i].words);
        else
            assert_accepted(a, buf_view(&token), USER);
    }
    assert_accepted(a, STR(RS256), USER);
    auth_free(a);
    /* A nameless key beside named ones serves tokens without kid, not unknown kids. */
    setup(&s, "HS256", SECRET);
    add_key(&s, "two", SECRET_2);
    a = open_auth(&s);
    assert_accepted(a, STR(HS256), USER);
    hs256(&token, STR(SECRET), STR("{\"alg\":\"HS256\",\"kid\":\"x\"}"), STR(GOOD));
    assert_refused(a, buf_view(&token), "kid is unknown");
    auth_free(a);
    buf_free(&token);
}

/* ── what is refused at load ── */

static void bad_configurations(void **state UNUSED)
{
    static const struct {
        const char *algs, *key, *words;
    } bad[] = {
        {"", SECRET, "auth.algorithms: none given"},
        {"HS257", SECRET, "unknown algorithm HS257"},
        {"hs256", SECRET, "unknown algorithm hs256"},
        {"HS256", "", "auth.key: neither"},
        {"HS256", "too short", "auth.key: this is a shared secret of 9 bytes"},
        {"HS256", "123456789012345", "at least 16"},
        {"HS256 RS256", SECRET, "auth.algorithms: no key fits RS256"},
        {"HS256 RS256", RSA_PEM, "auth.algorithms: no key fits HS256"},
        {"RS256", SECRET,
         "auth.key: a shared secret fits none of auth.algorithms (RS256)"},
        {"RS256", P256_PEM, "a P-256 key fits none"},
        {"RS256", SMALL_RSA_PEM, "1024 bits; at least 2048"},
        {"ES256", P384_PEM, "a P-384 key fits none of auth.algorithms (ES256)"},
        {"ES384", P521_PEM, "a P-521 key fits none"},
        {"ES256", K256_PEM, "curve secp256k1"},
        {"ES256", RSA_PEM, "an RSA key fits none"},
        {"ES256", ED25519_PEM, "an Ed25519 key fits none"},
        {"EdDSA", P256_PEM, "a P-256 key fits none"},
        {"EdDSA", X25519_PEM, "type X25519"},
        {"RS256", RSA_PEM OTHER_RSA_PEM, "more than one PEM block"},
        {"RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
         "not a readable PEM"},
        {"RS256", "-----BEGIN PUBLIC KEY-----\n", "not a readable PEM"},
        {"RS256", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
         "not a readable PEM"},
        {"ES256", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
         "private key"},
        {"ES256", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
         "private key"},
        {"HS256", "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMko\"}", "JWK"},
        {"HS256", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7", "OpenSSH"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct setup s;
        struct err e = {""};
        setup(&s, bad[i].algs, bad[i].key);
        assert_null(auth_new(&s.conf, &e));
        if (!strstr(e.text, bad[i].words))
            fail_msg("row %zu: `%s` lacks `%s`", i, e.text, bad[i].words);
        if (bad[i].key[0])
            assert_null(strstr(e.text, bad[i].key));
    }
}

static void bad_key_lists(void **state UNUSED)
{
    struct setup s;
    struct err e;
    setup(&s, "HS256", "");
    add_key(&s, "a", SECRET);
    add_key(&s, "a", SECRET_2);
    assert_null(auth_new(&s.conf, &e));
    assert_string_equal(e.text,
                        "auth.keys[1].key (kid a): an earlier key has the same kid");
    setup(&s, "HS256", "");
    add_key(&s, "a", SECRET);
    add_key(&s, "b", RSA_PEM);
    assert_null(auth_new(&s.conf, &e));
    assert_non_null(strstr(e.text, "auth.keys[1].key (kid b): an RSA key fits none"));
}

static void der_is_no_secret(void **state UNUSED)
{
    struct setup s;
    struct err e;
    uint8_t *der = NULL;
    BIO *bio = BIO_new_mem_buf(RSA_PEM, -1);
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    int n = i2d_PUBKEY(key, &der);
    setup(&s, "HS256", "");
    s.conf.key.value = (struct str){(char *)der, (size_t)n};
    assert_null(auth_new(&s.conf, &e));
    assert_non_null(strstr(e.text, "DER public key"));
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    BIO_free(bio);
}

static void count_line(void *ctx, enum log_level level, struct str line)
{
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_null(memmem(line.p, line.n, "16 bytes secret!", 16));
    ++*(int *)ctx;
}

static void short_secrets_are_said(void **state UNUSED)
{
    struct setup s;
    int lines = 0;
    log_init("test", count_line, &lines);
    setup(&s, "HS256", "16 bytes secret!");
    auth_free(open_auth(&s));
    assert_int_equal(lines, 1);
    setup(&s, "HS256", "a secret of 32 bytes, as it must");
    auth_free(open_auth(&s));
    assert_int_equal(lines, 1);
    log_init("test", NULL, NULL);
}

/* A key of type RSA-PSS is for PS only. */
static void rsa_pss_keys(void **state UNUSED)
{
    struct setup s;
    struct err e;
    EVP_PKEY *pair = NULL;
    EVP_PKEY_CTX *gen = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL), *p;
    assert_int_equal(EVP_PKEY_keygen_init(gen), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(gen, 2048), 1);
    assert_int_equal(EVP_PKEY_generate(gen, &pair), 1);
    EVP_PKEY_CTX_free(gen);
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, pair), 1);
    long n = BIO_get_mem_data(bio, &pem);

    struct buf token = {0};
    uint8_t sig[256];
    size_t sig_n = sizeof(sig);
    base64url(&token, STR("{\"alg\":\"PS256\"}"));
    buf_char(&token, '.');
    base64url(&token, STR(GOOD));
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(md, &p, EVP_sha256(), NULL, pair), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(p, RSA_PSS_SALTLEN_DIGEST), 1);
    assert_int_equal(EVP_DigestSign(md, sig, &sig_n, (uint8_t *)token.p, token.n), 1);
    buf_char(&token, '.');
    base64url(&token, (struct str){(char *)sig, sig_n});

    setup(&s, "PS256", "");
    s.conf.key.value = (struct str){pem, (size_t)n};
    struct auth *a = open_auth(&s);
    assert_accepted(a, buf_view(&token), USER);
    auth_free(a);
    setup(&s, "RS256", "");
    s.conf.key.value = (struct str){pem, (size_t)n};
    assert_null(auth_new(&s.conf, &e));
    assert_non_null(strstr(e.text, "an RSA-PSS key fits none"));
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pair);
    BIO_free(bio);
    buf_free(&token);
}

static void anonymous_looks_at_nothing(void **state UNUSED)
{
    struct conf_auth conf = {.method = AUTH_ANONYMOUS};
    struct err e = {"left over"};
    struct auth_identity who = {0};
    struct auth *a = auth_new(&conf, &e);
    assert_non_null(a);
    assert_int_equal(auth_check(a, STR("x"), NOW, &who, &e), AUTH_ACCEPTED);
    assert_false(who.has_user);
    assert_int_equal(auth_check(a, STR_NONE, NOW, &who, &e), AUTH_ACCEPTED);
    assert_false(who.has_user);
    assert_int_equal(who.user.n, 0);
    auth_free(a);
    auth_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm),
        cmocka_unit_test(every_change_is_noticed),
        cmocka_unit_test(nothing_crosses_over),
        cmocka_unit_test(example_of_rfc_7515),
        cmocka_unit_test(wrong_signatures),
        cmocka_unit_test(degenerate_ecdsa),
        cmocka_unit_test(public_keys_are_no_secrets),
        cmocka_unit_test(none_is_refused),
        cmocka_unit_test(misshapen_tokens),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(headers),
        cmocka_unit_test(times),
        cmocka_unit_test(parties),
        cmocka_unit_test(users),
        cmocka_unit_test(keys_by_kid),
        cmocka_unit_test(bad_configurations),
        cmocka_unit_test(bad_key_lists),
        cmocka_unit_test(der_is_no_secret),
        cmocka_unit_test(short_secrets_are_said),
        cmocka_unit_test(rsa_pss_keys),
        cmocka_unit_test(anonymous_looks_at_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
