/* utf8_blocks: the half of utf8.c that looks at many bytes at once. Included once for
 * each width of vectors, with WAY(name) for the names of this one, BYTES, how many a
 * vector has, and TARGET, what the machine must be. Owns nothing; reads p[0] … p[n - 1]
 * only.
 *
 * Signed bytes: those beyond ASCII are negative, and x86 compares signed ones only. What
 * a vector accuses is said by the highest bit of each byte; the others may be anything.
 */

typedef int8_t WAY(vector) __attribute__((vector_size(BYTES), aligned(1), may_alias));
typedef uint64_t WAY(words) __attribute__((vector_size(BYTES)));

#define AT(p) (*(const WAY(vector) *)(p))
#define B(byte) ((int8_t)(byte))

TARGET static inline bool WAY(has_high)(const WAY(vector) * v)
{
    WAY(words) w = (WAY(words)) * v;
    return ((w[0] | w[1] | w[BYTES / 16] | w[BYTES / 8 - 1]) & HIGHS) != 0;
}

/* Adds what cannot stand behind what is before it. The three bytes before say which bytes
 * have to go on with a character; then there are the first bytes that no character has,
 * and second ones too low or too high for their first (see `inner`). */
TARGET static inline void WAY(add_faults)(WAY(vector) * bad, const uint8_t *p)
{
    WAY(vector) v = AT(p), first = AT(p - 1), two = AT(p - 2), three = AT(p - 3);
    WAY(vector)
    goes_on = (first & (first >= B(0xC0))) | (two & (two >= B(0xE0))) |
              (three & (three >= B(0xF0)));
    WAY(vector) low = v < B(0xA0), lowest = v < B(0x90);
    *bad |= goes_on ^ (v < B(0xC0));
    *bad |= ((v & B(0xFE)) == B(0xC0)) | (v & (v > B(0xF4)));
    *bad |= ((first == B(0xE0)) & low) | ((first == B(0xED)) & ~low);
    *bad |= ((first == B(0xF0)) & lowest) | ((first == B(0xF4)) & ~lowest);
}

TARGET static inline bool WAY(one_is_right)(const uint8_t *p)
{
    WAY(vector) bad = AT(p - 3) | AT(p);
    if (!WAY(has_high)(&bad))
        return true; /* all is ASCII */
    bad = (WAY(vector)){0};
    WAY(add_faults)(&bad, p);
    return !WAY(has_high)(&bad);
}

TARGET static inline bool WAY(four_are_right)(const uint8_t *p)
{
    const uint8_t *q = p + 2 * BYTES;
    WAY(vector) bad = AT(p - 3) | AT(p) | AT(p + BYTES) | AT(q) | AT(q + BYTES);
    if (!WAY(has_high)(&bad))
        return true;
    bad = (WAY(vector)){0};
    WAY(add_faults)(&bad, p);
    WAY(add_faults)(&bad, p + BYTES);
    WAY(add_faults)(&bad, q);
    WAY(add_faults)(&bad, q + BYTES);
    return !WAY(has_high)(&bad);
}

/* p[0] … p[2] are right: how far it surely goes on so. The last vector overlaps the one
 * before, so that nothing is left over. */
TARGET static size_t WAY(right)(const uint8_t *p, size_t n)
{
    size_t i = 3;
    if (n < 3 + BYTES)
        return i;
    for (; n - i >= 4 * BYTES; i += 4 * BYTES)
        if (!WAY(four_are_right)(p + i))
            return i;
    for (; n - i >= BYTES; i += BYTES)
        if (!WAY(one_is_right)(p + i))
            return i;
    return n > i && WAY(one_is_right)(p + n - BYTES) ? n : i;
}

#undef AT
#undef B
#undef WAY
#undef BYTES
#undef TARGET
