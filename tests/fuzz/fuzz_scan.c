// floors: common net ws
/* scan against itself (judged once, walked again) and against json-c where both must
 * agree. */
#include "common/scan.h"
#include "common/skip.h"
#include "common/utf8.h"

#include <json-c/json.h>
#include <regex.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ── any text: the walkers must end, within the text ── */

static void walk_anything(struct str text)
{
    struct scan_value name, v;
    struct scan_member m[] = {{"event"}, {"data"}};
    struct buf scratch = {0};
    size_t steps = 0;
    for (size_t pos = 0; scan_next(text, &pos, &v); steps++) {
        BUG_ON(pos > text.n || v.raw.p < text.p || v.raw.p + v.raw.n > text.p + text.n);
        scan_string(&v, &scratch);
        scan_string_is(&v, "event");
        scan_is_truthy(&v);
    }
    for (size_t pos = 0; scan_next_member(text, &pos, &name, &v); steps++)
        BUG_ON(pos > text.n || name.type != SCAN_STRING);
    BUG_ON(steps > text.n);
    scan_object(text, m, ARRAY_LEN(m));
    scan_value_of(text);
    scan_utf16_length(text);
    buf_free(&scratch);
}

/* ── how far a string goes: the way of this machine and the portable ones, from
 * everywhere ── */

static void check_skip(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += 1 + i / 8) {
        unsigned beyond[3] = {0};
        const uint8_t *far = skip_bytes(p + i, p + n, &beyond[0]);
        BUG_ON(skip_words(p + i, p + n, &beyond[1]) != far);
        BUG_ON(skip_ordinary(p + i, p + n, &beyond[2]) != far);
        BUG_ON(beyond[0] && !(beyond[1] && beyond[2]));
    }
}

/* ── good text: what is found on the way and what is found by walking are the same, and
 * each part is good itself ── */

static bool same(const struct scan_value *a, const struct scan_value *b)
{
    return a->type == b->type && a->plain == b->plain && a->raw.p == b->raw.p &&
           a->raw.n == b->raw.n;
}

static void check_string(const struct scan_value *v)
{
    struct buf scratch = {0};
    if (v->type == SCAN_STRING) {
        struct str text = scan_string(v, &scratch);
        BUG_ON(!utf8_ok(text.p, text.n));
        BUG_ON(v->plain != !memchr(v->raw.p, '\\', v->raw.n));
        char *c = strndup(text.p, text.n);
        BUG_ON(strlen(c) == text.n && !scan_string_is(v, c));
        free(c);
    }
    buf_free(&scratch);
}

static void check_part(const struct scan_value *v)
{
    struct scan_value again = scan_value_of(v->raw);
    BUG_ON(scan_text(v->raw, NULL, 0) != v->type);
    BUG_ON(!same(v, &again));
    check_string(v);
}

static void check_parts(struct str good, enum scan_type type)
{
    struct scan_member judged[] = {{"event"}, {"data"}, {"id"}, {""}},
                       walked[] = {{"event"}, {"data"}, {"id"}, {""}};
    struct scan_value name, v;
    size_t seen = 0;
    BUG_ON(scan_value_of(good).type != type);
    if (type == SCAN_ARRAY)
        for (size_t pos = 0; scan_next(good, &pos, &v);)
            check_part(&v);
    if (type != SCAN_OBJECT)
        return;
    scan_text(good, judged, ARRAY_LEN(judged));
    BUG_ON(scan_object(good, walked, ARRAY_LEN(walked)) != SCAN_OBJECT);
    for (size_t pos = 0; scan_next_member(good, &pos, &name, &v);) {
        check_part(&name);
        check_part(&v);
        seen += scan_string_is(&name, "event");
    }
    BUG_ON(judged[0].seen != seen);
    for (size_t i = 0; i < ARRAY_LEN(judged); i++)
        BUG_ON(judged[i].seen != walked[i].seen ||
               !same(&judged[i].value, &walked[i].value));
}

/* ── json-c ── */

static bool json_c_takes(struct str text, struct json_object **out)
{
    struct json_tokener *t = json_tokener_new_ex(SCAN_DEPTH + 1);
    char *copy = strndup(text.p, text.n); /* ends what may go on, such as a number */
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    *out = json_tokener_parse_ex(t, copy, (int)text.n + 1);
    bool ok = json_tokener_get_error(t) == json_tokener_success &&
              json_tokener_get_parse_end(t) >= text.n;
    json_tokener_free(t);
    free(copy);
    return ok;
}

/* json-c counts depth in another way at the limit. Brackets in strings are counted too:
 * it does no harm. */
static bool is_deep(struct str text)
{
    int depth = 0, deepest = 0;
    for (size_t i = 0; i < text.n; i++) {
        depth += (text.p[i] == '[' || text.p[i] == '{') -
                 (text.p[i] == ']' || text.p[i] == '}');
        deepest = MAX(depth, deepest);
    }
    return deepest >= SCAN_DEPTH;
}

/* Strict or not, json-c passes single quotes, odd numbers, NaN, Infinity, raw control
 * characters, overlong UTF-8 and surrogates. */
static bool is_known_difference(struct str text)
{
    static regex_t number;
    static bool ready;
    if (!ready)
        BUG_ON(regcomp(&number, "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?$",
                       REG_EXTENDED | REG_NOSUB));
    ready = true;
    if (!utf8_ok(text.p, text.n) || is_deep(text))
        return true;
    for (size_t i = 0; i < text.n; i++) {
        char run[512];
        size_t n = 0;
        if ((uint8_t)text.p[i] < 0x20 || strchr("'NI", text.p[i]))
            return true;
        if (!strchr("0123456789+-.", text.p[i]))
            continue;
        for (; i < text.n && text.p[i] && strchr("0123456789+-.eE", text.p[i]); i++) {
            if (n == sizeof(run) - 1)
                return true;
            run[n++] = text.p[i];
        }
        run[n] = '\0';
        if (regexec(&number, run, 0, NULL, 0) != 0)
            return true;
        i--;
    }
    return false;
}

static void check_same_text(struct str text, struct json_object *o)
{
    struct scan_value v = scan_value_of(text);
    struct buf scratch = {0};
    if (v.type == SCAN_STRING &&
        !memmem(text.p, text.n, "\\u", 2)) { /* json-c reads lone surrogates otherwise */
        struct str s = scan_string(&v, &scratch);
        BUG_ON(s.n != (size_t)json_object_get_string_len(o) ||
               memcmp(s.p, json_object_get_string(o), s.n) != 0);
    }
    buf_free(&scratch);
}

static void compare(struct str text, enum scan_type type)
{
    struct json_object *o = NULL;
    bool takes = json_c_takes(text, &o);
    BUG_ON(type != SCAN_BAD && !(takes && utf8_ok(text.p, text.n)));
    BUG_ON(type == SCAN_BAD && takes && !is_known_difference(text));
    if (type != SCAN_BAD)
        check_same_text(text, o);
    json_object_put(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    enum scan_type type = scan_text(text, NULL, 0);
    walk_anything(text);
    check_skip(data, size);
    if (type != SCAN_BAD)
        check_parts(text, type);
    if (size < 100000)
        compare(text, type);
    return 0;
}
