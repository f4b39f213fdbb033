/* str: a borrowed view of bytes. Owns nothing; dies with what it looks at.
 * Never NUL-terminated by contract; p may be NULL only when n is 0. */
#ifndef COMMON_STR_H
#define COMMON_STR_H

#include "common/base.h"

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *c)
{
    return (struct str){c, c ? strlen(c) : 0};
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_is(struct str a, const char *c)
{
    return a.n == strlen(c) && memcmp(a.p ? a.p : "", c, a.n) == 0;
}
bool str_eq_nocase(struct str a, struct str b); /* ASCII only */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
struct str str_trim(struct str s); /* SP and HTAB at both ends */
/* Splits at the first sep: returns what is before it, *rest what is after (STR_NONE with
 * p NULL: no sep). */
struct str str_split(struct str s, char sep, struct str *rest);
/* Decimal digits only, 0 … max; returns false (and leaves *out) for anything else. */
bool str_to_u64(struct str s, uint64_t max, uint64_t *out);
/* Equal in time that does not depend on where they differ (secrets). */
bool str_eq_secret(struct str a, struct str b);
/* A heap copy with a NUL behind it; caller frees. */
char *str_dup(struct str s);
/* Edit distance, for "did you mean"; strings over 64 bytes count as 65 apart. */
unsigned str_distance(struct str a, struct str b);

#endif
