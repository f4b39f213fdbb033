// floors: common
#include "common/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The rule of RFC 3629 said another way: decode, then ask whether the shortest form of a
 * permitted code point stood there. Returns how many bytes of s are a valid character, 0
 * if none. */
static size_t naive_character(const uint8_t *s, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = s[0] < 0x80       ? 1
                  : s[0] >> 5 == 6  ? 2
                  : s[0] >> 4 == 14 ? 3
                  : s[0] >> 3 == 30 ? 4
                                    : 0;
    if (size <= 1 || size > n)
        return size == 1;
    uint32_t ch = s[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        ch = ch << 6 | (s[i] & 0x3F);
    }
    bool good = ch >= least[size] && ch <= 0x10FFFF && (ch < 0xD800 || ch > 0xDFFF);
    return good ? size : 0;
}

static bool naive_ok(const uint8_t *s, size_t n)
{
    for (size_t i = 0, size; i < n; i += size)
        if ((size = naive_character(s + i, n - i)) == 0)
            return false;
    return true;
}

/* Can something be put behind s to make it good? */
static bool naive_can_go_on(const uint8_t *s, size_t n)
{
    static const uint8_t tails[][3] = {
        {0x80, 0x80, 0x80}, {0x90, 0x80, 0x80}, {0xA0, 0x80, 0x80}};
    uint8_t t[16];
    if (naive_ok(s, n))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(tails); i++)
        for (size_t more = 1; more <= 3; more++) {
            memcpy(t, s, n);
            memcpy(t + n, tails[i], more);
            if (naive_ok(t, n + more))
                return true;
        }
    return false;
}

/* All texts of up to three bytes (the last from every kind of byte), and four-byte ones
 * from the edges. */
static void check(const uint8_t *s, size_t n)
{
    uint8_t state = utf8_feed(UTF8_START, s, n);
    bool same = (state == UTF8_START) == naive_ok(s, n);
    same = same && (state != UTF8_BAD) == naive_can_go_on(s, n);
    if (!same)
        fail_msg("%02x %02x %02x %02x, %zu bytes: state %u", s[0], s[1], s[2], s[3], n,
                 state);
}

static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
                                0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5,
                                0xF7, 0xF8, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF};

static void test_short_texts(void **state)
{
    (void)state;
    uint8_t s[4] = {0};
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            s[0] = (uint8_t)a;
            s[1] = (uint8_t)b;
            check(s, 1);
            check(s, 2);
            for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
                s[2] = edges[i];
                check(s, 3);
                for (size_t j = 0; a >= 0xE0 && j < ARRAY_LEN(edges); j++) {
                    s[3] = edges[j];
                    check(s, 4);
                }
            }
        }
}

static size_t put(uint32_t ch, size_t size, uint8_t *out)
{
    static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = size; i-- > 1; ch >>= 6)
        out[i] = (uint8_t)(0x80 | (ch & 0x3F));
    out[0] = (uint8_t)(leads[size] | ch);
    return size;
}

/* Every code point in every length it fits: only the shortest is right, and surrogates
 * and the region above never are. */
static void test_code_points(void **state)
{
    (void)state;
    uint8_t s[4];
    for (uint32_t ch = 0; ch < 0x200000; ch++) {
        size_t shortest = ch < 0x80 ? 1 : ch < 0x800 ? 2 : ch < 0x10000 ? 3 : 4;
        bool valid = ch <= 0x10FFFF && (ch < 0xD800 || ch > 0xDFFF);
        for (size_t size = shortest; size <= 4; size++) {
            put(ch, size, s);
            assert_int_equal(utf8_ok(s, size), valid && size == shortest);
        }
    }
}

