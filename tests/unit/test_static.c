// floors: auth
#include "worker/auth/auth.h"

#include "common/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* SHA-256 of "token-a", "token-b", "token-c": sha256sum's */
#define HASH_A "a70bf50e531ce1a817561f2f5d5b6645d4e806becf58ccc5e8cf6b8045a090a8"
#define HASH_B "49e2bb7eab54cf09b409ffafd3fa8a8a955a60eb972faacaefbed3dbd3207132"
#define HASH_C "4618883cd3012ea499d728009f5cdd1d39a460cc3457b4cca2dd24aab8a3c922"

static struct auth *open_source(const char *lines, const char *source, struct err *e)
{
    struct conf_auth conf = {.method = AUTH_STATIC};
    conf.tokens.value = str_of(lines);
    conf.tokens.source = (char *)source;
    e->text[0] = '\0';
    return auth_new(&conf, e);
}

static struct auth *open_lines(const char *lines)
{
    struct err e;
    struct auth *a = open_source(lines, NULL, &e);
    if (!a)
        fail_msg("refused: %s", e.text);
    return a;
}

/* user NULL: must be refused with these words */
static void check(const struct auth *a, struct str token, const char *user,
                  const char *words)
{
    struct auth_identity got = {0};
    struct err why = {""};
    enum auth_verdict v = auth_check(a, token, 0, &got, &why);
    assert_int_equal(v, user ? AUTH_ACCEPTED : AUTH_REFUSED);
    assert_int_equal(got.has_user, user != NULL);
    if (user)
        assert_string_equal(buf_cstr(&got.user), user);
    else
        assert_string_equal(why.text, words);
    auth_identity_fini(&got);
}

static void tokens_name_their_users(void **state UNUSED)
{
    struct auth *a = open_lines("# users\n"
                                "\n"
                                "alice:sha256:" HASH_A "\r\n"
                                "  \t# bob:sha256:nonsense\n"
                                "  team:a:sha256:x:sha256:" HASH_B "\t \n"
                                "alice:sha256:" HASH_C);
    check(a, STR("token-a"), "alice", NULL);
    check(a, STR("token-b"), "team:a:sha256:x", NULL);
    check(a, STR("token-c"), "alice", NULL);
    check(a, STR("token-d"), NULL, "unknown token");
    check(a, STR("token-a "), NULL, "unknown token");
    check(a, STR("Token-a"), NULL, "unknown token");
    check(a, STR("alice"), NULL, "unknown token");
    check(a, STR(HASH_A), NULL, "unknown token");
    check(a, STR(""), NULL, "no token");
    check(a, STR_NONE, NULL, "no token");
    auth_free(a);
}

static void upper_case_hashes_are_the_same(void **state UNUSED)
{
    char line[] = "u:sha256:" HASH_A;
    for (char *p = line + 9; *p; p++)
        if (*p >= 'a')
            *p = (char)(*p - 32);
    struct auth *a = open_lines(line);
    check(a, STR("token-a"), "u", NULL);
    auth_free(a);
}

static void nobody_is_allowed_too(void **state UNUSED)
{
    static const char *const empty[] = {"", "\n", "# nobody yet\n", "\n\n \t\n"};
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        struct auth *a = open_lines(empty[i]);
        check(a, STR("token-a"), NULL, "unknown token");
        auth_free(a);
    }
}

/* The first half of a hash is only the index: a token must fit the other half, too. */
static void half_a_hash_is_not_enough(void **state UNUSED)
{
    char line[] = "u:sha256:" HASH_A;
    size_t last = sizeof(line) - 2;
    line[last] = line[last] == '0' ? '1' : '0';
    struct auth *a = open_lines(line);
    check(a, STR("token-a"), NULL, "unknown token");
    auth_free(a);
}

static void long_tokens_are_not_hashed(void **state UNUSED)
{
    static char token[8193];
    uint8_t hash[DIGEST_SHA256];
    struct buf line = {0};
    memset(token, 'x', sizeof(token));
    digest_sha256((struct str){token, 8192}, hash);
    buf_str(&line, STR("u:sha256:"));
    buf_hex(&line, hash, sizeof(hash));
    struct auth *a = open_lines(buf_cstr(&line));
    check(a, (struct str){token, 8192}, "u", NULL);
    check(a, (struct str){token, 8193}, NULL, "the token is longer than 8 KiB");
    auth_free(a);
    buf_free(&line);
}

