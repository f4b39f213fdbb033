#include "common/buf.h"

#include "common/mem.h"

#include <stdarg.h>

#define BUF_FLOOR 64
#define ELLIPSIS "\xe2\x80\xa6"

void buf_free(struct buf *b)
{
    if (!b)
        return;
    free(b->p);
    *b = (struct buf){0};
}

char *buf_reserve(struct buf *b, size_t more)
{
    BUG_ON(more > SIZE_MAX / 4 || b->n > SIZE_MAX / 4);
    size_t need = b->n + more;
    if (need > b->cap || !b->p) {
        size_t cap = MAX(b->cap * 2, (size_t)BUF_FLOOR);
        b->cap = MAX(cap, need);
        b->p = mem_resize(b->p, b->cap);
    }
    return b->p + b->n;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->n += n;
}

void buf_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->n++;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    buf_reserve(b, BUF_FLOOR);
    va_start(ap, fmt);
    int n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
    va_end(ap);
    BUG_ON(n < 0);
    if ((size_t)n >= b->cap - b->n) {
        buf_reserve(b, (size_t)n + 1);
        va_start(ap, fmt);
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    b->n += (size_t)n;
}

const char *buf_cstr(struct buf *b)
{
    *buf_reserve(b, 1) = '\0';
    return b->p;
}

void buf_drop(struct buf *b, size_t n)
{
    BUG_ON(n > b->n);
    if (n == 0)
        return;
    b->n -= n;
    memmove(b->p, b->p + n, b->n);
}

/* ---- JSON (RFC 8259 §7) ---- */

static char json_short_escape(unsigned char c)
{
    switch (c) {
    case '"':
        return '"';
    case '\\':
        return '\\';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static void json_escape(struct buf *b, unsigned char c)
{
    char letter = json_short_escape(c);
    if (letter) {
        buf_char(b, '\\');
        buf_char(b, letter);
    } else {
        buf_printf(b, "\\u%04x", c);
    }
}

void buf_json(struct buf *b, struct str s)
{
    size_t from = 0;
    buf_reserve(b, s.n + 2);
    buf_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (LIKELY(c >= 0x20 && c != '"' && c != '\\'))
            continue;
        buf_put(b, s.p + from, i - from);
        json_escape(b, c);
        from = i + 1;
    }
    if (s.n > from)
        buf_put(b, s.p + from, s.n - from);
    buf_char(b, '"');
}

/* ---- text for people ---- */

/* How many bytes of a well-formed character (RFC 3629) stand at p; 0: none. */
static size_t utf8_char(const unsigned char *p, size_t n, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80   ? 1
                 : p[0] < 0xc2 ? 0
                 : p[0] < 0xe0 ? 2
                 : p[0] < 0xf0 ? 3
                               : 4;
    if (len == 0 || p[0] > 0xf4 || len > n)
        return 0;
    *code = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (p[i] & 0x3f);
    }
    bool is_surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < least[len] || *code > 0x10ffff || is_surrogate ? 0 : len;
}

/* Characters that a terminal obeys or that hide or reorder their neighbours. */
static bool is_unfit_to_print(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0x00, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},        {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200f},   {0x2028, 0x202e},    {0x2060, 0x206f},
        {0xe000, 0xf8ff}, {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},    {0xfff0, 0xfffb},
        {0xfffe, 0xffff}, {0xe0000, 0xe0fff}, {0xf0000, 0x10ffff},
    };
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return true;
    return false;
}

/* Writes what stands for the first character of p into out (5 bytes); returns how long.
 */
static size_t escape_one(const unsigned char *p, size_t n, size_t *taken, char out[5])
{
    uint32_t code;
    *taken = utf8_char(p, n, &code);
    if (*taken && !is_unfit_to_print(code)) {
        memcpy(out, p, *taken);
        return *taken;
    }
    *taken = 1;
    const char *named = p[0] == '\n' ? "\\n" : p[0] == '\r' ? "\\r" : "\\t";
    if (p[0] == '\n' || p[0] == '\r' || p[0] == '\t') {
        memcpy(out, named, 2);
        return 2;
    }
    static const char digits[] = "0123456789abcdef";
    memcpy(out, (char[]){'\\', 'x', digits[p[0] >> 4], digits[p[0] & 15]}, 4);
    return 4;
}

void buf_escape(struct buf *b, struct str s, size_t max)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t start = b->n;
    for (size_t i = 0, taken; i < s.n; i += taken) {
        char one[5];
        size_t n = escape_one(p + i, s.n - i, &taken, one);
        if (b->n - start + n > max) {
            buf_put(b, ELLIPSIS, strlen(ELLIPSIS));
            return;
        }
        buf_put(b, one, n);
    }
}

/* ---- base64 (RFC 4648 §4, §5) and hex ---- */

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void buf_base64(struct buf *b, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    char *out = buf_reserve(b, (s.n + 2) / 3 * 4);
    for (size_t i = 0; i < s.n; i += 3) {
        size_t have = MIN(s.n - i, (size_t)3);
        uint32_t v = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (have > 2 ? p[i + 2] : 0u);
        *out++ = base64_digits[v >> 18];
        *out++ = base64_digits[v >> 12 & 63];
        *out++ = have > 1 ? base64_digits[v >> 6 & 63] : '=';
        *out++ = have > 2 ? base64_digits[v & 63] : '=';
    }
    b->n += (s.n + 2) / 3 * 4;
}

static int base64_value(char c, const char last_two[2])
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == last_two[0] ? 62 : c == last_two[1] ? 63 : -1;
}

/* Digits without padding. Spare bits of the last digit must be zero, so that every value
 * has exactly one text. */
static int decode_base64(struct buf *b, struct str s, const char last_two[2])
{
    if (s.n % 4 == 1)
        return -1;
    char *out = buf_reserve(b, s.n / 4 * 3 + 3);
    uint32_t bits = 0;
    size_t made = 0;
    unsigned held = 0;
    for (size_t i = 0; i < s.n; i++) {
        int v = base64_value(s.p[i], last_two);
        if (v < 0)
            return -1;
        bits = bits << 6 | (uint32_t)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[made++] = (char)(bits >> held & 0xff);
        }
    }
    if (bits & ((1u << held) - 1))
        return -1;
    b->n += made;
    return 0;
}

int buf_unbase64(struct buf *b, struct str s)
{
    if (s.n % 4 != 0)
        return -1;
    for (int i = 0; i < 2 && s.n && s.p[s.n - 1] == '='; i++)
        s.n--;
    return decode_base64(b, s, "+/");
}

int buf_unbase64url(struct buf *b, struct str s)
{
    return decode_base64(b, s, "-_");
}

void buf_hex(struct buf *b, const void *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = p;
    char *out = buf_reserve(b, n * 2);
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    b->n += n * 2;
}
