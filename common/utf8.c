#include "common/utf8.h"

#define HIGHS UINT64_C(0x8080808080808080)

/* What the next byte must be. After four first bytes the range is narrower, which shuts
 * out overlong forms (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4): RFC
 * 3629 §4. */
enum { ONE_MORE = 1, TWO_MORE, THREE_MORE, AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4 };

static const struct {
    uint8_t low, high, next;
} inner[] = {
    [ONE_MORE] = {0x80, 0xBF, UTF8_START}, [TWO_MORE] = {0x80, 0xBF, ONE_MORE},
    [THREE_MORE] = {0x80, 0xBF, TWO_MORE}, [AFTER_E0] = {0xA0, 0xBF, ONE_MORE},
    [AFTER_ED] = {0x80, 0x9F, ONE_MORE},   [AFTER_F0] = {0x90, 0xBF, TWO_MORE},
    [AFTER_F4] = {0x80, 0x8F, TWO_MORE},
};

static inline uint8_t begin(uint8_t b)
{
    if (b < 0x80)
        return UTF8_START;
    if (b < 0xC2)
        return UTF8_BAD;
    if (b < 0xE0)
        return ONE_MORE;
    if (b < 0xF0)
        return b == 0xE0 ? AFTER_E0 : b == 0xED ? AFTER_ED : TWO_MORE;
    if (b > 0xF4)
        return UTF8_BAD;
    return b == 0xF0 ? AFTER_F0 : b == 0xF4 ? AFTER_F4 : THREE_MORE;
}

static inline uint8_t go_on(uint8_t state, uint8_t b)
{
    return b >= inner[state].low && b <= inner[state].high ? inner[state].next : UTF8_BAD;
}

/* ---- many bytes at once ---- */

#if defined(__SSE2__) || defined(__ARM_NEON)
#define WAY(name) name##_16
#define BYTES 16
#define TARGET
#include "common/utf8_blocks.h"
#endif

#if defined(__x86_64__)
#define WAY(name) name##_32
#define BYTES 32
#define TARGET __attribute__((target("avx2")))
#include "common/utf8_blocks.h"
#endif

/* Without vectors nothing is gained by looking ahead. */
static size_t right_none(const uint8_t *p UNUSED, size_t n UNUSED)
{
    return 3;
}

size_t utf8_ways(const struct utf8_way **out)
{
    static const struct utf8_way ways[] = {
#if defined(__x86_64__)
        {"avx2", right_32},
#endif
#if defined(__SSE2__)
        {"sse2", right_16},
#elif defined(__ARM_NEON)
        {"neon", right_16},
#endif
        {"bytes", right_none},
    };
    size_t first = 0;
#if defined(__x86_64__)
    first = __builtin_cpu_supports("avx2") ? 0 : 1;
#endif
    *out = ways + first;
    return ARRAY_LEN(ways) - first;
}

/* ---- one after the other ---- */

static size_t ascii_words(const uint8_t *p, size_t n)
{
    size_t i = 0;
    uint64_t word;
    for (; n - i >= 8; i += 8) {
        memcpy(&word, p + i, 8);
        if (word & HIGHS)
            break;
    }
    while (i < n && p[i] < 0x80)
        i++;
    return i;
}

static uint8_t feed_bytes(uint8_t state, const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n && state != UTF8_BAD) {
        if (state != UTF8_START)
            state = go_on(state, p[i++]);
        else if (p[i] < 0x80)
            i += ascii_words(p + i, n - i);
        else
            state = begin(p[i++]);
    }
    return state;
}

/* Where the character starts that the i right bytes end with. */
static size_t last_start(const uint8_t *p, size_t i)
{
    while (i > 0 && (p[i - 1] & 0xC0) == 0x80)
        i--;
    return i > 0 && p[i - 1] >= 0xC0 ? i - 1 : i;
}

uint8_t utf8_feed_way(const struct utf8_way *way, uint8_t state, const void *data,
                      size_t n)
{
    const uint8_t *p = data;
    if (state >= ARRAY_LEN(inner))
        return UTF8_BAD;
    if (n < 19) /* the smallest vector and what is before it */
        return feed_bytes(state, p, n);
    state = feed_bytes(state, p, 3);
    if (state == UTF8_BAD)
        return state;
    size_t i = way->right(p, n);
    if (i > 3) {
        i = last_start(p, i);
        state = UTF8_START;
    }
    return feed_bytes(state, p + i, n - i);
}

uint8_t utf8_feed(uint8_t state, const void *data, size_t n)
{
    static const struct utf8_way *best;
    if (UNLIKELY(!best))
        utf8_ways(&best);
    return utf8_feed_way(best, state, data, n);
}