static void many_tokens(void **state UNUSED)
{
    enum { N = 2000 };
    struct buf lines = {0}, user = {0};
    char token[32];
    for (int i = 0; i < N; i++) {
        uint8_t hash[DIGEST_SHA256];
        snprintf(token, sizeof(token), "secret %d", i);
        digest_sha256(str_of(token), hash);
        buf_printf(&lines, "user%d:sha256:", i);
        buf_hex(&lines, hash, sizeof(hash));
        buf_char(&lines, '\n');
    }
    struct auth *a = open_lines(buf_cstr(&lines));
    for (int i = 0; i < N; i++) {
        snprintf(token, sizeof(token), "secret %d", i);
        buf_clear(&user);
        buf_printf(&user, "user%d", i);
        check(a, str_of(token), buf_cstr(&user), NULL);
    }
    auth_free(a);
    buf_free(&lines);
    buf_free(&user);
}

#define SHAPE "expected user:sha256:<64 hex digits>"

static void bad_lines(void **state UNUSED)
{
    static const struct {
        const char *lines, *words;
    } bad[] = {
        {"alice", "auth.tokens: line 1: " SHAPE},
        {"my secret token in clear", "auth.tokens: line 1: " SHAPE},
        {"# x\n\nalice:sha256", "auth.tokens: line 3: " SHAPE},
        {"alice:sha256:", "auth.tokens: line 1: " SHAPE},
        {"alice:" HASH_A, "auth.tokens: line 1: " SHAPE},
        {"alice:md5:" HASH_A, "auth.tokens: line 1: " SHAPE},
        {"alice:SHA256:" HASH_A, "auth.tokens: line 1: " SHAPE},
        {"alice:sha256:" HASH_A "0", "auth.tokens: line 1: " SHAPE},
        {"alice:sha256:" HASH_A ":admin", "auth.tokens: line 1: " SHAPE},
        {"alice sha256 " HASH_A, "auth.tokens: line 1: " SHAPE},
        {":sha256:" HASH_A, "auth.tokens: line 1: the user is empty"},
        {"a :sha256:" HASH_A, "auth.tokens: line 1: a blank before or behind the user"},
        {"a\x01:sha256:" HASH_A,
         "auth.tokens: line 1: the user holds a control character"},
        {"\xFF:sha256:" HASH_A, "auth.tokens: line 1: the user is not UTF-8"},
        {"ok:sha256:" HASH_B "\nalice:sha256:"
         "zz00000000000000000000000000000000000000000000000000000000000000",
         "auth.tokens: line 2: the hash holds a character that is no hex digit"},
        {"a:sha256:" HASH_A "\nb:sha256:" HASH_B "\nc:sha256:" HASH_A,
         "auth.tokens: line 3: the same token as in line 1"},
        {"a:sha256:" HASH_A "\na:sha256:" HASH_A,
         "auth.tokens: line 2: the same token as in line 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e;
        assert_null(open_source(bad[i].lines, NULL, &e));
        assert_string_equal(e.text, bad[i].words);
    }
}

static void errors_name_the_file(void **state UNUSED)
{
    struct err e;
    assert_null(open_source("x", "file:/etc/heliod/tokens", &e));
    assert_string_equal(e.text, "auth.tokens_file: /etc/heliod/tokens: line 1: " SHAPE);
}

static void users_are_bounded(void **state UNUSED)
{
    struct buf line = {0};
    struct err e;
    for (int i = 0; i < 256; i++)
        buf_char(&line, 'u');
    buf_str(&line, STR(":sha256:" HASH_A));
    auth_free(open_lines(buf_cstr(&line)));
    struct buf longer = {0};
    buf_char(&longer, 'u');
    buf_str(&longer, buf_view(&line));
    assert_null(open_source(buf_cstr(&longer), NULL, &e));
    assert_string_equal(e.text, "auth.tokens: line 1: the user is longer than 256 bytes");
    buf_free(&line);
    buf_free(&longer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_name_their_users),
        cmocka_unit_test(upper_case_hashes_are_the_same),
        cmocka_unit_test(nobody_is_allowed_too),
        cmocka_unit_test(half_a_hash_is_not_enough),
        cmocka_unit_test(long_tokens_are_not_hashed),
        cmocka_unit_test(many_tokens),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(errors_name_the_file),
        cmocka_unit_test(users_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
