#include "common/strict.h"

#define NAMED_MAX 3 /* unknown members that are named; the others are counted */
#define NAME_SHOWN 40
#define KNOWN_MAX 16

static bool is_known(const struct scan_value *name, const char *const *known, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (scan_string_is(name, known[i]))
            return true;
    return false;
}

static void name_it(const struct scan_value *name, const char *where, struct buf *out)
{
    struct buf scratch = {0};
    buf_printf(out, "%s`%s", out->n ? ", " : "", where);
    buf_escape(out, scan_string(name, &scratch), NAME_SHOWN);
    buf_char(out, '`');
    buf_free(&scratch);
}

/* Returns how many there are; the first few are named. */
static size_t find_unknown(struct str object, const char *where, const char *const *known,
                           size_t known_n, struct buf *names)
{
    struct scan_value name, value;
    size_t pos = 0, n = 0;
    while (scan_next_member(object, &pos, &name, &value))
        if (!is_known(&name, known, known_n) && n++ < NAMED_MAX)
            name_it(&name, where, names);
    return n;
}

/* Of two that have the same name one would be passed over. */
static int find_repeated(struct str object, const char *where, const char *const *known,
                         size_t known_n, struct err *e)
{
    struct scan_value name, value;
    unsigned seen[KNOWN_MAX] = {0};
    size_t pos = 0;
    while (scan_next_member(object, &pos, &name, &value))
        for (size_t i = 0; i < known_n; i++)
            if (scan_string_is(&name, known[i]) && seen[i]++ > 0)
                return err_set(e, "it has `%s%s` more than once", where, known[i]);
    return 0;
}

int strict_members(struct str object, const char *where, const char *const *known,
                   size_t n, struct err *e)
{
    struct buf names = {0};
    BUG_ON(n > KNOWN_MAX);
    size_t unknown = find_unknown(object, where, known, n, &names);
    if (unknown > NAMED_MAX)
        buf_printf(&names, " and %zu more", unknown - NAMED_MAX);
    if (unknown > 0)
        err_set(e, "it has %s, which nobody knows here", buf_cstr(&names));
    buf_free(&names);
    return unknown > 0 ? -1 : find_repeated(object, where, known, n, e);
}

int strict_read(struct str text, struct scan_member *wanted, size_t n, struct str *object,
                struct err *e)
{
    const char *known[KNOWN_MAX];
    BUG_ON(n > KNOWN_MAX);
    for (size_t i = 0; i < n; i++)
        known[i] = wanted[i].name;
    enum scan_type whole = scan_text(text, wanted, n);
    if (whole != SCAN_OBJECT)
        return err_set(e,
                       whole == SCAN_BAD ? "it is not JSON" : "it is not a JSON object");
    *object = scan_value_of(text).raw;
    return strict_members(*object, "", known, n, e);
}
