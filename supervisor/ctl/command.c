#include "supervisor/ctl/command.h"

#include "common/buf.h"
#include "supervisor/ctl/show.h"
#include "supervisor/ctl/verbs.h"

#define EXPECTED_MAX 64
#define NEAR 3 /* edits up to which a word is taken for a slip */

enum { MSG_LOCAL = 0 };

const struct command commands[] = {
#define CMD(pattern, message, verb, printer, example, help)                              \
    {pattern, example, help, MSG_##message, verb_##verb, &show_##printer},
#include "supervisor/ctl/commands.def"
};
const size_t commands_n = ARRAY_LEN(commands);

static void add_unique(struct str *out, size_t *n, size_t max, struct str word)
{
    for (size_t i = 0; i < *n; i++) {
        if (str_eq(out[i], word))
            return;
    }
    if (*n < max)
        out[(*n)++] = word;
}

/* How many words the best commands take. */
static size_t furthest(char *const *words, size_t n)
{
    size_t best = 0;

    for (size_t i = 0; i < commands_n; i++) {
        struct match m;
        pattern_match(commands[i].pattern, words, n, &m);
        best = MAX(best, m.used);
    }
    return best;
}

size_t command_expected(char *const *words, size_t n, size_t *used, struct str *out,
                        size_t max)
{
    size_t count = 0;

    *used = furthest(words, n);
    for (size_t i = 0; i < commands_n; i++) {
        struct match m;
        pattern_match(commands[i].pattern, words, n, &m);
        for (size_t k = 0; m.used == *used && k < m.expected_n; k++)
            add_unique(out, &count, max, m.expected[k]);
    }
    return count;
}

static struct str nearest(struct str word, const struct str *known, size_t n)
{
    struct str best = STR_NONE;
    unsigned distance = NEAR + 1;

    for (size_t i = 0; i < n; i++) {
        unsigned d = str_distance(word, known[i]);
        if (!pattern_is_arg(known[i]) && d < distance && d < known[i].n) {
            best = known[i];
            distance = d;
        }
    }
    return best;
}

/* The words that fitted, in quotes; "helioctl" when none did. */
static void put_behind(struct buf *b, char *const *words, size_t n)
{
    buf_printf(b, n ? " after \"" : "");
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, i ? " " : "");
        buf_escape(b, str_of(words[i]), 64);
    }
    buf_printf(b, n ? "\"" : "");
}

static void put_expected(struct buf *b, const struct str *expected, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s" STR_FMT,
                   i == 0       ? ""
                   : i + 1 == n ? " or "
                                : ", ",
                   STR_ARG(expected[i]));
}

static void put_unexpected(struct buf *b, char *const *words, size_t used,
                           const struct str *expected, size_t n)
{
    struct str word = str_of(words[used]);
    struct str near = nearest(word, expected, n);

    buf_printf(b, used ? "unexpected \"" : "unknown command \"");
    buf_escape(b, word, 64);
    buf_char(b, '"');
    put_behind(b, words, used);
    if (near.p) {
        buf_printf(b, "; did you mean \"" STR_FMT "\"?", STR_ARG(near));
    } else if (n > 0) {
        buf_printf(b, "; expected ");
        put_expected(b, expected, n);
    }
}

static void explain(char *const *words, size_t n, struct err *e)
{
    struct str expected[EXPECTED_MAX];
    size_t used, count = command_expected(words, n, &used, expected, EXPECTED_MAX);
    struct buf b = {0};

    if (used < n) {
        put_unexpected(&b, words, used, expected, count);
    } else {
        buf_printf(&b,
                   n ? "incomplete command: expected " : "no command given: expected ");
        put_expected(&b, expected, count);
        put_behind(&b, words, n);
    }
    err_set(e, "%s", buf_cstr(&b));
    buf_free(&b);
}

const struct command *command_find(char *const *words, size_t n, struct args *args,
                                   struct err *e)
{
    for (size_t i = 0; i < commands_n; i++) {
        struct match m;
        pattern_match(commands[i].pattern, words, n, &m);
        *args = m.args;
        if (m.complete)
            return &commands[i];
        if (m.used == n && m.empty.p) {
            err_set(e, STR_FMT " is empty", STR_ARG(m.empty));
            return NULL;
        }
    }
    explain(words, n, e);
    return NULL;
}

bool command_begins_with(const struct command *cmd, char *const *words, size_t n)
{
    struct str rest = str_of(cmd->pattern);

    for (size_t i = 0; i < n; i++) {
        if (!str_is(str_split(rest, ' ', &rest), words[i]))
            return false;
    }
    return true;
}
