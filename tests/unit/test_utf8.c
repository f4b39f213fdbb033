// floors: common net ws
#include "worker/ws/utf8.h"

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

/* A byte beyond ASCII at every place of every length, at every alignment, each way. */
static void test_ascii_ways(void **state)
{
    (void)state;
    enum { ROOM = 320, LONGEST = 270 };
    static uint8_t s[ROOM] __attribute__((aligned(64)));
    const struct utf8_way *ways;
    size_t n_ways = utf8_ways(&ways);
    assert_true(n_ways >= 2);
    memset(s, 0x7F, ROOM);
    for (size_t way = 0; way < n_ways; way++)
        for (size_t align = 0; align < 32; align += align < 4 ? 1 : 7)
            for (size_t n = 0; n <= LONGEST; n++) {
                s[align + n] = 0x80; /* just behind: not seen */
                assert_int_equal(ways[way].ascii(s + align, n), n);
                s[align + n] = 0x7F;
                for (size_t at = 0; at < n; at++) {
                    s[align + at] = at % 2 ? 0x80 : 0xFF;
                    assert_int_equal(ways[way].ascii(s + align, n), at);
                    s[align + at] = 0x7F;
                }
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
        cmocka_unit_test(test_short_texts), cmocka_unit_test(test_code_points),
        cmocka_unit_test(test_splits),      cmocka_unit_test(test_states),
        cmocka_unit_test(test_ascii_ways),  cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
