// floors: common
/* The room itself is included: its hash is not for others, but has published vectors. */
#include "common/map.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct item {
    char name[24];
    size_t n;
    bool is_in;
};

static struct str name_of(const void *item)
{
    const struct item *it = item;
    return (struct str){it->name, it->n};
}

/* Key 0, input 00 01 02 …: CPython 3.11's hash of bytes with PYTHONHASHSEED=0. */
static void siphash_vectors(void **state UNUSED)
{
    static const struct {
        size_t n;
        uint64_t hash;
    } rows[] = {
        {1, 0x68a914128e01e473},  {7, 0x2f098ab0c751325a},  {8, 0xead411e67ebe2eea},
        {9, 0x75927f9d95124362},  {15, 0xf30eb725bb91c9ea}, {16, 0x8972188433a5c5b7},
        {63, 0x385d3e39e5f37359},
    };
    char bytes[64];
    for (int i = 0; i < 64; i++)
        bytes[i] = (char)i;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(siphash((uint64_t[2]){0, 0}, (struct str){bytes, rows[i].n}) ==
                    rows[i].hash);
}

static void an_empty_map_has_nothing(void **state UNUSED)
{
    struct map m;
    size_t i = 0;
    map_init(&m, name_of);
    assert_null(map_get(&m, STR("x")));
    assert_null(map_remove(&m, STR("x")));
    assert_null(map_next(&m, &i));
    assert_null(m.slots);
    map_fini(&m);
}

static void put_replaces_and_says_what(void **state UNUSED)
{
    struct item a = {"k", 1, true}, b = {"k", 1, true}, none = {"", 0, true};
    struct item nul = {"k\0", 2, true};
    struct map m;
    map_init(&m, name_of);
    assert_null(map_put(&m, &a));
    assert_ptr_equal(map_put(&m, &b), &a);
    assert_int_equal(m.n, 1);
    assert_null(map_put(&m, &none));
    assert_null(map_put(&m, &nul));
    assert_ptr_equal(map_get(&m, STR("k")), &b);
    assert_ptr_equal(map_get(&m, STR("")), &none);
    assert_ptr_equal(map_get(&m, STR("k\0")), &nul);
    assert_ptr_equal(map_remove(&m, STR("k")), &b);
    assert_null(map_remove(&m, STR("k")));
    assert_int_equal(m.n, 2);
    map_fini(&m);
    assert_int_equal(m.cap, 0);
}

#define ITEMS 600

static void compare_with_model(const struct map *m, struct item *items)
{
    size_t in = 0, walked = 0;
    for (size_t i = 0; i < ITEMS; i++) {
        void *found = map_get(m, name_of(&items[i]));
        assert_ptr_equal(found, items[i].is_in ? &items[i] : NULL);
        in += items[i].is_in;
    }
    MAP_EACH (struct item, it, m) {
        assert_true(it->is_in);
        walked++;
    }
    assert_int_equal(m->n, in);
    assert_int_equal(walked, in);
    assert_true(m->n * 4 <= m->cap * 3);
}

/* Phases of growth and decay against an array of flags; every removal shifts its
 * neighbours. */
static void it_agrees_with_a_naive_model(void **state UNUSED)
{
    static struct item items[ITEMS];
    struct map m;
    unsigned seed = 1;
    map_init(&m, name_of);
    for (size_t i = 0; i < ITEMS; i++)
        items[i].n =
            (size_t)snprintf(items[i].name, sizeof(items[i].name), "room-%zu", i);
    for (int step = 0; step < 40000; step++) {
        seed = seed * 1103515245 + 12345;
        struct item *it = &items[(seed >> 16) % ITEMS];
        bool is_growing = step / 5000 % 2 == 0;
        if ((seed >> 8) % 4 < (is_growing ? 3 : 1)) {
            assert_ptr_equal(map_put(&m, it), it->is_in ? it : NULL);
            it->is_in = true;
        } else {
            assert_ptr_equal(map_remove(&m, name_of(it)), it->is_in ? it : NULL);
            it->is_in = false;
        }
        if (step % 500 == 0)
            compare_with_model(&m, items);
    }
    compare_with_model(&m, items);
    for (size_t i = 0; i < ITEMS; i++)
        map_remove(&m, name_of(&items[i]));
    assert_int_equal(m.n, 0);
    assert_int_equal(m.cap, MAP_FLOOR);
    map_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_vectors),
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(put_replaces_and_says_what),
        cmocka_unit_test(it_agrees_with_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
