#include "common/scan.h"

#include "common/mem.h"
#include "common/skip.h"
#include "common/utf8.h"

/* Where we are in a text. The bytes p … end are still unread. beyond: not zero if a
 * string may have held something beyond ASCII. */
struct cursor {
    const uint8_t *p, *end;
    unsigned beyond;
};

static struct cursor cursor_at(struct str s, size_t pos)
{
    const uint8_t *p = (const uint8_t *)(s.p ? s.p : "");
    return (struct cursor){p + MIN(pos, s.n), p + s.n, 0};
}

static struct str view(const uint8_t *from, const uint8_t *to)
{
    return (struct str){(const char *)from, (size_t)(to - from)};
}

static inline bool is_blank(uint8_t b)
{
    return b == ' ' || b == '\t' || b == '\n' || b == '\r';
}

static inline void skip_blank(struct cursor *c)
{
    while (c->p < c->end && *c->p <= ' ' && is_blank(*c->p))
        c->p++;
}

static inline bool is_digit(uint8_t b)
{
    return (uint8_t)(b - '0') < 10;
}

static bool take(struct cursor *c, char what)
{
    if (c->p == c->end || *c->p != (uint8_t)what)
        return false;
    c->p++;
    return true;
}

static int hex_value(uint8_t b)
{
    if (is_digit(b))
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* Four hex digits, or -1. */
static int hex_quad(const uint8_t *p, const uint8_t *end)
{
    int unit = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* What follows a backslash. Surrogates are not looked at: a lone one is legal (RFC 8259
 * §8.2). */
static bool judge_escape(struct cursor *c)
{
    if (c->p == c->end)
        return false;
    switch (*c->p++) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return true;
    case 'u':
        if (hex_quad(c->p, c->end) < 0)
            return false;
        c->p += 4;
        return true;
    default:
        return false;
    }
}

/* A string, its opening quote included. Whether it is UTF-8 is found out once for the
 * whole text. */
static bool judge_string(struct cursor *c, bool *plain)
{
    *plain = true;
    if (!take(c, '"'))
        return false;
    for (;;) {
        c->p = skip_ordinary(c->p, c->end, &c->beyond);
        if (c->p == c->end || *c->p < 0x20)
            return false;
        if (*c->p == '"')
            return c->p++, true;
        if (*c->p == '\\') {
            *plain = false;
            c->p++;
            if (!judge_escape(c))
                return false;
        }
    }
}

/* At least one. */
static bool judge_digits(struct cursor *c)
{
    const uint8_t *start = c->p;
    while (c->p < c->end && is_digit(*c->p))
        c->p++;
    return c->p != start;
}

static bool judge_number(struct cursor *c)
{
    take(c, '-');
    if (!take(c, '0') && !judge_digits(c))
        return false;
    if (take(c, '.') && !judge_digits(c))
        return false;
    if (take(c, 'e') || take(c, 'E')) {
        if (!take(c, '+'))
            take(c, '-');
        return judge_digits(c);
    }
    return true;
}

static bool judge_word(struct cursor *c, struct str word)
{
    if ((size_t)(c->end - c->p) < word.n || memcmp(c->p, word.p, word.n) != 0)
        return false;
    c->p += word.n;
    return true;
}

/* The type a value can only have, by its first byte. */
static enum scan_type type_of(uint8_t first)
{
    switch (first) {
    case '{':
        return SCAN_OBJECT;
    case '[':
        return SCAN_ARRAY;
    case '"':
        return SCAN_STRING;
    case 't':
        return SCAN_TRUE;
    case 'f':
        return SCAN_FALSE;
    case 'n':
        return SCAN_NULL;
    default:
        return first == '-' || is_digit(first) ? SCAN_NUMBER : SCAN_BAD;
    }
}

static bool judge_leaf(struct cursor *c, enum scan_type type, bool *plain)
{
    switch (type) {
    case SCAN_STRING:
        return judge_string(c, plain);
    case SCAN_NUMBER:
        return judge_number(c);
    case SCAN_TRUE:
        return judge_word(c, STR("true"));
    case SCAN_FALSE:
        return judge_word(c, STR("false"));
    case SCAN_NULL:
        return judge_word(c, STR("null"));
    default:
        return false;
    }
}

/* A member's name and its colon; the cursor ends where the value begins. */
static bool judge_name(struct cursor *c, struct scan_value *name)
{
    skip_blank(c);
    const uint8_t *start = c->p;
    name->type = SCAN_STRING;
    if (!judge_string(c, &name->plain))
        return false;
    name->raw = view(start, c->p);
    skip_blank(c);
    if (!take(c, ':'))
        return false;
    skip_blank(c);
    return true;
}

/* The open brackets, innermost in the lowest bit: 1 an object, 0 an array. */
struct brackets {
    uint64_t objects;
    unsigned depth;
};
_Static_assert(SCAN_DEPTH <= 64, "one bit for each open bracket");

static bool push(struct brackets *b, bool is_object)
{
    if (b->depth == SCAN_DEPTH)
        return false;
    b->objects = b->objects << 1 | is_object;
    b->depth++;
    return true;
}

static void pop(struct brackets *b)
{
    b->objects >>= 1;
    b->depth--;
}

/* Behind a value: closes what ends here. True: another value follows (its name is read),
 * or the outermost is closed. */
static bool judge_behind(struct cursor *c, struct brackets *b, unsigned outside)
{
    struct scan_value name;
    while (b->depth > outside) {
        bool in_object = b->objects & 1;
        skip_blank(c);
        if (take(c, ',')) {
            if (in_object)
                return judge_name(c, &name);
            skip_blank(c);
            return true;
        }
        if (!take(c, in_object ? '}' : ']'))
            return false;
        pop(b);
    }
    return true;
}

/* A value with everything in it, the cursor at its first byte. `outside`: brackets
 * already open around it. */
static bool judge_value(struct cursor *c, unsigned outside, struct scan_value *out)
{
    const uint8_t *start = c->p;
    struct brackets open = {0, outside};
    struct scan_value name;
    out->plain = false;
    out->type = c->p < c->end ? type_of(*c->p) : SCAN_BAD;
    do {
        enum scan_type type = c->p < c->end ? type_of(*c->p) : SCAN_BAD;
        if (type != SCAN_OBJECT && type != SCAN_ARRAY) {
            bool plain = false;
            if (!judge_leaf(c, type, &plain))
                return false;
            if (open.depth == outside)
                out->plain = plain;
        } else {
            c->p++;
            if (!push(&open, type == SCAN_OBJECT))
                return false;
            skip_blank(c);
            if (take(c, type == SCAN_OBJECT ? '}' : ']'))
                pop(&open);
            else if (type == SCAN_ARRAY || judge_name(c, &name))
                continue; /* its first value */
            else
                return false;
        }
        if (!judge_behind(c, &open, outside))
            return false;
    } while (open.depth > outside);
    out->raw = view(start, c->p);
    return true;
}

static void forget(struct scan_member *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        wanted[i].value = (struct scan_value){.type = SCAN_BAD};
        wanted[i].seen = 0;
    }
}

