// floors: ctl
#include "supervisor/ctl/command.h"

#include "common/buf.h"
#include "supervisor/ctl/complete.h"
#include "supervisor/ctl/options.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WORDS 16

static size_t split(char *text, char **words)
{
    size_t n = 0;

    for (char *save, *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        words[n++] = strcmp(w, "''") == 0 ? "" : w;
    return n;
}

static const struct command *find(const char *line, struct args *args, struct err *e)
{
    static char text[256];
    char *words[WORDS];

    snprintf(text, sizeof(text), "%s", line);
    return command_find(words, split(text, words), args, e);
}

/* What `helioctl --complete` prints, with blanks between; freed by the caller. */
static char *complete(char *const *words, size_t n)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_int_equal(complete_print(words, n, out), 0);
    fclose(out);
    for (char *p = text; (p = strchr(p, '\n'));)
        *p = ' ';
    return text;
}

static bool has_word(const char *list, const char *word)
{
    struct str rest = str_of(list);

    while (rest.n > 0) {
        if (str_is(str_split(rest, ' ', &rest), word))
            return true;
    }
    return false;
}

static void every_command_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < commands_n; i++) {
        const struct command *cmd = &commands[i];
        size_t n = strlen(cmd->help);

        print_message("%s\n", cmd->pattern);
        assert_true(n > 10 && cmd->help[n - 1] == '.');
        assert_true(cmd->help[0] >= 'A' && cmd->help[0] <= 'Z');
        assert_non_null(cmd->verb);
        assert_true(cmd->message == 0 || (msg_find(cmd->message) &&
                                          msg_find(cmd->message)->direction == MSG_C2S));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(cmd->pattern, commands[k].pattern);
    }
}

static void every_example_is_its_command(void **state)
{
    (void)state;
    for (size_t i = 0; i < commands_n; i++) {
        struct args args;
        struct err e = {0};
        const struct command *cmd = find(commands[i].example, &args, &e);

        assert_string_equal(e.text, "");
        assert_ptr_equal(cmd, &commands[i]);
    }
}

/* Each literal word of each example is offered behind the words ahead of it. */
static void every_example_completes(void **state)
{
    (void)state;
    for (size_t i = 0; i < commands_n; i++) {
        char text[256], *words[WORDS];
        snprintf(text, sizeof(text), "%s", commands[i].example);
        size_t n = split(text, words);

        for (size_t k = 0; k < n; k++) {
            struct match m;
            pattern_match(commands[i].pattern, words, k, &m);
            char *word = words[k], *asked = "";
            bool literal = false;
            for (size_t x = 0; x < m.expected_n; x++)
                literal |= str_is(m.expected[x], word);
            words[k] = asked;
            char *list = complete(words, k + 1);
            words[k] = word;
            if (literal)
                assert_true(has_word(list, word));
            free(list);
        }
    }
}

static void every_message_from_helioctl_has_a_command(void **state)
{
    static const struct {
        uint32_t number;
        unsigned direction;
    } messages[] = {
#define MSG(num, name, dir, type) {num, MSG_##dir},
#include "common/msg.def"
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        bool found = messages[i].direction != MSG_C2S;
        for (size_t k = 0; k < commands_n; k++)
            found |= commands[k].message == messages[i].number;
        assert_true(found);
    }
}

static const struct {
    const char *line, *error;
} refused[] = {
    {"", "no command given: expected status, show, send, notify, ticket, kick, reload, "
         "drain, stop, "
         "log-level, config, token, top, doctor, version or help"},
    {"shwo", "unknown command \"shwo\"; did you mean \"show\"?"},
    {"statsu", "unknown command \"statsu\"; did you mean \"status\"?"},
    {"show",
     "incomplete command: expected workers, connections, rooms, users, config, counters "
     "or memory after \"show\""},
    {"show wokers", "unexpected \"wokers\" after \"show\"; did you mean \"workers\"?"},
    {"show workers user a", "unexpected \"user\" after \"show workers\"; expected limit"},
    {"show rooms usr a",
     "unexpected \"usr\" after \"show rooms\"; did you mean \"user\"?"},
    {"show users user", "incomplete command: expected U after \"show users user\""},
    {"kick", "incomplete command: expected user, client, room, address or endpoint after "
             "\"kick\""},
    {"kick user ''", "U is empty"},
    {"kick user a b", "unexpected \"b\" after \"kick user a\"; expected client, room, "
                      "address or endpoint"},
    {"send all", "incomplete command: expected EVENT after \"send all\""},
    {"log-level loud",
     "unexpected \"loud\" after \"log-level\"; expected error, warn, info "
     "or debug"},
    {"log-level debgu",
     "unexpected \"debgu\" after \"log-level\"; did you mean \"debug\"?"},
    {"reload now", "unexpected \"now\" after \"reload\""},
    {"config check", "incomplete command: expected FILE after \"config check\""},
    {"\033[2J", "unknown command \"\\x1b[2J\"; expected status, show, send, notify, "
                "ticket, kick, reload, "
                "drain, stop, log-level, config, token, top, doctor, version or help"},
};

