// floors: common
#include "common/json.h"

#include "common/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void good_texts_of_every_type(void **state UNUSED)
{
    static const struct {
        const char *text;
        enum json_type type;
    } rows[] = {
        {"{}", json_type_object},
        {" [1] ", json_type_array},
        {"\"x\"", json_type_string},
        {"12", json_type_int},
        {"-0", json_type_int},
        {"1.5", json_type_double},
        {"1e3", json_type_double},
        {"true", json_type_boolean},
        {"false ", json_type_boolean},
        {"null", json_type_null},
        {"\t{\"a\":{}}\r\n", json_type_object},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = {"stale"};
        struct json_object *o = json_read(str_of(rows[i].text), &e);
        assert_string_equal(e.text, "");
        assert_int_equal(json_object_get_type(o), rows[i].type);
        json_object_put(o);
    }
}

/* What json-c alone would let pass. */
static void bad_texts(void **state UNUSED)
{
    static const char *const bad[] = {
        "",           " ",       "NaN",  "Infinity", "-Infinity",      "01",
        "{\"a\":01}", "\"\t\"",  "{} x", "[1,]",     "{\"a\":1,}",     "'a'",
        "{a:1}",      "nul",     "Null", "TRUE",     "\xef\xbb\xbf{}", "\"\xff\"",
        "/**/1",      "{\"a\"}", "[",    "1.",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = {""};
        struct json_object *o = json_read(str_of(bad[i]), &e);
        if (o || !e.text[0])
            fail_msg("`%s` is taken", bad[i]);
    }
    struct err e;
    assert_null(json_read(STR("1\0"), &e));
    assert_true(e.text[0]);
    assert_null(json_read(STR_NONE, &e));
    assert_null(json_read(STR("x"), NULL));
}

static void the_scanners_depth_is_readable(void **state UNUSED)
{
    struct err e;
    for (size_t depth = 1; depth <= SCAN_DEPTH + 2; depth++) {
        struct buf b = {0};
        for (size_t i = 0; i < depth; i++)
            buf_char(&b, '[');
        for (size_t i = 0; i < depth; i++)
            buf_char(&b, ']');
        bool is_good = scan_text(buf_view(&b), NULL, 0) != SCAN_BAD;
        struct json_object *o = json_read(buf_view(&b), &e);
        assert_int_equal(o != NULL, is_good);
        json_object_put(o);
        buf_free(&b);
    }
}

static void members(void **state UNUSED)
{
    struct err e;
    struct json_object *o = json_read(
        STR("{\"s\":\"a\\u0000é\",\"e\":\"\",\"i\":-7,\"d\":1.5,\"t\":true,\"f\":false,"
            "\"n\":null,\"o\":{\"i\":1},\"s2\":1,\"s2\":\"last\"}"),
        &e);
    assert_non_null(o);
    assert_true(str_eq(json_get_str(o, "s"), STR("a\0é")));
    assert_true(json_get_str(o, "e").p && json_get_str(o, "e").n == 0);
    assert_true(str_is(json_get_str(o, "s2"), "last"));
    assert_null(json_get_str(o, "i").p);
    assert_null(json_get_str(o, "none").p);
    assert_int_equal(json_get_int(o, "i", 5), -7);
    assert_int_equal(json_get_int(o, "d", 5), 5);
    assert_int_equal(json_get_int(o, "s", 5), 5);
    assert_int_equal(json_get_int(o, "none", 5), 5);
    assert_null(json_get(o, "n"));
    assert_int_equal(json_get_int(json_get(o, "o"), "i", 0), 1);
    assert_null(json_get(json_get(o, "s"), "x"));
    assert_null(json_get(NULL, "x"));
    assert_null(json_get_str(NULL, "x").p);
    json_object_put(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts_of_every_type),
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(the_scanners_depth_is_readable),
        cmocka_unit_test(members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
