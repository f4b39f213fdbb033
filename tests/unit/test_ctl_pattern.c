// floors: ctl
#include "supervisor/ctl/pattern.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WORDS 12

static size_t split(char *text, char **words)
{
    size_t n = 0;

    for (char *save, *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        words[n++] = strcmp(w, "''") == 0 ? "" : w;
    return n;
}

/* args: "key=value" in the order given; expected: what could come where it stopped. */
static const struct {
    const char *pattern, *words, *args, *expected;
    size_t used;
    bool complete;
} vectors[] = {
    {"status", "status", "status=", "", 1, true},
    {"status", "", "", "status", 0, false},
    {"status", "stat", "", "status", 0, false},
    {"status", "status now", "status=", "", 1, false},
    {"token USER", "token", "token=", "USER", 1, false},
    {"token USER", "token alice", "token= USER=alice", "", 2, true},
    {"token USER", "token ''", "token= USER=", "", 2, false},
    {"stop [now]", "stop", "stop=", "now", 1, true},
    {"stop [now]", "stop now", "stop= now=", "", 2, true},
    {"stop [now]", "stop now now", "stop= now=", "", 2, false},
    {"a {b|c X} D [E]", "a", "a=", "b c", 1, false},
    {"a {b|c X} D [E]", "a b", "a= b=", "D", 2, false},
    {"a {b|c X} D [E]", "a b d", "a= b= D=d", "E", 3, true},
    {"a {b|c X} D [E]", "a c", "a=", "X", 2, false},
    {"a {b|c X} D [E]", "a c c d e", "a= c=c D=d E=e", "", 5, true},
    {"a {b|c X} D [E]", "a c c d e f", "a= c=c D=d E=e", "", 5, false},
    {"a {b|c X} D [E]", "a x d", "a=", "b c", 1, false},
    {"k {u U|r R}...", "k", "k=", "u r", 1, false},
    {"k {u U|r R}...", "k u 1", "k= u=1", "r", 3, true},
    {"k {u U|r R}...", "k r 1 u 2", "k= r=1 u=2", "", 5, true},
    {"k {u U|r R}...", "k u 1 u 2", "k= u=1", "r", 3, false},
    {"k {u U|r R}...", "k u 1 r", "k= u=1", "R", 4, false},
    {"s c [u U|l N]...", "s c", "s= c=", "u l", 2, true},
    {"s c [u U|l N]...", "s c l 3 u u", "s= c= l=3 u=u", "", 6, true},
    {"s c [u U|l N]...", "s c x", "s= c=", "u l", 2, false},
    {"h [C]...", "h", "h=", "C", 1, true},
    {"h [C]...", "h a b a", "h= C=a C=b C=a", "C", 4, true},
};

static void render(const struct match *m, char *args, char *expected)
{
    args[0] = expected[0] = '\0';
    for (size_t i = 0; i < m->args.n; i++)
        sprintf(args + strlen(args), "%s" STR_FMT "=%s", i ? " " : "",
                STR_ARG(m->args.v[i].key), m->args.v[i].value);
    for (size_t i = 0; i < m->expected_n; i++)
        sprintf(expected + strlen(expected), "%s" STR_FMT, i ? " " : "",
                STR_ARG(m->expected[i]));
}

static void matches_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char text[128], args[512], expected[512], *words[WORDS];
        struct match m;

        snprintf(text, sizeof(text), "%s", vectors[i].words);
        size_t n = split(text, words);
        pattern_match(vectors[i].pattern, words, n, &m);
        render(&m, args, expected);
        print_message("%s <- %s\n", vectors[i].pattern, vectors[i].words);
        assert_int_equal(m.used, vectors[i].used);
        assert_int_equal(m.complete, vectors[i].complete);
        assert_string_equal(expected, vectors[i].expected);
        if (m.complete)
            assert_string_equal(args, vectors[i].args);
    }
}

static void bounds_the_arguments(void **state)
{
    char *words[PATTERN_ARGS * 2];
    struct match m;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        words[i] = i ? "x" : "h";
    pattern_match("h [C]...", words, ARRAY_LEN(words), &m);
    assert_false(m.complete);
    assert_int_equal(m.args.n, PATTERN_ARGS);
    pattern_match("h [C]...", words, PATTERN_ARGS, &m);
    assert_true(m.complete);
}

static void names_the_empty_argument(void **state)
{
    char *words[] = {"kick", "user", ""};
    struct match m;

    (void)state;
    pattern_match("kick {user U}...", words, 3, &m);
    assert_false(m.complete);
    assert_true(str_is(m.empty, "U"));
}

static void finds_arguments(void **state)
{
    char *words[] = {"send", "room", "r", "ev"};
    struct match m;

    (void)state;
    pattern_match("send {room R|all} EVENT [DATA]", words, 4, &m);
    assert_string_equal(args_get(&m.args, "room"), "r");
    assert_string_equal(args_get(&m.args, "EVENT"), "ev");
    assert_null(args_get(&m.args, "DATA"));
    assert_null(args_get(&m.args, "all"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_vectors),
        cmocka_unit_test(bounds_the_arguments),
        cmocka_unit_test(names_the_empty_argument),
        cmocka_unit_test(finds_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
