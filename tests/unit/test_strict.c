// floors: common
#include "common/strict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
    const char *text, *why; /* why NULL: it is good */
} cases[] = {
    {"{}", NULL},
    {" {\"a\" : 1 , \"b\":{\"x\":1,\"x\":2}} ", NULL},
    {"{\"\\u0061\":1}", NULL},
    {"", "it is not JSON"},
    {"{\"a\":1,}", "it is not JSON"},
    {"[]", "it is not a JSON object"},
    {"null", "it is not a JSON object"},
    {"{\"c\":1}", "it has `c`, which nobody knows here"},
    {"{\"A\":1,\"a \":1}", "it has `A`, `a `, which nobody knows here"},
    {"{\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1}",
     "it has `c`, `d`, `e` and 2 more, which nobody knows here"},
    {"{\"\\n\\u001b[\":1}", "it has `\\n\\x1b[`, which nobody knows here"},
    {"{\"a\":1,\"b\":2,\"a\":1}", "it has `a` more than once"},
    {"{\"b\":1,\"\\u0062\":2}", "it has `b` more than once"},
    {"{\"a\":1,\"a\":1,\"c\":1}", "it has `c`, which nobody knows here"},
};

static void reads(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scan_member m[] = {{"a"}, {"b"}};
        struct str object = STR_NONE;
        struct err e = {0};
        int rc = strict_read(str_of(cases[i].text), m, ARRAY_LEN(m), &object, &e);
        assert_string_equal(cases[i].why ? cases[i].why : "", e.text);
        assert_int_equal(rc, cases[i].why ? -1 : 0);
        if (rc == 0)
            assert_true(object.p[0] == '{' && object.p[object.n - 1] == '}');
    }
}

static void names_where(void **state)
{
    (void)state;
    static const char *const known[] = {"a"};
    struct err e = {0};
    assert_int_equal(strict_members(STR("{\"a\":1}"), "to.", known, 1, &e), 0);
    assert_int_equal(strict_members(STR("{\"b\":1}"), "to.", known, 1, &e), -1);
    assert_string_equal(e.text, "it has `to.b`, which nobody knows here");
    assert_int_equal(strict_members(STR("{\"a\":1,\"a\":2}"), "to.", known, 1, &e), -1);
    assert_string_equal(e.text, "it has `to.a` more than once");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(names_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
