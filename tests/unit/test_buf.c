// floors: common
#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void assert_holds(struct buf *b, struct str expected)
{
    if (!str_eq(buf_view(b), expected))
        fail_msg("holds `%s`, not `%.*s`", buf_cstr(b), STR_ARG(expected));
}

static void a_zeroed_struct_is_empty(void **state UNUSED)
{
    struct buf b = {0};
    buf_put(&b, NULL, 0);
    buf_str(&b, STR_NONE);
    buf_drop(&b, 0);
    assert_int_equal(buf_view(&b).n, 0);
    assert_string_equal(buf_cstr(&b), "");
    buf_free(&b);
    assert_null(b.p);
    buf_free(&b);
    buf_free(NULL);
}

static void it_grows_and_keeps_what_it_holds(void **state UNUSED)
{
    struct buf b = {0};
    for (int i = 0; i < 100000; i++)
        buf_char(&b, (char)('a' + i % 26));
    assert_int_equal(b.n, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.p[i], 'a' + i % 26);
    buf_drop(&b, 99999);
    assert_holds(&b, STR("d"));
    buf_drop(&b, 1);
    assert_holds(&b, STR(""));
    buf_str(&b, STR("a\0b"));
    assert_holds(&b, STR("a\0b"));
    buf_clear(&b);
    memcpy(buf_reserve(&b, 5), "hello", 5);
    b.n += 5;
    assert_string_equal(buf_cstr(&b), "hello");
    assert_int_equal(b.n, 5);
    buf_free(&b);
}

static void printing_of_every_length(void **state UNUSED)
{
    char text[300];
    for (size_t n = 0; n < sizeof(text); n++) {
        struct buf b = {0};
        memset(text, 'x', n);
        text[n] = '\0';
        buf_str(&b, STR("->"));
        buf_printf(&b, "%s", text);
        assert_int_equal(b.n, n + 2);
        assert_memory_equal(b.p + 2, text, n);
        buf_free(&b);
    }
}

