#include "worker/http/body.h"

/* More digits than any allowed size needs: leading zeros are no way to talk for ever. */
#define DIGITS_MAX 8

enum body_state {
    BODY_LENGTH,    /* content of known length */
    BODY_SIZE,      /* the digits of a chunk's size */
    BODY_EXTENSION, /* behind them, up to CR */
    BODY_SIZE_LF,
    BODY_DATA,
    BODY_DATA_CR,
    BODY_DATA_LF,
    BODY_FIELD_START, /* of a line of the trailer */
    BODY_FIELD,
    BODY_FIELD_LF,
    BODY_LAST_LF,
    BODY_END,
};

enum body_verdict body_init(struct body *b, const struct request *r, size_t max)
{
    *b = (struct body){.max = max, .left = r->content_length};
    if (r->is_chunked)
        b->state = BODY_SIZE;
    else if (r->content_length == 0)
        b->state = BODY_END;
    if (b->left > max)
        return BODY_TOO_LARGE;
    return b->state == BODY_END ? BODY_DONE : BODY_MORE;
}

static enum body_verdict bad(const char **why, const char *words)
{
    *why = words;
    return BODY_BAD;
}

static enum body_verdict go(struct body *b, enum body_state to)
{
    b->state = (uint8_t)to;
    return BODY_MORE;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_text(char c)
{
    return (uint8_t)c >= ' ' ? c != 0x7F : c == '\t';
}

static enum body_verdict take_size(struct body *b, char c, const char **why)
{
    int digit = hex_value(c);
    if (digit >= 0 && b->digits == DIGITS_MAX)
        return b->left > b->max ? BODY_TOO_LARGE
                                : bad(why, "A chunk's size has too many digits.");
    if (digit >= 0) {
        b->digits++;
        b->left = b->left << 4 | (unsigned)digit;
        return BODY_MORE;
    }
    if (b->digits == 0)
        return bad(why, "A chunk does not begin with its size in hexadecimal digits.");
    if (c == '\r')
        return go(b, BODY_SIZE_LF);
    if (c == ';' || c == ' ' || c == '\t')
        return go(b, BODY_EXTENSION);
    return bad(why, c == '\n' ? "A line ends with a bare LF; lines end with CR LF."
                              : "Something stands behind a chunk's size.");
}

static enum body_verdict take_extension(struct body *b, char c, const char **why)
{
    if (c == '\r')
        return go(b, BODY_SIZE_LF);
    return is_text(c) ? BODY_MORE
                      : bad(why, "A chunk extension holds a control character.");
}

/* The size is known. */
static enum body_verdict begin_chunk(struct body *b)
{
    b->digits = 0;
    b->line_n = 0;
    if (b->left > b->max - b->got)
        return BODY_TOO_LARGE;
    return go(b, b->left ? BODY_DATA : BODY_FIELD_START);
}

static enum body_verdict end_chunk(struct body *b)
{
    b->line_n = 0;
    return go(b, BODY_SIZE);
}

static enum body_verdict take_field(struct body *b, char c, const char **why)
{
    if (c == '\r')
        return go(b, b->state == BODY_FIELD_START ? BODY_LAST_LF : BODY_FIELD_LF);
    return is_text(c) ? go(b, BODY_FIELD)
                      : bad(why, "A trailer field holds a control character.");
}

static enum body_verdict take_lf(struct body *b, const char **why)
{
    switch (b->state) {
    case BODY_SIZE_LF:
        return begin_chunk(b);
    case BODY_DATA_LF:
        return end_chunk(b);
    case BODY_FIELD_LF:
        return go(b, BODY_FIELD_START);
    case BODY_LAST_LF:
        b->state = BODY_END;
        return BODY_DONE;
    default:
        return bad(why, "A LF stands where none belongs.");
    }
}

/* One byte of what is around the content. */
static enum body_verdict take(struct body *b, char c, const char **why)
{
    switch (b->state) {
    case BODY_SIZE:
        return take_size(b, c, why);
    case BODY_EXTENSION:
        return take_extension(b, c, why);
    case BODY_DATA_CR:
        return c == '\r' ? go(b, BODY_DATA_LF)
                         : bad(why, "A chunk is longer than its size says.");
    case BODY_FIELD_START:
    case BODY_FIELD:
        return take_field(b, c, why);
    default:
        return c == '\n' ? take_lf(b, why) : bad(why, "A CR is not followed by LF.");
    }
}

static enum body_verdict take_framing(struct body *b, char c, const char **why)
{
    bool is_trailer = b->state >= BODY_FIELD_START;
    if (++b->line_n > (is_trailer ? BODY_TRAILER_MAX : BODY_LINE_MAX))
        return bad(why, is_trailer ? "The trailer is too long."
                                   : "A chunk's first line is too long.");
    return take(b, c, why);
}

/* As much of the content as is there. */
static size_t take_content(struct body *b, struct str s, struct buf *out)
{
    size_t n = (size_t)MIN(b->left, s.n);
    buf_put(out, s.p, n);
    b->left -= n;
    b->got += n;
    return n;
}

enum body_verdict body_feed(struct body *b, struct str bytes, size_t *used,
                            struct buf *out, const char **why)
{
    enum body_verdict v = BODY_MORE;
    size_t i = 0;
    while (i < bytes.n && v == BODY_MORE) {
        if (b->state != BODY_LENGTH && b->state != BODY_DATA) {
            v = take_framing(b, bytes.p[i++], why);
            continue;
        }
        i += take_content(b, (struct str){bytes.p + i, bytes.n - i}, out);
        if (b->left > 0)
            continue;
        if (b->state == BODY_LENGTH)
            v = BODY_DONE;
        else
            b->state = BODY_DATA_CR;
    }
    *used = i;
    return v;
}
