#include "supervisor/ctl/complete.h"

#include "common/mem.h"
#include "supervisor/ctl/command.h"
#include "supervisor/ctl/options.h"

#define CANDIDATES 64

/* Leaves the words of the command; true when the one being typed is the value of an
 * option. */
static bool strip_options(char *const *words, size_t n, char **left, size_t *left_n)
{
    *left_n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct option_row *row = option_find(str_of(words[i]));
        if (!row) {
            left[(*left_n)++] = words[i];
        } else if (row->value && i + 1 == n) {
            return true;
        } else if (row->value) {
            i++;
        }
    }
    return false;
}

static void put_options(struct str begun, FILE *out)
{
    for (size_t i = 0; i < option_rows_n; i++) {
        char name[32];
        int n = snprintf(name, sizeof(name), "--%s", option_rows[i].name);
        if (option_rows[i].help && str_starts((struct str){name, (size_t)n}, begun))
            fprintf(out, "%s\n", name);
    }
}

static void put_words(char *const *words, size_t n, struct str begun, FILE *out)
{
    if (n > 0 && str_is(str_of(words[0]), "help")) { /* its words are a command's */
        words++;
        n--;
    }
    struct str candidates[CANDIDATES];
    size_t used, count = command_expected(words, n, &used, candidates, CANDIDATES);

    for (size_t i = 0; used == n && i < count; i++) {
        if (!pattern_is_arg(candidates[i]) && str_starts(candidates[i], begun))
            fprintf(out, STR_FMT "\n", STR_ARG(candidates[i]));
    }
}

int complete_print(char *const *words, size_t n, FILE *out)
{
    char **left = mem_new((n + 1) * sizeof(*left));
    struct str begun = n ? str_of(words[n - 1]) : STR_NONE;
    size_t left_n;

    if (!strip_options(words, n ? n - 1 : 0, left, &left_n)) {
        if (str_starts(begun, STR("-")))
            put_options(begun, out);
        else
            put_words(left, left_n, begun, out);
    }
    free(left);
    return 0;
}