static void json_strings(void **state UNUSED)
{
    static const struct {
        struct str in, out;
    } rows[] = {
        {STR(""), STR("\"\"")},
        {STR("plain"), STR("\"plain\"")},
        {STR("\"\\/"), STR("\"\\\"\\\\/\"")},
        {STR("\b\f\n\r\t"), STR("\"\\b\\f\\n\\r\\t\"")},
        {STR("a\0b\x1f\x7f"), STR("\"a\\u0000b\\u001f\x7f\"")},
        {STR("é\xe2\x80\xa8"), STR("\"é\xe2\x80\xa8\"")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        buf_json(&b, rows[i].in);
        assert_holds(&b, rows[i].out);
        buf_free(&b);
    }
}

static void escaping_for_people(void **state UNUSED)
{
    static const struct {
        struct str in;
        size_t max;
        struct str out;
    } rows[] = {
        {STR("plain ~"), 99, STR("plain ~")},
        {STR("a\nb\rc\td"), 99, STR("a\\nb\\rc\\td")},
        {STR("\x1b[2J\0\x7f"), 99, STR("\\x1b[2J\\x00\\x7f")},
        {STR("Zoë 日本 𝄞"), 99, STR("Zoë 日本 𝄞")},
        {STR("\xc2\x9b"), 99, STR("\\xc2\\x9b")},          /* C1: CSI */
        {STR("\xe2\x80\xae"), 99, STR("\\xe2\\x80\\xae")}, /* right-to-left override */
        {STR("\xff\xc0\x80"), 99, STR("\\xff\\xc0\\x80")}, /* never UTF-8, overlong */
        {STR("\xe0\x80\xaf"), 99, STR("\\xe0\\x80\\xaf")}, /* overlong */
        {STR("\xed\xa0\x80"), 99, STR("\\xed\\xa0\\x80")}, /* surrogate */
        {STR("\xf4\x90\x80\x80"), 99, STR("\\xf4\\x90\\x80\\x80")}, /* beyond U+10FFFF */
        {STR("\xe2\x82"), 99, STR("\\xe2\\x82")},                   /* cut off */
        {STR("abcdef"), 6, STR("abcdef")},
        {STR("abcdefg"), 6, STR("abcdef…")},
        {STR("abcé"), 4, STR("abc…")},
        {STR("ab\x01"), 5, STR("ab…")},
        {STR("a"), 0, STR("…")},
        {STR(""), 0, STR("")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        buf_escape(&b, rows[i].in, rows[i].max);
        assert_holds(&b, rows[i].out);
        buf_free(&b);
    }
}

/* RFC 4648 §10 */
static void base64_both_ways(void **state UNUSED)
{
    static const struct {
        struct str plain, text, url;
    } rows[] = {
        {STR(""), STR(""), STR("")},
        {STR("f"), STR("Zg=="), STR("Zg")},
        {STR("fo"), STR("Zm8="), STR("Zm8")},
        {STR("foo"), STR("Zm9v"), STR("Zm9v")},
        {STR("foob"), STR("Zm9vYg=="), STR("Zm9vYg")},
        {STR("fooba"), STR("Zm9vYmE="), STR("Zm9vYmE")},
        {STR("foobar"), STR("Zm9vYmFy"), STR("Zm9vYmFy")},
        {STR("\xfb\xff\xfe\0"), STR("+//+AA=="), STR("-__-AA")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        buf_base64(&b, rows[i].plain);
        assert_holds(&b, rows[i].text);
        buf_clear(&b);
        assert_int_equal(buf_unbase64(&b, rows[i].text), 0);
        assert_holds(&b, rows[i].plain);
        buf_clear(&b);
        assert_int_equal(buf_unbase64url(&b, rows[i].url), 0);
        assert_holds(&b, rows[i].plain);
        buf_free(&b);
    }
}

static void bad_base64_changes_nothing(void **state UNUSED)
{
    static const char *const bad[] = {
        "Z",        "Zg",     "Zg=",   "Zm9",   "Z===",     "====", "=",
        "Zg==Zg==", "Zm9v\n", "Zm 9",  "Zm9-",  "Zm9_",     "Z=g=", "Zm9\n",
        "Zh==",     "Zm9=",   "Zm9vZ", "Zm9v=", "Zm9v====",
    };
    static const char *const bad_url[] = {
        "Z",  "Zg==", "Zm8=",   "Zm9+", "Zm9/",  "Zm9vZ",
        "Zh", "Zm9",  "Zm9v\n", " Zg",  "Zm9v=",
    };
    struct buf b = {0};
    buf_str(&b, STR("kept"));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (buf_unbase64(&b, str_of(bad[i])) != -1)
            fail_msg("`%s` was taken", bad[i]);
        assert_holds(&b, STR("kept"));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad_url); i++) {
        if (buf_unbase64url(&b, str_of(bad_url[i])) != -1)
            fail_msg("`%s` was taken", bad_url[i]);
        assert_holds(&b, STR("kept"));
    }
    assert_int_equal(buf_unbase64(&b, (struct str){"Zm\0v", 4}), -1);
    buf_free(&b);
}

static void every_byte_survives_base64(void **state UNUSED)
{
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    for (size_t n = 0; n <= 256; n++) {
        struct buf text = {0}, back = {0};
        buf_base64(&text, (struct str){bytes, n});
        assert_int_equal(buf_unbase64(&back, buf_view(&text)), 0);
        assert_holds(&back, (struct str){bytes, n});
        buf_free(&text);
        buf_free(&back);
    }
}

static void hex(void **state UNUSED)
{
    struct buf b = {0};
    buf_hex(&b, "\x00\x9f\xa0\xff", 4);
    assert_holds(&b, STR("009fa0ff"));
    buf_hex(&b, NULL, 0);
    assert_holds(&b, STR("009fa0ff"));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_struct_is_empty),
        cmocka_unit_test(it_grows_and_keeps_what_it_holds),
        cmocka_unit_test(printing_of_every_length),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(escaping_for_people),
        cmocka_unit_test(base64_both_ways),
        cmocka_unit_test(bad_base64_changes_nothing),
        cmocka_unit_test(every_byte_survives_base64),
        cmocka_unit_test(hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