static void note(struct scan_member *wanted, size_t n, const struct scan_value *name,
                 const struct scan_value *value)
{
    for (size_t i = 0; i < n; i++)
        if (scan_string_is(name, wanted[i].name)) {
            wanted[i].value = *value;
            wanted[i].seen++;
        }
}

/* The outermost object, which shows its members on the way. */
static bool judge_object(struct cursor *c, struct scan_member *wanted, size_t n)
{
    struct scan_value name, value;
    c->p++;
    skip_blank(c);
    if (take(c, '}'))
        return true;
    do {
        if (!judge_name(c, &name) || !judge_value(c, 1, &value))
            return false;
        note(wanted, n, &name, &value);
        skip_blank(c);
    } while (take(c, ','));
    return take(c, '}');
}

enum scan_type scan_text(struct str text, struct scan_member *wanted, size_t n)
{
    struct cursor c = cursor_at(text, 0);
    struct scan_value whole = {.type = SCAN_OBJECT};
    forget(wanted, n);
    skip_blank(&c);
    bool is_object = c.p < c.end && *c.p == '{';
    bool good = is_object ? judge_object(&c, wanted, n) : judge_value(&c, 0, &whole);
    skip_blank(&c);
    if (good && c.p == c.end && (!c.beyond || utf8_ok(text.p, text.n)))
        return whole.type;
    forget(wanted, n);
    return SCAN_BAD;
}

