/* options: what may stand on the command line besides the command, up to a lone "--".
 * Owns nothing but the array of the words left over. Never guesses: an unknown option
 * ahead of the command is an error; behind its first word it is a word (data may be -1).
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include "common/err.h"
#include "common/str.h"

#define OPTIONS_TIMEOUT_S 30

struct options {
    const char *config, *socket; /* NULL: not given */
    bool json, help, version, complete;
    uint64_t timeout_s;
    uint64_t count;             /* of `top`; 0: until stopped */
    const char *origin, *token; /* of `doctor`; NULL: not given */
    const char *ca;             /* of `doctor`; NULL: none but the machine's */
    uint64_t hold_s;            /* of `doctor`; 0: not at all */
    char **words;               /* the command, and NULL */
    size_t words_n;
};

struct option_row {
    char letter;              /* 0: none */
    const char *name, *value; /* value: NULL: takes none */
    const char *help;         /* NULL: not for people */
};
extern const struct option_row option_rows[];
extern const size_t option_rows_n;

/* argv[0] is skipped. On -1 what was understood so far stands (--json, for the way the
 * error is told). */
int options_parse(struct options *o, int argc, char **argv, struct err *e) NODISCARD;
void options_fini(struct options *o);
/* The row that a word of the command line names, NULL if it is no option. */
const struct option_row *option_find(struct str word);

#endif
