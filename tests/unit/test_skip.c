// floors: common
#include "common/skip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
    const char *name;
    const uint8_t *(*go)(const uint8_t *p, const uint8_t *end, unsigned *beyond);
} ways[] = {
    {"best", skip_ordinary},
    {"words", skip_words},
    {"bytes", skip_bytes},
#if defined(__SSE2__)
    {"sse2", skip_sse2},
#elif defined(__aarch64__)
    {"neon", skip_neon},
#endif
};

/* RFC 8259 §7: what has to be escaped, and the escape itself. */
static size_t naive(const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] != '"' && p[i] != '\\' && p[i] > 0x1F)
        i++;
    return i;
}

static bool has_beyond(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] > 0x7F)
            return true;
    return false;
}

static void check(const uint8_t *p, size_t n)
{
    size_t want = naive(p, n);
    for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
        unsigned beyond = 0;
        size_t got = (size_t)(ways[w].go(p, p + n, &beyond) - p);
        if (got != want)
            fail_msg("%s: %zu of %zu, not %zu", ways[w].name, got, n, want);
        if (has_beyond(p, want))
            assert_true(beyond);
        else if (!has_beyond(p, n))
            assert_false(beyond);
        beyond = 4; /* what was noted before stays */
        ways[w].go(p, p + n, &beyond);
        assert_true(beyond & 4);
    }
}

/* Every byte at every place of every length. The text fills its allocation: ASan sees a
 * look beyond. */
static void test_every_place(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 70; n++) {
        uint8_t *s = malloc(n ? n : 1);
        memset(s, 'x', n);
        check(s, n);
        for (size_t at = 0; at < n; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                s[at] = (uint8_t)byte;
                check(s, n);
            }
            s[at] = at % 2 ? 0x20 : 0x7F;
        }
        free(s);
    }
}

/* Two that count, one of them beyond ASCII, at every alignment and length. */
static void test_two(void **state)
{
    (void)state;
    static const uint8_t marks[][2] = {{0xC3, '"'},  {'"', 0xC3},     {0xFF, 0x1F},
                                       {0xA2, '\\'}, {'"' + 1, 0xDC}, {0x80, 0x80}};
    static uint8_t room[300] __attribute__((aligned(64)));
    memset(room, ' ', sizeof(room));
    for (size_t align = 0; align < 32; align += align < 4 ? 1 : 5)
        for (size_t n = 2; n <= 200; n += n < 40 ? 1 : 7)
            for (size_t at = 0; at + 1 < n; at += at < 40 ? 1 : 3)
                for (size_t m = 0; m < ARRAY_LEN(marks); m++) {
                    uint8_t *s = room + align;
                    size_t second = at + 1 + (at * 7 + n) % (n - at - 1);
                    s[at] = marks[m][0];
                    s[second] = marks[m][1];
                    check(s, n);
                    s[at] = s[second] = ' ';
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_place),
        cmocka_unit_test(test_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
