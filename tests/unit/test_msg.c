// floors: common
#include "common/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
    uint32_t number;
    const char *name;
    size_t size, handler;
} all[] = {
#define MSG(num, name, dir, type)                                                        \
    {num, #name, sizeof(type), offsetof(struct msg_handlers, name)},
#include "common/msg.def"
};

static void every_message_is_found(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const struct msg_row *row = msg_find(all[i].number);
        assert_non_null(row);
        assert_int_equal(row->type, all[i].number);
        assert_string_equal(row->name, all[i].name);
        assert_int_equal(row->size, all[i].size);
        assert_int_equal(row->handler, all[i].handler);
        assert_true(row->direction && !(row->direction & ~(unsigned)MSG_ANY));
    }
}

static void nothing_else_is_found(void **state UNUSED)
{
    size_t found = 0;
    for (uint32_t type = 0; type < 70000; type++)
        found += msg_find(type) != NULL;
    assert_int_equal(found, ARRAY_LEN(all));
    assert_null(msg_find(0));
    assert_null(msg_find(UINT32_MAX));
}

/* Payloads are copied into datagrams as they lie in memory: no hole may carry stray bytes
 * out. */
static void payloads_have_no_holes(void **state UNUSED)
{
    assert_int_equal(sizeof(struct msg_hello), 4 * 4);
    assert_int_equal(sizeof(struct msg_listener), 4 * 4);
    assert_int_equal(sizeof(struct msg_query), 3 * 4);
    assert_int_equal(sizeof(struct msg_end), 2 * 4 + 8);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_true(all[i].size % 4 == 0 && all[i].size <= 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_is_found),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(payloads_have_no_holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