/* ── below: texts that were judged; the ends are still watched, the syntax no more ── */

static void pass_string(struct cursor *c)
{
    c->p++;
    for (;;) {
        const uint8_t *quote = memchr(c->p, '"', (size_t)(c->end - c->p));
        const uint8_t *slash = quote ? quote : c->end;
        if (!quote) {
            c->p = c->end;
            return;
        }
        while (slash > c->p && slash[-1] == '\\')
            slash--;
        c->p = quote + 1;
        if ((quote - slash) % 2 == 0)
            return;
    }
}

static void pass_nest(struct cursor *c)
{
    unsigned depth = 0;
    while (c->p < c->end) {
        uint8_t b = *c->p;
        if (b == '"') {
            pass_string(c);
            continue;
        }
        c->p++;
        if (b == '{' || b == '[')
            depth++;
        else if ((b == '}' || b == ']') && --depth == 0)
            return;
    }
}

static void pass_word(struct cursor *c)
{
    while (c->p<c->end && * c->p> ' ' && *c->p != ',' && *c->p != ']' && *c->p != '}')
        c->p++;
}

/* The value at the cursor; false if there is none. */
static bool pass_value(struct cursor *c, struct scan_value *out)
{
    const uint8_t *start = c->p;
    *out = (struct scan_value){.type = c->p < c->end ? type_of(*c->p) : SCAN_BAD};
    if (out->type == SCAN_BAD)
        return false;
    if (out->type == SCAN_STRING)
        pass_string(c);
    else if (out->type == SCAN_OBJECT || out->type == SCAN_ARRAY)
        pass_nest(c);
    else
        pass_word(c);
    out->raw = view(start, c->p);
    out->plain = out->type == SCAN_STRING && !memchr(start, '\\', out->raw.n);
    return true;
}

struct scan_value scan_value_of(struct str good)
{
    struct cursor c = cursor_at(good, 0);
    struct scan_value v;
    skip_blank(&c);
    pass_value(&c, &v);
    return v;
}

/* To the next value or name inside brackets; false at their end. */
static bool pass_to_next(struct cursor *c, const struct str *s, size_t pos, char open)
{
    *c = cursor_at(*s, pos);
    skip_blank(c);
    if (!take(c, pos == 0 ? open : ',') && pos == 0)
        return false;
    skip_blank(c);
    return c->p < c->end;
}

static size_t offset_in(struct str s, const struct cursor *c)
{
    return s.n - (size_t)(c->end - c->p);
}

bool scan_next(struct str array, size_t *pos, struct scan_value *out)
{
    struct cursor c;
    bool more = pass_to_next(&c, &array, *pos, '[') && pass_value(&c, out);
    *pos = more ? offset_in(array, &c) : array.n;
    return more;
}

bool scan_next_member(struct str object, size_t *pos, struct scan_value *name,
                      struct scan_value *out)
{
    struct cursor c;
    bool more =
        pass_to_next(&c, &object, *pos, '{') && *c.p == '"' && pass_value(&c, name);
    if (more) {
        skip_blank(&c);
        more = take(&c, ':');
        skip_blank(&c);
        more = more && pass_value(&c, out);
    }
    *pos = more ? offset_in(object, &c) : object.n;
    return more;
}

enum scan_type scan_object(struct str object, struct scan_member *wanted, size_t n)
{
    struct scan_value name, value;
    size_t pos = 0;
    forget(wanted, n);
    while (scan_next_member(object, &pos, &name, &value))
        note(wanted, n, &name, &value);
    return scan_value_of(object).type;
}

