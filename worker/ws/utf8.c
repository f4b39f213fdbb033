#include "worker/ws/utf8.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

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

static size_t ascii_bytes(const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] < 0x80)
        i++;
    return i;
}

static size_t ascii_words(const uint8_t *p, size_t n)
{
    size_t i = 0;
    uint64_t word;
    for (; n - i >= 8; i += 8) {
        memcpy(&word, p + i, 8);
        if (word & HIGHS)
            break;
    }
    return i + ascii_bytes(p + i, n - i);
}

#if defined(__x86_64__)
static size_t ascii_sse2(const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        int bits = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(p + i)));
        if (bits)
            return i + (size_t)__builtin_ctz((unsigned)bits);
    }
    return i + ascii_words(p + i, n - i);
}

__attribute__((target("avx2"))) static inline __m256i load_32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

__attribute__((target("avx2"))) static size_t ascii_avx2(const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; n - i >= 128; i += 128) {
        __m256i first = _mm256_or_si256(load_32(p + i), load_32(p + i + 32));
        __m256i second = _mm256_or_si256(load_32(p + i + 64), load_32(p + i + 96));
        if (_mm256_movemask_epi8(_mm256_or_si256(first, second)))
            break;
    }
    for (; n - i >= 32; i += 32) {
        unsigned bits = (unsigned)_mm256_movemask_epi8(load_32(p + i));
        if (bits)
            return i + (size_t)__builtin_ctz(bits);
    }
    return i + ascii_words(p + i, n - i);
}

#elif defined(__aarch64__)
static size_t ascii_neon(const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (n - i >= 16 && vmaxvq_u8(vld1q_u8(p + i)) < 0x80)
        i += 16;
    return i + ascii_words(p + i, n - i);
}
#endif

size_t utf8_ways(const struct utf8_way **out)
{
    static const struct utf8_way ways[] = {
#if defined(__x86_64__)
        {"avx2", ascii_avx2},
        {"sse2", ascii_sse2},
#elif defined(__aarch64__)
        {"neon", ascii_neon},
#endif
        {"words", ascii_words},
        {"bytes", ascii_bytes},
    };
    size_t first = 0;
#if defined(__x86_64__)
    first = __builtin_cpu_supports("avx2") ? 0 : 1;
#endif
    *out = ways + first;
    return ARRAY_LEN(ways) - first;
}

static size_t (*ascii_best)(const uint8_t *p, size_t n);

static void choose(void)
{
    const struct utf8_way *ways;
    utf8_ways(&ways);
    ascii_best = ways[0].ascii;
}

/* Blanks and digits between other letters are not worth a jump. */
static inline size_t ascii_run(const uint8_t *p, size_t n)
{
    if (n < 16 || p[1] >= 0x80)
        return 1;
    return ascii_best(p, n);
}

uint8_t utf8_feed(uint8_t state, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t i = 0;
    if (UNLIKELY(!ascii_best))
        choose();
    if (state >= ARRAY_LEN(inner))
        return UTF8_BAD;
    while (i < n && state != UTF8_BAD) {
        if (state != UTF8_START)
            state = go_on(state, p[i++]);
        else if (p[i] < 0x80)
            i += ascii_run(p + i, n - i);
        else
            state = begin(p[i++]);
    }
    return state;
}
