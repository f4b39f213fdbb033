// floors: common net ws http
#include "worker/http/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define CONTENT_MAX 100
#define CHUNKED ((struct request){.is_chunked = true})
#define SIZED(n) ((struct request){.has_content_length = true, .content_length = n})

/* What became of it; the content stands in f.out, what is left over in f.rest. */
static struct {
    struct buf out;
    struct str rest;
    const char *why;
} f;

static enum body_verdict feed_in_steps(struct str s, struct request r, size_t step)
{
    struct body b;
    buf_clear(&f.out);
    f.why = NULL;
    f.rest = s;
    enum body_verdict v = body_init(&b, &r, CONTENT_MAX);
    while (v == BODY_MORE && f.rest.n > 0) {
        size_t used = 99, n = MIN(step, f.rest.n);
        v = body_feed(&b, (struct str){f.rest.p, n}, &used, &f.out, &f.why);
        assert_true(used <= n && (v != BODY_MORE || used == n));
        f.rest = (struct str){f.rest.p + used, f.rest.n - used};
    }
    return v;
}

static void check(struct str s, struct request r, enum body_verdict want,
                  const char *content, const char *rest)
{
    for (size_t step = 1; step <= s.n + 1; step++) {
        enum body_verdict v = feed_in_steps(s, r, step);
        if (v != want)
            fail_msg(STR_FMT " in steps of %zu: %d", STR_ARG(s), step, (int)v);
        assert_true((v == BODY_BAD) == (f.why != NULL));
        if (v == BODY_DONE)
            assert_true(str_is(buf_view(&f.out), content) && str_is(f.rest, rest));
    }
}

static void test_length(void **state UNUSED)
{
    check(STR("GET /"), SIZED(0), BODY_DONE, "", "GET /");
    check(STR("abcGET /"), SIZED(3), BODY_DONE, "abc", "GET /");
    check(STR("abc"), SIZED(4), BODY_MORE, "", "");
    check(STR("abc"), SIZED(CONTENT_MAX), BODY_MORE, "", "");
    check(STR("abc"), SIZED(CONTENT_MAX + 1), BODY_TOO_LARGE, "", "");
    check(STR("abc"), SIZED(INT64_MAX), BODY_TOO_LARGE, "", "");
}

static void test_good_chunks(void **state UNUSED)
{
    static const struct {
        struct str text;
        const char *content, *rest;
    } rows[] = {
        {STR("0\r\n\r\n"), "", ""},
        {STR("0\r\n\r\nGET"), "", "GET"},
        {STR("3\r\nabc\r\n0\r\n\r\n\r\n"), "abc", "\r\n"},
        {STR("3\r\nabc\r\n2\r\n\r\n\r\n0\r\n\r\n"), "abc\r\n", ""},
        {STR("00000003\r\nabc\r\n00000000\r\n\r\n"), "abc", ""},
        {STR("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), "01234567890123456789",
         ""},
        {STR("3;a=b;c=\"d\"\r\nabc\r\n0 ; x\r\n\r\n"), "abc", ""},
        {STR("0\r\nDigest: x\r\nEmpty:\r\n\r\nP"), "", "P"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(rows[i].text, CHUNKED, BODY_DONE, rows[i].content, rows[i].rest);
}

static void test_unfinished_chunks(void **state UNUSED)
{
    static const char good[] = "3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n";
    for (size_t n = 0; n < sizeof(good) - 1; n++)
        check((struct str){good, n}, CHUNKED, BODY_MORE, "", "");
    check((struct str){good, sizeof(good) - 1}, CHUNKED, BODY_DONE, "abc", "");
}

static void test_bad_chunks(void **state UNUSED)
{
    static const struct str rows[] = {
        STR("\r\n"),
        STR("x\r\n"),
        STR("-1\r\n"),
        STR("+1\r\n"),
        STR(" 1\r\na"),
        STR("0x1\r\n"),
        STR(";\r\n"),
        STR("1\na\r\n"),
        STR("1\ra\r\n"),
        STR("1\r\r\n"),
        STR("1;\n"),
        STR("1;\x01\r\n"),
        STR("1;\x7f\r\n"),
        STR("1,\r\n"),
        STR("000000001\r\na"), /* nine digits */
        STR("1\r\nab"),
        STR("1\r\na\n"),
        STR("1\r\na\rb"),
        STR("1\r\na0\r\n\r\n"),
        STR("0\r\n\n"),
        STR("0\r\n\rx"),
        STR("0\r\nA: b\n"),
        STR("0\r\nA: b\rc"),
        STR("0\r\n\x02: b\r\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(rows[i], CHUNKED, BODY_BAD, "", "");
    check((struct str){"0\r\nA:\0\r\n\r\n", 11}, CHUNKED, BODY_BAD, "", "");
}

static void test_chunks_too_large(void **state UNUSED)
{
    check(STR("64\r\n"), CHUNKED, BODY_MORE, "", "");
    check(STR("65\r\n"), CHUNKED, BODY_TOO_LARGE, "", "");
    check(STR("ffffffff\r\n"), CHUNKED, BODY_TOO_LARGE, "", "");
    check(STR("fffffffff"), CHUNKED, BODY_TOO_LARGE, "", "");
    check(STR("10000000000000000\r\n"), CHUNKED, BODY_TOO_LARGE, "", "");
    check(STR("3\r\nabc\r\n61\r\n"), CHUNKED, BODY_MORE, "", "");
    check(STR("3\r\nabc\r\n62\r\n"), CHUNKED, BODY_TOO_LARGE, "", "");
}

static void repeat(struct buf *b, const char *text, size_t n)
{
    while (n--)
        buf_str(b, str_of(text));
}

/* What is around the content is bounded, too. */
static void test_endless_framing(void **state UNUSED)
{
    static const struct {
        const char *start, *again;
        size_t max;
    } rows[] = {
        {"1;", "x", BODY_LINE_MAX},
        {"0\r\n", "A", BODY_TRAILER_MAX},
        {"0\r\n", "A:\r\n", BODY_TRAILER_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        buf_str(&b, str_of(rows[i].start));
        repeat(&b, rows[i].again, rows[i].max + 1);
        assert_int_equal(feed_in_steps(buf_view(&b), CHUNKED, 7), BODY_BAD);
        assert_non_null(strstr(f.why, "too long"));
        buf_free(&b);
    }
}

static int teardown(void **state UNUSED)
{
    buf_free(&f.out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_good_chunks),
        cmocka_unit_test(test_unfinished_chunks),
        cmocka_unit_test(test_bad_chunks),
        cmocka_unit_test(test_chunks_too_large),
        cmocka_unit_test(test_endless_framing),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
