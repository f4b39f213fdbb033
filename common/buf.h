/* buf: owned, growable bytes. Owns its memory; aborts when memory is out.
 * Never shrinks by itself; buf_free gives everything back. A zeroed struct is an empty
 * buf. */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include "common/str.h"

struct buf {
    char *p;
    size_t n, cap;
};

void buf_free(struct buf *b); /* leaves an empty buf; NULL is fine */
static inline void buf_clear(struct buf *b)
{
    b->n = 0;
}
char *
buf_reserve(struct buf *b,
            size_t more); /* room for `more` bytes behind n; returns where they go */
void buf_put(struct buf *b, const void *p, size_t n);
static inline void buf_str(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.n);
}
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
const char *buf_cstr(
    struct buf *b); /* NUL-terminated (not counted in n); valid until the next change */
void buf_drop(struct buf *b, size_t n); /* removes n bytes from the front */
static inline struct str buf_view(const struct buf *b)
{
    return (struct str){b->p, b->n};
}
/* A JSON string with its quotes: control characters, '"' and '\' escaped, the rest raw
 * (input is UTF-8). */
void buf_json(struct buf *b, struct str s);
/* For logs and terminals: printable ASCII and valid UTF-8 letters as they are, everything
 * else as \xNN or \n, \r, \t; cut after max bytes of output with "…". */
void buf_escape(struct buf *b, struct str s, size_t max);
void buf_base64(struct buf *b, struct str s); /* standard alphabet, padded */
/* Strict: length a multiple of 4, no other characters, spare bits zero (one text for each
 * value). Returns -1 for anything else (b unchanged). */
int buf_unbase64(struct buf *b, struct str s) NODISCARD;
int buf_unbase64url(struct buf *b, struct str s) NODISCARD; /* RFC 7515: no padding */
void buf_hex(struct buf *b, const void *p, size_t n);       /* lower case */

#endif
