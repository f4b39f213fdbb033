#include "worker/protocols/pattern.h"

#include "common/uuid.h"

/* One element of a pattern: a star, or text that must stand there. Returns the rest. */
static struct str next_element(struct str pattern, struct str user, bool *star,
                               struct str *text)
{
    static const struct str own = {"{userId}", 8};
    size_t n = 0;
    *star = pattern.p[0] == '*';
    if (*star)
        return (struct str){pattern.p + 1, pattern.n - 1};
    if (str_starts(pattern, own)) {
        *text = user;
        return (struct str){pattern.p + own.n, pattern.n - own.n};
    }
    while (n < pattern.n && pattern.p[n] != '*' &&
           !(n > 0 && str_starts((struct str){pattern.p + n, pattern.n - n}, own)))
        n++;
    *text = (struct str){pattern.p, n};
    return (struct str){pattern.p + n, pattern.n - n};
}

static bool has(struct str s, const char *word)
{
    return s.n && memmem(s.p, s.n, word, strlen(word));
}

/* Greedy with one point of return: the last star (linear in pattern × room, no
 * recursion). */
static bool matches(struct str pattern, struct str room, struct str user)
{
    struct str star_rest = STR_NONE;
    size_t star_at = 0, at = 0;
    bool seen_star = false;
    for (;;) {
        bool star, fits;
        struct str text = STR_NONE, rest;
        if (pattern.n == 0) {
            fits = at == room.n;
            rest = pattern;
            if (fits)
                return true;
        } else {
            rest = next_element(pattern, user, &star, &text);
            if (star) {
                seen_star = true;
                star_rest = pattern = rest;
                star_at = at;
                continue;
            }
            fits = room.n - at >= text.n &&
                   (text.n == 0 || !memcmp(room.p + at, text.p, text.n));
        }
        if (fits) {
            at += text.n;
            pattern = rest;
        } else if (seen_star && star_at < room.n) {
            at = ++star_at;
            pattern = star_rest;
        } else {
            return false;
        }
    }
}

bool pattern_match(struct str pattern, struct str room, const struct pattern_subject *who)
{
    struct uuid id;
    if (has(pattern, "{userId}") && !who->user.p)
        return false;
    if (has(pattern, "*") && uuid_parse(room, &id) && !str_eq(room, who->own_id))
        return false;
    return matches(pattern, room, who->user);
}

bool pattern_permits(const struct conf_strs *patterns, struct str room,
                     const struct pattern_subject *who)
{
    for (size_t i = 0; i < patterns->n; i++)
        if (pattern_match(patterns->v[i], room, who))
            return true;
    return false;
}