static const struct {
    const char *text;
    bool ok;
} texts[] = {
    {"", true},
    {"Hello-\xC2\xB5@\xC3\x9F\xC3\xB6\xC3\xA4\xC3\xBC\xC3\xA0\xC3\xA1-UTF-8!!", true},
    {"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5", true},
    {"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80"
     "edited",
     false},
    {"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80"
     "edited",
     false},
    {"a long stretch of plain letters, then one \xE2\x82\xAC, and another long stretch "
     "behind it ...",
     true},
    {"a long stretch of plain letters, then one \xE2\x82, and another long stretch "
     "behind it .......",
     false},
    {"a long stretch of plain letters that ends inside a character \xF0\x9F\x98", false},
    {"\xF0\x9F\x98\x80\xF0\x9F\x98\x81\xF4\x8F\xBF\xBF\xEF\xBF\xBE", true},
    {"\xF8\x88\x80\x80\x80", false},
    {"\xFC\x84\x80\x80\x80\x80", false},
    {"\xFE", false},
    {"\xC3\xA9\xE9", false},
};

/* Cut into three parts at every pair of places: the verdict is the same. */
static void test_splits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        size_t n = strlen(texts[i].text);
        assert_int_equal(utf8_ok(texts[i].text, n), texts[i].ok);
        uint8_t whole = utf8_feed(UTF8_START, texts[i].text, n);
        for (size_t a = 0; a <= n; a++)
            for (size_t b = a; b <= n; b++) {
                uint8_t s = utf8_feed(UTF8_START, texts[i].text, a);
                s = utf8_feed(s, texts[i].text + a, b - a);
                s = utf8_feed(s, texts[i].text + b, n - b);
                assert_int_equal(s, whole);
            }
    }
    assert_true(utf8_ok(NULL, 0));
}

/* BAD is for good; a state that is none (from a broken hand-off) is BAD, not a crash. */
static void test_states(void **state)
{
    (void)state;
    assert_int_equal(utf8_feed(UTF8_BAD, "a", 1), UTF8_BAD);
    assert_int_equal(utf8_feed(UTF8_BAD, "", 0), UTF8_BAD);
    for (unsigned s = 8; s < 256; s++)
        assert_int_equal(utf8_feed((uint8_t)s, "\x80", 1), UTF8_BAD);
}

/* ---- ways: each against the one that takes byte by byte, which is tested above ---- */

static void check_ways(uint8_t state, const uint8_t *s, size_t n)
{
    const struct utf8_way *ways;
    size_t n_ways = utf8_ways(&ways);
    uint8_t want = utf8_feed_way(&ways[n_ways - 1], state, s, n);
    for (size_t w = 0; w < n_ways - 1; w++) {
        uint8_t got = utf8_feed_way(&ways[w], state, s, n);
        if (got != want)
            fail_msg("%s: %zu bytes from state %u: %u, not %u", ways[w].name, n, state,
                     got, want);
    }
    assert_int_equal(utf8_feed(state, s, n), want);
}

static void test_last_way_is_bytes(void **state)
{
    (void)state;
    static uint8_t s[300];
    const struct utf8_way *ways;
    size_t n_ways = utf8_ways(&ways);
    const struct utf8_way *bytes = &ways[n_ways - 1];
    assert_string_equal(bytes->name, "bytes");
    for (size_t n = 0; n <= sizeof(s); n++) {
        memset(s, 'x', n);
        assert_int_equal(utf8_feed_way(bytes, UTF8_START, s, n), UTF8_START);
        assert_true(n < 3 || bytes->right(s, n) == 3);
    }
}

/* Each way does look ahead: over good text it goes to the end. */
static void test_ways_go_far(void **state)
{
    (void)state;
    static uint8_t s[300];
    const struct utf8_way *ways;
    size_t n_ways = utf8_ways(&ways);
    for (size_t w = 0; w < n_ways - 1; w++)
        for (size_t n = 35; n <= sizeof(s); n++)
            for (unsigned first = 0; first < 3; first++) {
                for (size_t i = 0; i < n; i++) /* è…, or letters, then è… */
                    s[i] = (first * 40 > i) ? 'x' : (i - first * 40) % 2 ? 0xA8 : 0xC3;
                assert_int_equal(ways[w].right(s, n), n);
            }
}

