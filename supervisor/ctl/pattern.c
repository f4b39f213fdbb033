#include "supervisor/ctl/pattern.h"

#define ALTERNATIVES 12

/* One piece of a pattern: alternatives of one or two words. */
struct group {
    struct str alt[ALTERNATIVES];
    bool taken[ALTERNATIVES];
    size_t n;
    bool optional, several;
};

enum fit { FIT_NOT, FIT_SHORT, FIT_WHOLE };

bool pattern_is_arg(struct str word)
{
    return word.n > 0 && word.p[0] >= 'A' && word.p[0] <= 'Z';
}

const char *args_get(const struct args *a, const char *key)
{
    for (size_t i = 0; i < a->n; i++) {
        if (str_is(a->v[i].key, key))
            return a->v[i].value;
    }
    return NULL;
}

static void add_alternative(struct group *g, struct str alt)
{
    BUG_ON(g->n == ALTERNATIVES);
    g->alt[g->n++] = str_trim(alt);
}

/* Takes the next piece off *rest; false at the end. */
static bool next_group(struct str *rest, struct group *g)
{
    *g = (struct group){0};
    *rest = str_trim(*rest);
    if (rest->n == 0)
        return false;
    if (rest->p[0] != '[' && rest->p[0] != '{') {
        add_alternative(g, str_split(*rest, ' ', rest));
        return true;
    }
    g->optional = rest->p[0] == '[';
    struct str inner =
        str_split((struct str){rest->p + 1, rest->n - 1}, g->optional ? ']' : '}', rest);
    g->several = str_starts(*rest, STR("..."));
    if (g->several)
        *rest = (struct str){rest->p + 3, rest->n - 3};
    while (inner.n > 0)
        add_alternative(g, str_split(inner, '|', &inner));
    return true;
}

static void expect(struct match *m, struct str word)
{
    if (m->expected_n < PATTERN_EXPECTED)
        m->expected[m->expected_n++] = word;
}

/* The word at m->used stands for `word` of the pattern. */
static void take(struct match *m, struct str word, bool goes_by_previous,
                 const char *value)
{
    bool is_arg = pattern_is_arg(word);

    if (is_arg && value[0] == '\0')
        m->empty = word;
    if (goes_by_previous) {
        m->args.v[m->args.n - 1].value = value;
    } else {
        BUG_ON(m->args.n == PATTERN_ARGS);
        m->args.v[m->args.n++] = (struct arg){word, is_arg ? value : ""};
    }
    m->used++;
    m->expected_n = 0;
}

static enum fit match_alternative(struct match *m, struct str alt, char *const *words,
                                  size_t n)
{
    for (bool first = true; alt.n > 0; first = false) {
        struct str word = str_split(alt, ' ', &alt);
        bool is_arg = pattern_is_arg(word);

        if (m->used == n || m->args.n == PATTERN_ARGS ||
            (!is_arg && !str_is(word, words[m->used]))) {
            expect(m, word);
            return first ? FIT_NOT : FIT_SHORT;
        }
        take(m, word, is_arg && !first, words[m->used]);
    }
    return FIT_WHOLE;
}

/* FIT_NOT: none of the alternatives begins here. */
static enum fit match_once(struct match *m, struct group *g, char *const *words, size_t n)
{
    for (size_t i = 0; i < g->n; i++) {
        if (g->taken[i])
            continue;
        enum fit fit = match_alternative(m, g->alt[i], words, n);
        if (fit == FIT_NOT)
            continue;
        g->taken[i] = !pattern_is_arg(g->alt[i]);
        return fit;
    }
    return FIT_NOT;
}

static bool match_group(struct match *m, struct group *g, char *const *words, size_t n)
{
    enum fit fit = match_once(m, g, words, n);

    if (fit == FIT_NOT)
        return g->optional;
    while (fit == FIT_WHOLE && g->several)
        fit = match_once(m, g, words, n);
    return fit != FIT_SHORT;
}

void pattern_match(const char *pattern, char *const *words, size_t n, struct match *m)
{
    struct str rest = str_of(pattern);
    struct group g;
    bool fits = true;

    memset(m, 0, sizeof(*m));
    while (fits && next_group(&rest, &g))
        fits = match_group(m, &g, words, n);
    m->complete = fits && m->used == n && !m->empty.p;
}
