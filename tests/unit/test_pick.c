// floors: worker
#include "worker/pick.h"

#include "common/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Against sorting all of them. */
static void test_like_sorting(UNUSED void **state)
{
    for (unsigned round = 0; round < 200; round++) {
        static char names[64][8];
        const char *sorted[64];
        uint8_t random[64];
        random_bytes(random, sizeof(random));
        size_t n = random[0] % 64, limit = 1 + random[1] % 20u, i = 0, first = 0;
        struct pick p;
        for (i = 0; i < n; i++) {
            snprintf(names[i], sizeof(names[i]), "%zx", i * 977 % 64 + random[2]);
            sorted[i] = names[i];
        }
        qsort(sorted, n, sizeof(*sorted), compare);
        bool has_after = n > 0 && random[3] % 2;
        const char *after = has_after ? sorted[random[4] % n] : "";
        pick_init(&p, str_of(after), limit);
        for (i = 0; i < n; i++)
            pick_add(&p, str_of(names[i]), names[i], i);
        pick_sort(&p);
        while (has_after && first < n && strcmp(sorted[first], after) <= 0)
            first++;
        assert_int_equal(p.n, MIN(limit, n - first));
        assert_int_equal(p.left_out, n - first > limit);
        for (i = 0; i < p.n; i++) {
            assert_true(
                str_is((struct str){p.v[i].key, p.v[i].key_n}, sorted[first + i]));
            assert_string_equal(p.v[i].what, sorted[first + i]);
        }
        pick_fini(&p);
    }
}

static void test_order_is_of_bytes(UNUSED void **state)
{
    static const char *const order[] = {"", " ", "A", "AA", "a", "\xc3\xa9", "\xff"};
    struct pick p;
    pick_init(&p, STR_NONE, 99);
    for (size_t i = ARRAY_LEN(order); i-- > 0;)
        pick_add(&p, str_of(order[i]), NULL, 0);
    pick_add(&p, (struct str){"A\0b", 3}, NULL, 0);
    pick_sort(&p);
    assert_int_equal(p.n, ARRAY_LEN(order) + 1);
    assert_true(p.v[3].key_n == 3 && p.v[4].key_n == 2);
    assert_string_equal(p.v[7].key, "\xff");
    assert_false(p.left_out);
    pick_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_sorting),
        cmocka_unit_test(test_order_is_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
