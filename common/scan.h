/* scan: judges JSON exactly (RFC 8259) in one pass and shows its members as views,
 * allocating nothing. Owns nothing; views live as long as the text. Never repairs: NaN,
 * leading zeros, raw control characters, a BOM, trailing garbage, bad UTF-8 are "not
 * JSON"; a lone surrogate escape is legal and passes as it came (PROTOCOL A12). */
#ifndef COMMON_SCAN_H
#define COMMON_SCAN_H

#include "common/buf.h"

#define SCAN_DEPTH 64 /* deeper nesting is refused */

enum scan_type {
    SCAN_BAD,
    SCAN_NULL,
    SCAN_TRUE,
    SCAN_FALSE,
    SCAN_NUMBER,
    SCAN_STRING,
    SCAN_ARRAY,
    SCAN_OBJECT
};

/* A value inside a text that was judged good. raw: its bytes as they came, without
 * surrounding white space (strings with their quotes). */
struct scan_value {
    enum scan_type type;
    struct str raw;
    bool plain; /* SCAN_STRING: no escape inside: raw without quotes is the text */
};

/* One member wanted from the top-level object. */
struct scan_member {
    const char *name;        /* compared after unescaping */
    struct scan_value value; /* type SCAN_BAD: absent. With duplicates the last wins. */
    unsigned seen;           /* how often it stood there */
};

/* Judges the whole text; if it is an object, fills the wanted members. Returns the type
 * of the whole, SCAN_BAD if not JSON. */
enum scan_type scan_text(struct str text, struct scan_member *wanted, size_t n);
/* The same for a value found before (no judging again). */
enum scan_type scan_object(struct str object, struct scan_member *wanted, size_t n);

/* The value of a text that is known to be good. */
struct scan_value scan_value_of(struct str good);
/* Elements of an array: *pos 0 at first; false at the end. */
bool scan_next(struct str array, size_t *pos, struct scan_value *out);
/* Members of an object likewise; name is the raw string value. */
bool scan_next_member(struct str object, size_t *pos, struct scan_value *name,
                      struct scan_value *out);

/* The text of a string value: a view of raw when plain, else unescaped into scratch
 * (appended; the view is into scratch: take one at a time or know that scratch may move).
 * Lone surrogates become U+FFFD. */
struct str scan_string(const struct scan_value *v, struct buf *scratch);
bool scan_string_is(const struct scan_value *v,
                    const char *text); /* no allocation; compares after unescaping */
/* How many UTF-16 units the text has (JavaScript's length). */
size_t scan_utf16_length(struct str utf8);
bool scan_is_truthy(
    const struct scan_value *v); /* as JavaScript: "", 0, -0, null, false are not */

#endif