static void explains_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct args args;
        struct err e = {0};

        assert_null(find(refused[i].line, &args, &e));
        assert_string_equal(e.text, refused[i].error);
    }
}

static const struct {
    const char *words, *candidates;
} completions[] = {
    {"sta", "status "},
    {"st", "status stop "},
    {"show ''", "workers connections rooms users config counters memory "},
    {"show co", "connections config counters "},
    {"show connections user ''", ""},
    {"show connections user a ''", "room endpoint address client limit "},
    {"show connections user a r", "room "},
    {"kick room x user y ''", "client address endpoint "},
    {"log-level ''", "error warn info debug "},
    {"nonsense ''", ""},
    {"status ''", ""},
    {"help sh", "show "},
    {"help show w", "workers "},
    {"--s", "--socket "},
    {"--complete", ""},
    {"-s ''", ""},
    {"-s /x.sock sta", "status "},
    {"--json show wo", "workers "},
    {"show --timeout 3 wo", "workers "},
};

static void completes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(completions); i++) {
        char text[128], *words[WORDS];
        snprintf(text, sizeof(text), "%s", completions[i].words);
        size_t n = split(text, words);
        char *list = complete(words, n);
        print_message("%s\n", completions[i].words);
        assert_string_equal(list, completions[i].candidates);
        free(list);
    }
}

static int parse(struct options *o, const char *line, struct err *e)
{
    static char text[256];
    static char *argv[WORDS];

    snprintf(text, sizeof(text), "helioctl %s", line);
    int argc = (int)split(text, argv);
    return options_parse(o, argc, argv, e);
}

static void takes_options_anywhere(void **state)
{
    static const char *const lines[] = {
        "-s /x --json --timeout 7 --count 3 show workers",
        "show -j workers --timeout=7 --count=3 --socket /x",
        "--socket=/x show workers --json --count 3 --timeout 7",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct options o;
        struct err e = {0};
        assert_int_equal(parse(&o, lines[i], &e), 0);
        assert_string_equal(o.socket, "/x");
        assert_null(o.config);
        assert_true(o.json);
        assert_int_equal(o.timeout_s, 7);
        assert_int_equal(o.count, 3);
        assert_int_equal(o.words_n, 2);
        assert_string_equal(o.words[0], "show");
        assert_string_equal(o.words[1], "workers");
        options_fini(&o);
    }
}

static void leaves_words_that_look_like_options(void **state)
{
    struct options o;
    struct err e = {0};

    (void)state;
    assert_int_equal(parse(&o, "send all ev -1", &e), 0);
    assert_int_equal(o.words_n, 4);
    assert_string_equal(o.words[3], "-1");
    options_fini(&o);
    assert_int_equal(parse(&o, "kick room -- --json", &e), 0);
    assert_false(o.json);
    assert_int_equal(o.words_n, 3);
    assert_string_equal(o.words[2], "--json");
    options_fini(&o);
    assert_int_equal(parse(&o, "send all ev -", &e), 0);
    assert_string_equal(o.words[3], "-");
    options_fini(&o);
}

static const struct {
    const char *line, *error;
} bad_options[] = {
    {"--jsno status", "unknown option --jsno"},
    {"-x status", "unknown option -x"},
    {"--timeout", "--timeout wants a value: SECONDS"},
    {"status -s", "--socket wants a value: SOCKET"},
    {"--timeout 0 status", "--timeout wants a whole number from 1 to 86400, not 0"},
    {"--timeout 1.5 status", "--timeout wants a whole number from 1 to 86400, not 1.5"},
    {"--timeout= status", "--timeout wants a whole number from 1 to 86400, not \"\""},
    {"--count x top", "--count wants a whole number from 1 to 1000000000, not x"},
    {"--json=1 status", "--json takes no value"},
    {"-c a -s b status", "-c and -s exclude one another"},
};

static void refuses_bad_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_options); i++) {
        struct options o;
        struct err e = {0};
        assert_int_equal(parse(&o, bad_options[i].line, &e), -1);
        assert_string_equal(e.text, bad_options[i].error);
        options_fini(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_whole),
        cmocka_unit_test(every_example_is_its_command),
        cmocka_unit_test(every_example_completes),
        cmocka_unit_test(every_message_from_helioctl_has_a_command),
        cmocka_unit_test(explains_what_is_wrong),
        cmocka_unit_test(completes),
        cmocka_unit_test(takes_options_anywhere),
        cmocka_unit_test(leaves_words_that_look_like_options),
        cmocka_unit_test(refuses_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