static size_t put_utf8(uint32_t ch, char out[4])
{
    if (ch < 0x80) {
        out[0] = (char)ch;
        return 1;
    }
    size_t n = ch < 0x800 ? 2 : ch < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, ch >>= 6)
        out[i] = (char)(0x80 | (ch & 0x3F));
    out[0] = (char)((0xF00u >> n) | ch); /* n ones and a zero in front */
    return n;
}

/* A \u escape, the cursor behind the u: two that make a pair count as one, a lone half
 * becomes U+FFFD. */
static uint32_t read_unicode(struct cursor *c)
{
    int unit = hex_quad(c->p, c->end);
    c->p += MIN(4, c->end - c->p);
    if (unit < 0xD800 || unit > 0xDFFF)
        return unit < 0 ? 0xFFFD : (uint32_t)unit;
    if (unit > 0xDBFF || c->end - c->p < 6 || c->p[0] != '\\' || c->p[1] != 'u')
        return 0xFFFD;
    int low = hex_quad(c->p + 2, c->end);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0xFFFD;
    c->p += 6;
    return 0x10000 + ((uint32_t)(unit - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
}

/* One byte of a string's inside, or what an escape stands for. The cursor is not at its
 * end. */
static size_t read_piece(struct cursor *c, char out[4])
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    uint8_t b = *c->p++;
    if (b == '\\' && c->p < c->end) {
        b = *c->p++;
        if (b == 'u')
            return put_utf8(read_unicode(c), out);
        const char *letter = memchr(letters, b, sizeof(letters) - 1);
        if (letter)
            b = (uint8_t)meanings[letter - letters];
    }
    out[0] = (char)b;
    return 1;
}

/* What stands between the quotes. */
static struct str inside(const struct scan_value *v)
{
    if (v->type != SCAN_STRING || v->raw.n < 2)
        return STR_NONE;
    return (struct str){v->raw.p + 1, v->raw.n - 2};
}

struct str scan_string(const struct scan_value *v, struct buf *scratch)
{
    struct str text = inside(v);
    struct cursor c = cursor_at(text, 0);
    if (v->plain || text.n == 0)
        return text;
    char *out = buf_reserve(scratch, text.n + 3); /* no escape is shorter than its text */
    size_t n = 0;
    while (c.p < c.end)
        n += read_piece(&c, out + n);
    scratch->n += n;
    return (struct str){out, n};
}

bool scan_string_is(const struct scan_value *v, const char *text)
{
    struct str raw = inside(v), rest = str_of(text);
    struct cursor c = cursor_at(raw, 0);
    if (v->type != SCAN_STRING)
        return false;
    if (v->plain)
        return str_eq(raw, rest);
    while (c.p < c.end) {
        char piece[4];
        size_t n = read_piece(&c, piece);
        if (n > rest.n || memcmp(piece, rest.p, n) != 0)
            return false;
        rest = (struct str){rest.p + n, rest.n - n};
    }
    return rest.n == 0;
}

/* One unit for each character, two for those of four bytes. */
size_t scan_utf16_length(struct str utf8)
{
    size_t units = 0;
    for (size_t i = 0; i < utf8.n; i++) {
        uint8_t b = (uint8_t)utf8.p[i];
        units += ((b & 0xC0) != 0x80) + (b >= 0xF0);
    }
    return units;
}

/* Is it zero as a double? Without an exponent the digits tell, or there are too many to
 * see. */
static bool is_zero(struct str number)
{
    struct cursor c = cursor_at(number, 0);
    bool has_digit = false;
    while (c.p < c.end && (*c.p | 0x20) != 'e')
        has_digit |= (uint8_t)(*c.p++ - '1') < 9;
    if (!has_digit)
        return true;
    if (c.p == c.end && number.n < 300)
        return false;
    char *copy = str_dup(number); /* 1e-400 underflows */
    bool zero = strtod(copy, NULL) == 0;
    free(copy);
    return zero;
}

bool scan_is_truthy(const struct scan_value *v)
{
    switch (v->type) {
    case SCAN_NUMBER:
        return !is_zero(v->raw);
    case SCAN_STRING:
        return v->raw.n > 2;
    case SCAN_TRUE:
    case SCAN_ARRAY:
    case SCAN_OBJECT:
        return true;
    default:
        return false;
    }
}
