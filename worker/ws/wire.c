#include "worker/ws/wire.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

static bool is_control(uint8_t opcode)
{
    return opcode & 8;
}

static bool is_reserved(uint8_t opcode)
{
    return (opcode & 7) > WIRE_BINARY;
}

/* RFC 6455 §5.2, §5.5. An extension's bit belongs to the first frame of a message alone:
 * RFC 7692 §6 forbids it in control and continuation frames. */
static enum wire_verdict parse_first(uint8_t b, uint8_t allowed_rsv,
                                     struct wire_header *h)
{
    h->fin = b >> 7;
    h->rsv = b >> 4 & 7;
    h->opcode = b & 15;
    if (is_reserved(h->opcode))
        return WIRE_OPCODE;
    if (is_control(h->opcode) || h->opcode == WIRE_CONTINUATION)
        allowed_rsv = 0;
    if (h->rsv & ~allowed_rsv)
        return WIRE_RSV;
    return is_control(h->opcode) && !h->fin ? WIRE_CONTROL_SPLIT : WIRE_OK;
}

static enum wire_verdict parse_second(uint8_t b, struct wire_header *h)
{
    h->masked = b >> 7;
    h->length = b & 127;
    if (!h->masked)
        return WIRE_UNMASKED;
    return is_control(h->opcode) && h->length > 125 ? WIRE_CONTROL_LONG : WIRE_OK;
}

/* The `size` bytes of a long length, of which n are there. Too small for its form shows
 * before its end: 16 bits below 126, 64 bits whose upper 48 are zero. */
static enum wire_verdict parse_length(const uint8_t *p, size_t n, size_t size,
                                      struct wire_header *h)
{
    uint64_t length = 0;
    for (size_t i = 0; i < MIN(n, size); i++)
        length = length << 8 | p[i];
    if (size == 8 && n > 0 && p[0] & 0x80)
        return WIRE_LENGTH;
    if (size == 8 && n >= 6 && length >> 8 * (MIN(n, 8) - 6) == 0)
        return WIRE_LENGTH;
    if (n < size)
        return WIRE_MORE;
    if (size == 2 && length < 126)
        return WIRE_LENGTH;
    h->length = length;
    return WIRE_OK;
}

enum wire_verdict wire_parse(const uint8_t *p, size_t n, uint8_t allowed_rsv,
                             struct wire_header *out)
{
    struct wire_header h = {.size = 2};
    if (n < 1)
        return WIRE_MORE;
    enum wire_verdict v = parse_first(p[0], allowed_rsv, &h);
    if (v != WIRE_OK || n < 2)
        return v != WIRE_OK ? v : WIRE_MORE;
    if ((v = parse_second(p[1], &h)) != WIRE_OK)
        return v;
    if (h.length > 125) {
        size_t long_size = h.length == 126 ? 2 : 8;
        if ((v = parse_length(p + 2, n - 2, long_size, &h)) != WIRE_OK)
            return v;
        h.size += long_size;
    }
    if (n < h.size + sizeof(h.mask))
        return WIRE_MORE;
    memcpy(h.mask, p + h.size, sizeof(h.mask));
    h.size += sizeof(h.mask);
    *out = h;
    return WIRE_OK;
}

const char *wire_fault(enum wire_verdict v)
{
    switch (v) {
    case WIRE_OK:
    case WIRE_MORE:
        break;
    case WIRE_RSV:
        return "A reserved bit is set where no extension that was agreed on uses it";
    case WIRE_OPCODE:
        return "The frame has a reserved opcode";
    case WIRE_UNMASKED:
        return "The frame is not masked; a client must mask every frame";
    case WIRE_LENGTH:
        return "The frame's length is not in its shortest form, or has its top bit set";
    case WIRE_CONTROL_LONG:
        return "The control frame is longer than 125 bytes";
    case WIRE_CONTROL_SPLIT:
        return "The control frame is fragmented";
    }
    return "The frame has no fault";
}

static void xor_bytes(uint8_t *p, size_t n, uint32_t mask)
{
    uint8_t m[4];
    memcpy(m, &mask, sizeof(m));
    for (size_t i = 0; i < n; i++)
        p[i] ^= m[i % 4];
}

static void xor_words(uint8_t *p, size_t n, uint32_t mask)
{
    uint64_t word, wide = (uint64_t)mask << 32 | mask;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        word ^= wide;
        memcpy(p, &word, 8);
    }
    xor_bytes(p, n, mask);
}

#if defined(__x86_64__)
static void xor_sse2(uint8_t *p, size_t n, uint32_t mask)
{
    __m128i wide = _mm_set1_epi32((int)mask);
    for (; n >= 16; p += 16, n -= 16)
        _mm_storeu_si128((__m128i *)p,
                         _mm_xor_si128(_mm_loadu_si128((__m128i *)p), wide));
    xor_words(p, n, mask);
}

__attribute__((target("avx2"))) static inline void xor_32(uint8_t *p, __m256i wide)
{
    _mm256_storeu_si256((__m256i *)p,
                        _mm256_xor_si256(_mm256_loadu_si256((__m256i *)p), wide));
}

__attribute__((target("avx2"))) static void xor_avx2(uint8_t *p, size_t n, uint32_t mask)
{
    __m256i wide = _mm256_set1_epi32((int)mask);
    for (; n >= 128; p += 128, n -= 128) {
        xor_32(p, wide);
        xor_32(p + 32, wide);
        xor_32(p + 64, wide);
        xor_32(p + 96, wide);
    }
    for (; n >= 32; p += 32, n -= 32)
        xor_32(p, wide);
    _mm256_zeroupper(); /* gcc forgets it before a tail call; SSE code elsewhere pays for
                           it */
    xor_words(p, n, mask);
}

#elif defined(__aarch64__)
static void xor_neon(uint8_t *p, size_t n, uint32_t mask)
{
    uint8x16_t wide = vreinterpretq_u8_u32(vdupq_n_u32(mask));
    for (; n >= 16; p += 16, n -= 16)
        vst1q_u8(p, veorq_u8(vld1q_u8(p), wide));
    xor_words(p, n, mask);
}
#endif

size_t wire_ways(const struct wire_way **out)
{
    static const struct wire_way ways[] = {
#if defined(__x86_64__)
        {"avx2", xor_avx2},
        {"sse2", xor_sse2},
#elif defined(__aarch64__)
        {"neon", xor_neon},
#endif
        {"words", xor_words},
        {"bytes", xor_bytes},
    };
    size_t first = 0;
#if defined(__x86_64__)
    first = __builtin_cpu_supports("avx2") ? 0 : 1;
#endif
    *out = ways + first;
    return ARRAY_LEN(ways) - first;
}

static void (*unmask_best)(uint8_t *p, size_t n, uint32_t mask);

static void choose(void)
{
    const struct wire_way *ways;
    wire_ways(&ways);
    unmask_best = ways[0].unmask;
}

void wire_unmask(void *p, size_t n, const uint8_t mask[4], uint64_t offset)
{
    uint8_t turned[4];
    uint32_t m;
    for (size_t i = 0; i < 4; i++)
        turned[i] = mask[(offset + i) % 4];
    memcpy(&m, turned, sizeof(m));
    if (UNLIKELY(!unmask_best))
        choose();
    if (n < 32)
        xor_words(p, n, m); /* a short one is not worth the jump */
    else
        unmask_best(p, n, m);
}

/* 1004–1006 and 1015 are never sent, 1016–2999 are reserved, below 1000 and from 5000
 * there is nothing; 1012–1014 are registered with IANA. */
bool wire_close_code_ok(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
