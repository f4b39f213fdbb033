/* pattern: one command line as people read it, and whether some words fit it.
 *   word      stands there as it is      ARG (capitals)   any one word
 *   {a|b X}   one of these               [a|b X]          one of these or none
 *   {…}...    several of these in any order, each word once, a lone ARG as often as
 * wanted […]...    the same, or none Owns nothing: what it fills looks into the pattern
 * and the words. Never backtracks: the first alternative that fits is taken. */
#ifndef CTL_PATTERN_H
#define CTL_PATTERN_H

#include "common/str.h"

#define PATTERN_ARGS 32
#define PATTERN_EXPECTED 24

/* What was said: a word without ARG has the value ""; an ARG behind a word goes by that
 * word, a lone one by its own name. */
struct arg {
    struct str key;
    const char *value;
};
struct args {
    struct arg v[PATTERN_ARGS];
    size_t n;
};

struct match {
    size_t used;   /* words that fit */
    bool complete; /* all of them, and nothing required is missing */
    struct args args;
    struct str
        expected[PATTERN_EXPECTED]; /* what could stand where the words stopped fitting */
    size_t expected_n;
    struct str empty; /* the ARG that was given as "" (refused), p NULL: none */
};

void pattern_match(const char *pattern, char *const *words, size_t n, struct match *m);
bool pattern_is_arg(struct str word);

/* NULL when not given. */
const char *args_get(const struct args *a, const char *key);

#endif
