// floors: common
#include "common/clock.h"

#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void formats(void **state UNUSED)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {4102444800000, "2100-01-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        clock_format(&b, rows[i].ms);
        assert_string_equal(buf_cstr(&b), rows[i].text);
        buf_free(&b);
    }
}

static void monotonic_time_only_grows(void **state UNUSED)
{
    int64_t last = clock_now_us();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_now_us();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_now_ms() - last / 1000 < 1000);
}

static void wall_time_is_the_systems(void **state UNUSED)
{
    int64_t off = clock_wall_ms() - (int64_t)time(NULL) * 1000;
    assert_true(off > -1000 && off < 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(monotonic_time_only_grows),
        cmocka_unit_test(wall_time_is_the_systems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
