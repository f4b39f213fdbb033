// floors: common net ws http
#include "worker/http/turned_away.h"

#include "common/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct {
    const char *message, *hint, *reason;
} reasons[] = {
    {"No.", "Why not?", "No. Why not?"},
    {"No.", "", "No."},
    {"", "", ""},
    /* both fit exactly, and not */
    {HUNDRED, TEN TEN "12", HUNDRED " " TEN TEN "12"},
    {TEN "12", HUNDRED TEN, TEN "12 " HUNDRED TEN},
    {TEN "123", HUNDRED TEN, TEN "123"},
    /* the message gives way to a hint of two thirds, not to a longer one */
    {HUNDRED, TEN TEN "123",
     TEN TEN TEN TEN TEN TEN TEN TEN TEN "012345... " TEN TEN "123"},
    {HUNDRED HUNDRED, TEN TEN TEN TEN TEN TEN TEN TEN "12",
     TEN TEN TEN "0123456... " TEN TEN TEN TEN TEN TEN TEN TEN "12"},
    {HUNDRED, TEN TEN TEN TEN TEN TEN TEN TEN "123", HUNDRED},
    /* alone, it is cut where it has to be */
    {HUNDRED TEN TEN "123", "", HUNDRED TEN TEN "123"},
    {HUNDRED TEN TEN "1234", "", HUNDRED TEN TEN "..."},
    {HUNDRED HUNDRED, HUNDRED, HUNDRED TEN TEN "..."},
    /* at a character */
    {HUNDRED TEN "012345678\xC3\xA9\xC3\xA9\xC3\xA9", "", HUNDRED TEN "012345678..."},
    {HUNDRED TEN "01234567\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9", "",
     HUNDRED TEN "01234567\xC3\xA9..."},
    {HUNDRED TEN "0123456\xF0\x9F\x98\x80\xF0\x9F\x98\x80", "", HUNDRED TEN "0123456..."},
};

static void test_reasons(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        struct refusal why = {.status = 404, .error = "no"};
        char out[TURNED_AWAY_REASON_MAX + 1];
        snprintf(why.message, sizeof(why.message), "%s", reasons[i].message);
        snprintf(why.hint, sizeof(why.hint), "%s", reasons[i].hint);
        turned_away_reason(&why, out);
        if (strcmp(out, reasons[i].reason) != 0)
            fail_msg("row %zu: \"%s\" instead of \"%s\"", i, out, reasons[i].reason);
    }
}

/* Whatever the lengths: never too long, never half a character. */
static void test_every_length(void **state)
{
    (void)state;
    struct refusal why = {.status = 403, .error = "no"};
    char out[TURNED_AWAY_REASON_MAX + 1];
    for (size_t n = 1; n + 4 < sizeof(why.message); n++)
        for (size_t hint = 0; hint < sizeof(why.hint); hint += 7) {
            why.message[0] = '\0';
            while (strlen(why.message) < n)
                strcat(why.message, strlen(why.message) % 2 ? "\xE2\x82\xAC" : "x");
            memset(why.hint, 'h', hint);
            why.hint[hint] = '\0';
            turned_away_reason(&why, out);
            assert_true(strlen(out) <= TURNED_AWAY_REASON_MAX);
            assert_true(utf8_ok(out, strlen(out)));
            assert_true(strlen(out) >= MIN(strlen(why.message), 40u));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
