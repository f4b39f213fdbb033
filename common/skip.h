/* skip: how far the inside of a JSON string goes without a quote, a backslash or a
 * control character, many bytes at once. Owns nothing, reads nothing from `end` on, knows
 * no UTF-8.
 *
 * All ways come to the same; skip_ordinary is the one for this machine, the others are
 * there for tests. Each sets *beyond to other than zero when it passed a byte beyond
 * ASCII; it may also have seen one some bytes further on. */
#ifndef COMMON_SKIP_H
#define COMMON_SKIP_H

#include "common/base.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

static inline bool skip_is_special(uint8_t b)
{
    return b < 0x20 || b == '"' || b == '\\';
}

static inline const uint8_t *skip_bytes(const uint8_t *p, const uint8_t *end,
                                        unsigned *beyond)
{
    unsigned all = 0;
    for (; p < end && !skip_is_special(*p); p++)
        all |= *p;
    *beyond |= all & 0x80;
    return p;
}

#define SKIP_ONES UINT64_C(0x0101010101010101)
/* May report a byte too many (the borrow of a subtraction, a byte beyond ASCII in the
 * first two), never one too few: the bytes decide. */
static inline bool skip_has_special(uint64_t v)
{
    uint64_t quote = v ^ (SKIP_ONES * '"'), slash = v ^ (SKIP_ONES * '\\');
    uint64_t found = ((v - SKIP_ONES * 0x20) | (quote - SKIP_ONES) | (slash - SKIP_ONES));
    return (found & ~v & (SKIP_ONES << 7)) != 0;
}

static inline const uint8_t *skip_words(const uint8_t *p, const uint8_t *end,
                                        unsigned *beyond)
{
    uint64_t v, all = 0;
    for (; end - p >= 8; p += 8) {
        memcpy(&v, p, 8);
        if (skip_has_special(v))
            break;
        all |= v;
    }
    *beyond |= (all & SKIP_ONES << 7) != 0;
    return skip_bytes(p, end, beyond);
}

#if defined(__SSE2__)
/* Unsigned bytes are not compared, but their minimum is found. */
static inline const uint8_t *skip_sse2(const uint8_t *p, const uint8_t *end,
                                       unsigned *beyond)
{
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1F);
    __m128i all = _mm_setzero_si128();
    unsigned bits = 0;
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i found = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        all = _mm_or_si128(all, v);
        if ((bits = (unsigned)_mm_movemask_epi8(found)))
            break;
    }
    *beyond |= (unsigned)_mm_movemask_epi8(all);
    return bits ? p + __builtin_ctz(bits) : skip_bytes(p, end, beyond);
}
#define skip_ordinary skip_sse2

#elif defined(__aarch64__)
/* A shift that narrows makes four bits of each byte of `found`. */
static inline const uint8_t *skip_neon(const uint8_t *p, const uint8_t *end,
                                       unsigned *beyond)
{
    uint8x16_t all = vdupq_n_u8(0);
    uint64_t bits = 0;
    for (; end - p >= 16; p += 16) {
        uint8x16_t v = vld1q_u8(p);
        uint8x16_t found =
            vorrq_u8(vceqq_u8(v, vdupq_n_u8('"')), vceqq_u8(v, vdupq_n_u8('\\')));
        found = vorrq_u8(found, vcltq_u8(v, vdupq_n_u8(0x20)));
        all = vorrq_u8(all, v);
        bits = vget_lane_u64(
            vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(found), 4)), 0);
        if (bits)
            break;
    }
    *beyond |= vmaxvq_u8(all) & 0x80;
    return bits ? p + __builtin_ctzll(bits) / 4 : skip_bytes(p, end, beyond);
}
#define skip_ordinary skip_neon

#else
#define skip_ordinary skip_words
#endif

#endif
