/* utf8: incremental validation (RFC 3629: no overlong forms, no surrogates, nothing above
 * U+10FFFF). Owns nothing; the state is one byte of the caller's. Fails at the first byte
 * that cannot be right. */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include "common/base.h"

#define UTF8_START 0
#define UTF8_BAD 0xFF

/* Returns the new state: UTF8_START at a character's end, UTF8_BAD for good, anything
 * else inside a character. ASCII is fast. */
uint8_t utf8_feed(uint8_t state, const void *p, size_t n);
static inline bool utf8_ok(const void *p, size_t n)
{
    return utf8_feed(UTF8_START, p, n) == UTF8_START;
}

/* One way to look at many bytes at once; all come to the same. utf8_ways: those this
 * machine can go, best first; the first is in use. For tests. */
struct utf8_way {
    const char *name;
    size_t (*right)(const uint8_t *p, size_t n);
};
size_t utf8_ways(const struct utf8_way **out);
uint8_t utf8_feed_way(const struct utf8_way *way, uint8_t state, const void *p, size_t n);

#endif
