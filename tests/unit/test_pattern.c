// floors: protocols
#include "worker/protocols/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define OWN "11111111-2222-4333-8444-555555555555"
#define OTHER "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

static const struct {
    const char *pattern, *room, *user; /* user NULL: none */
    bool want;
} cases[] = {
    {"public-*", "public-", NULL, true},
    {"public-*", "public-a-b", NULL, true},
    {"public-*", "publi", NULL, false},
    {"public-*", "xpublic-a", NULL, false},
    {"*", "", NULL, true},
    {"*", "anything", NULL, true},
    {"a*b*c", "abc", NULL, true},
    {"a*b*c", "aXbYbZc", NULL, true},
    {"a*b*c", "aXbYbZ", NULL, false},
    {"*end", "the end", NULL, true},
    {"*end", "the end.", NULL, false},
    {"**", "x", NULL, true},
    {"exact", "exact", NULL, true},
    {"exact", "exactly", NULL, false},
    {"exact", "Exact", NULL, false},
    {"user-{userId}", "user-u1", "u1", true},
    {"user-{userId}", "user-u12", "u1", false},
    {"user-{userId}", "user-", NULL, false},
    {"user-{userId}", "user-", "", true},
    {"user-{userId}", "user-anything", "*", false},
    {"user-{userId}", "user-*", "*", true},
    {"{userId}-*", "u1-x", "u1", true},
    {"*-{userId}-*", "a-u1-b", "u1", true},
    {"*-{userId}-*", "a-u2-b", "u1", false},
    {"{userId}{userId}", "u1u1", "u1", true},
    {"{user}", "{user}", "u1", true},
    {"a[bc]?", "ab?", NULL, false},
    {"a[bc]?", "a[bc]?", NULL, true},
    {"*", OTHER, NULL, false},
    {"*", OWN, NULL, true},
    {"aaaaaaaa-*", OTHER, NULL, false},
    {OTHER, OTHER, NULL, true},
    {"*", "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE", NULL, true},
};

static void all_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pattern_subject who = {str_of(cases[i].user), STR(OWN)};
        bool got = pattern_match(str_of(cases[i].pattern), str_of(cases[i].room), &who);
        if (got != cases[i].want)
            fail_msg("%s against %s for %s", cases[i].pattern, cases[i].room,
                     cases[i].user);
    }
}

static void long_patterns_end(void **state)
{
    (void)state;
    char room[4097];
    memset(room, 'a', sizeof(room) - 1);
    room[sizeof(room) - 1] = 0;
    struct pattern_subject who = {STR_NONE, STR(OWN)};
    assert_false(pattern_match(STR("*a*a*a*a*a*a*a*a*a*a*a*b"), str_of(room), &who));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases),
                                       cmocka_unit_test(long_patterns_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
