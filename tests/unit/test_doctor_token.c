// floors: ctl
#include "supervisor/ctl/doctor_token.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW 1000000

/* Header and claims in clear, as base64url they become the token. */
static const struct {
    const char *header, *claims;
    enum token_state state;
    const char *said;
} tokens[] = {
    {"{\"alg\":\"HS256\"}", "{}", TOKEN_GOOD, "a JWT, algorithm HS256"},
    {"{\"alg\":\"HS256\"}", "{\"exp\":1000060}", TOKEN_GOOD,
     "a JWT, algorithm HS256, valid for another 60 s"},
    {"{\"alg\":\"EdDSA\"}", "{\"exp\":1000000}", TOKEN_EXPIRED,
     "a JWT, algorithm EdDSA, expired 0 s ago"},
    {"{\"alg\":\"ES256\"}", "{\"exp\":999000,\"nbf\":2000000}", TOKEN_EXPIRED,
     "a JWT, algorithm ES256, expired 1000 s ago"},
    {"{\"alg\":\"HS256\"}", "{\"nbf\":1000000,\"iat\":1000000}", TOKEN_GOOD,
     "a JWT, algorithm HS256"},
    {"{\"alg\":\"HS256\"}", "{\"nbf\":1000001}", TOKEN_EARLY,
     "a JWT, algorithm HS256, not valid before 1 s from now"},
    {"{\"alg\":\"HS256\"}", "{\"nbf\":999999,\"iat\":1000030}", TOKEN_EARLY,
     "a JWT, algorithm HS256, not valid before 30 s from now"},
    {"{\"alg\":\"None\"}", "{\"exp\":1}", TOKEN_UNSIGNED,
     "a JWT without a signature (algorithm none)"},
    {"{}", "{\"exp\":\"soon\"}", TOKEN_GOOD, "a JWT, algorithm unknown"},
    {"{\"alg\":\"12345678901234567\"}", "{}", TOKEN_GOOD, "a JWT, algorithm unknown"},
    {"{\"alg\":\"\\u001b[31m\"}", "{}", TOKEN_GOOD, "a JWT, algorithm \\x1b[31m"},
    {"{\"alg\":\"HS256\"}", "[]", TOKEN_OPAQUE, "no JWT: only the server can judge it"},
    {"[]", "{}", TOKEN_OPAQUE, "no JWT: only the server can judge it"},
    {"no", "{}", TOKEN_OPAQUE, "no JWT: only the server can judge it"},
};

static void put_part(struct buf *out, const char *text)
{
    struct buf plain = {0};

    buf_base64(&plain, str_of(text));
    for (size_t i = 0; i < plain.n && plain.p[i] != '='; i++)
        buf_char(out, plain.p[i] == '+' ? '-' : plain.p[i] == '/' ? '_' : plain.p[i]);
    buf_char(out, '.');
    buf_free(&plain);
}

static void tokens_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        struct buf text = {0}, said = {0};

        put_part(&text, tokens[i].header);
        put_part(&text, tokens[i].claims);
        buf_str(&text, STR("c2lnbmF0dXJl"));
        struct doctor_token t = doctor_token_read(buf_view(&text));
        doctor_token_say(&t, NOW, &said);
        assert_string_equal(buf_cstr(&said), tokens[i].said);
        assert_int_equal(doctor_token_judge(&t, NOW), tokens[i].state);
        buf_free(&text);
        buf_free(&said);
    }
}

static void what_is_no_token_is_opaque(void **state)
{
    static const char *const texts[] = {
        "", ".", "..", "...", "abc", "e30", "e30.e30", "=.=.=", "e30.*.x", "e30=.e30=.x"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_false(doctor_token_read(str_of(texts[i])).is_jwt);
    assert_true(doctor_token_read(STR("e30.e30.")).is_jwt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_read),
        cmocka_unit_test(what_is_no_token_is_opaque),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
