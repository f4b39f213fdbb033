/* conf_value: one leaf of the configuration, between text, memory and bytes. Used by the
 * conf rooms only. Owns nothing: a field's texts belong to the struct conf it lies in.
 * Never shows a SECRET's text in an error. */
#ifndef COMMON_CONF_VALUE_H
#define COMMON_CONF_VALUE_H

#include "common/conf.h"

/* One table per section, all from conf_keys.def (conf_table.c). */
extern const struct conf_section conf_endpoint_section, conf_auth_section;

union conf_value {
    bool flag;
    int choice;
    int64_t number;
    struct str text;
    struct conf_strs texts;
    struct conf_content content;
};
/* Any list of rows (the .def gives each its own type). */
struct conf_rows {
    char *v;
    size_t n;
};

static inline bool conf_key_is_leaf(const struct conf_key *key)
{
    return key->kind != CONF_BLOCK && key->kind != CONF_LIST;
}
size_t conf_value_size(const struct conf_key *key);
/* text → *out, bounds checked (an empty default is always fine: conf_value_default).
 * Nothing to release after -1. */
int conf_value_parse(const struct conf_key *key, struct str text, union conf_value *out,
                     struct err *e) NODISCARD;
void conf_value_default(const struct conf_key *key, void *field);
void conf_value_format(const struct conf_key *key, const void *field, struct buf *out);
bool conf_value_equal(const struct conf_key *key, const void *a, const void *b);
void conf_value_release(const struct conf_key *key, void *field); /* leaves it empty */

/* One element of a STRS: refused when empty, too long, or holding control characters. */
int conf_element_check(struct str text, struct err *e) NODISCARD;
void conf_strs_append(struct conf_strs *l, struct str text);

void conf_value_encode(const struct conf_key *key, const void *field, struct buf *out);
/* Takes one value from the front of *in; refuses what the bounds of the key refuse.
 * *field must be empty. */
int conf_value_decode(const struct conf_key *key, struct str *in, void *field,
                      struct err *e) NODISCARD;

/* A piece of outside text for an error message: escaped, cut, in double quotes. */
struct conf_shown {
    char s[96];
};
struct conf_shown conf_show(struct str text);

#endif