/* Characters of every size one behind the other, from the one with this number on. */
static void fill(uint8_t *s, size_t n, size_t from)
{
    static const char *const characters[] = {"a",
                                             "\xC2\x80",
                                             "\xE0\xA0\x80",
                                             "z",
                                             "\xF0\x90\x80\x80",
                                             "\xDF\xBF",
                                             "b",
                                             "c",
                                             "\xED\x9F\xBF",
                                             "\xEE\x80\x80",
                                             "d",
                                             "e",
                                             "f",
                                             "g",
                                             "\xF4\x8F\xBF\xBF",
                                             "\xEF\xBF\xBF",
                                             "\xE1\x80\xBF",
                                             "h"};
    for (size_t i = 0; i < n; from++) {
        const char *c = characters[from % ARRAY_LEN(characters)];
        size_t size = MIN(strlen(c), n - i);
        memcpy(s + i, c, size);
        i += size;
    }
}

/* One byte wrong at every place of every length. The text fills its allocation: ASan sees
 * a look beyond either end. */
static void test_ways_every_place(void **state)
{
    (void)state;
    static const uint8_t wrong[] = {'a', 0x80, 0xBF, 0xC0, 0xE0, 0xED, 0xF4, 0xFF};
    for (size_t n = 1; n <= 200; n++) {
        uint8_t *s = malloc(n);
        fill(s, n, n);
        check_ways(UTF8_START, s, n);
        for (size_t at = 0; at < n; at++) {
            uint8_t was = s[at];
            for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
                s[at] = wrong[i];
                check_ways(UTF8_START, s, n);
            }
            s[at] = was;
        }
        free(s);
    }
}

/* From inside every character, at every alignment. */
static void test_ways_states(void **state)
{
    (void)state;
    static uint8_t room[300] __attribute__((aligned(64)));
    static const char *const rest[] = {"",         "\x80",         "\x80\x80",
                                       "\xA0\x80", "\x90\x80\x80", "\x80\x80\x80"};
    for (size_t align = 0; align < 64; align++)
        for (size_t r = 0; r < ARRAY_LEN(rest); r++) {
            size_t lead = strlen(rest[r]);
            memcpy(room + align, rest[r], lead);
            fill(room + align + lead, 200 - lead, align);
            for (unsigned s = 0; s < 9; s++)
                for (size_t n = 0; n <= 200; n++)
                    check_ways((uint8_t)s, room + align, n);
        }
}

/* Every four bytes from the edges, in the middle of letters, across the vectors' borders.
 */
static void test_ways_edges(void **state)
{
    (void)state;
    uint8_t s[80];
    size_t turn = 0;
    memset(s, 'x', sizeof(s));
    for (size_t a = 0; a < ARRAY_LEN(edges); a++)
        for (size_t b = 0; b < ARRAY_LEN(edges); b++)
            for (size_t c = 0; c < ARRAY_LEN(edges); c++)
                for (size_t d = 0; d < ARRAY_LEN(edges); d += 2) {
                    uint8_t *at = s + 10 + turn++ % 41;
                    uint8_t four[] = {edges[a], edges[b], edges[c], edges[d]};
                    memcpy(at, four, 4);
                    check_ways(UTF8_START, s, turn % 3 ? sizeof(s) : 67);
                    memset(at, 'x', 4);
                }
}

static void test_long_texts(void **state)
{
    (void)state;
    static uint8_t s[300];
    for (size_t n = 1; n <= sizeof(s); n++)
        for (size_t at = 0; at < n; at++) {
            memset(s, 'a', n);
            assert_true(utf8_ok(s, n));
            s[at] = 0xC3;
            assert_false(utf8_ok(s, n));
            assert_int_equal(utf8_feed(UTF8_START, s, n) == UTF8_BAD, at + 1 < n);
            if (at + 1 < n)
                s[at + 1] = 0xA9;
            assert_int_equal(utf8_ok(s, n), at + 1 < n);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_texts),
        cmocka_unit_test(test_code_points),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_last_way_is_bytes),
        cmocka_unit_test(test_ways_go_far),
        cmocka_unit_test(test_ways_every_place),
        cmocka_unit_test(test_ways_states),
        cmocka_unit_test(test_ways_edges),
        cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
