// floors: common
#include "common/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void equality(void **state UNUSED)
{
    static const struct {
        const char *a, *b;
        bool eq, eq_nocase;
    } rows[] = {
        {"", "", true, true},      {"a", "a", true, true},
        {"a", "A", false, true},   {"ab", "a", false, false},
        {"Az", "aZ", false, true}, {"[", "{", false, false},
        {"@", "`", false, false},  {"\xc4", "\xe4", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str a = str_of(rows[i].a), b = str_of(rows[i].b);
        assert_int_equal(str_eq(a, b), rows[i].eq);
        assert_int_equal(str_is(a, rows[i].b), rows[i].eq);
        assert_int_equal(str_eq_secret(a, b), rows[i].eq);
        assert_int_equal(str_eq_nocase(a, b), rows[i].eq_nocase);
    }
    assert_true(str_eq(STR_NONE, STR("")));
    assert_true(str_is(STR_NONE, ""));
    assert_true(str_eq_secret(STR_NONE, STR("")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
}

static void secrets_differ_wherever_they_differ(void **state UNUSED)
{
    char a[64] = {0}, b[64];
    for (size_t i = 0; i < sizeof(a); i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(b, a, sizeof(a));
            b[i] ^= (char)(1 << bit);
            assert_false(str_eq_secret((struct str){a, 64}, (struct str){b, 64}));
        }
    assert_true(str_eq_secret((struct str){a, 64}, (struct str){a, 64}));
}

static void prefixes_and_suffixes(void **state UNUSED)
{
    static const struct {
        const char *s, *part;
        bool starts, ends;
    } rows[] = {
        {"public-x", "public-", true, false},
        {"x.org", ".org", false, true},
        {"a", "", true, true},
        {"", "", true, true},
        {"", "a", false, false},
        {"aba", "aba", true, true},
        {"ab", "aba", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str s = str_of(rows[i].s), part = str_of(rows[i].part);
        assert_int_equal(str_starts(s, part), rows[i].starts);
        assert_int_equal(str_ends(s, part), rows[i].ends);
    }
    assert_true(str_starts(STR("a"), STR_NONE));
    assert_true(str_ends(STR_NONE, STR_NONE));
}

static void trimming(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"", ""},      {" \t ", ""},        {"a", "a"},
        {" a\t", "a"}, {"\t a b  ", "a b"}, {"\na ", "\na"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(str_is(str_trim(str_of(rows[i][0])), rows[i][1]));
    assert_int_equal(str_trim(STR_NONE).n, 0);
}

static void splitting(void **state UNUSED)
{
    static const struct {
        const char *s, *before, *rest; /* rest NULL: no separator */
    } rows[] = {
        {"a=b", "a", "b"}, {"a=", "a", ""},       {"=b", "", "b"},
        {"a", "a", NULL},  {"a=b=c", "a", "b=c"}, {"", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str rest, before = str_split(str_of(rows[i].s), '=', &rest);
        assert_true(str_is(before, rows[i].before));
        assert_int_equal(rest.p == NULL, rows[i].rest == NULL);
        assert_true(str_eq(rest, str_of(rows[i].rest)));
    }
    struct str s = STR("a,b"), first = str_split(s, ',', &s);
    assert_true(str_is(first, "a") && str_is(s, "b"));
}

static void numbers(void **state UNUSED)
{
    static const struct {
        const char *s;
        uint64_t max;
        bool good;
        uint64_t v;
    } rows[] = {
        {"0", 0, true, 0},
        {"7", 7, true, 7},
        {"8", 7, false, 0},
        {"007", 7, true, 7},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"184467440737095516150", UINT64_MAX, false, 0},
        {"99999999999999999999999999", UINT64_MAX, false, 0},
        {"", 9, false, 0},
        {"-1", 9, false, 0},
        {"+1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"0x1", 9, false, 0},
        {"1e1", 99, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 4711;
        assert_int_equal(str_to_u64(str_of(rows[i].s), rows[i].max, &v), rows[i].good);
        assert_true(v == (rows[i].good ? rows[i].v : 4711));
    }
}

static void copies_end_with_a_nul(void **state UNUSED)
{
    char *copy = str_dup((struct str){"abcdef", 3});
    assert_string_equal(copy, "abc");
    free(copy);
    copy = str_dup(STR_NONE);
    assert_string_equal(copy, "");
    free(copy);
}

static void distances(void **state UNUSED)
{
    static const struct {
        const char *a, *b;
        unsigned d;
    } rows[] = {
        {"", "", 0},
        {"a", "a", 0},
        {"", "abc", 3},
        {"abc", "", 3},
        {"kitten", "sitting", 3},
        {"listener", "listeners", 1},
        {"wokers", "workers", 1},
        {"redis", "log", 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(str_distance(str_of(rows[i].a), str_of(rows[i].b)), rows[i].d);
        assert_int_equal(str_distance(str_of(rows[i].b), str_of(rows[i].a)), rows[i].d);
    }
    char big[65];
    memset(big, 'a', sizeof(big));
    assert_int_equal(str_distance((struct str){big, 65}, (struct str){big, 65}), 65);
    assert_int_equal(str_distance((struct str){big, 64}, STR("")), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality),
        cmocka_unit_test(secrets_differ_wherever_they_differ),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(trimming),
        cmocka_unit_test(splitting),
        cmocka_unit_test(numbers),
        cmocka_unit_test(copies_end_with_a_nul),
        cmocka_unit_test(distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
