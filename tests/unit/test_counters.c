// floors: common
#include "common/counters.h"

#include "common/fd.h"

#include <fcntl.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct counter_row *row_named(const char *name)
{
    for (size_t i = 0; i < counter_rows_n; i++)
        if (strcmp(counter_rows[i].name, name) == 0)
            return &counter_rows[i];
    fail_msg("no counter %s", name);
    return NULL;
}

static void the_table_is_sound(void **state UNUSED)
{
    assert_int_equal(counter_rows_n * sizeof(uint64_t), sizeof(struct counters));
    for (size_t i = 0; i < counter_rows_n; i++) {
        assert_int_equal(counter_rows[i].offset, i * sizeof(uint64_t));
        assert_true(strlen(counter_rows[i].help) > 5);
        assert_int_equal(counter_rows[i].help[strlen(counter_rows[i].help) - 1], '.');
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(counter_rows[i].name, counter_rows[k].name);
    }
}

static void what_one_writes_the_other_reads(void **state UNUSED)
{
    struct counters *writer, *reader;
    struct err e;
    int fd = counters_create(&reader, &e);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    for (size_t i = 0; i < counter_rows_n; i++)
        assert_int_equal(counters_read(reader, &counter_rows[i]), 0);
    writer = counters_map(fd, &e);
    assert_non_null(writer);
    close(fd); /* mappings do not need it */
    COUNT(writer, accepted);
    COUNT(writer, accepted);
    COUNT_ADD(writer, bytes_in, 1ull << 40);
    COUNT_SET(writer, connections, 7);
    COUNT_ADD(writer, connections, -1);
    assert_int_equal(counters_read(reader, row_named("accepted")), 2);
    assert_true(counters_read(reader, row_named("bytes_in")) == 1ull << 40);
    assert_int_equal(counters_read(reader, row_named("connections")), 6);
    counters_unmap(writer);
    assert_int_equal(counters_read(reader, row_named("accepted")), 2);
    counters_unmap(reader);
    counters_unmap(NULL);
}

static void only_gauges_are_zeroed(void **state UNUSED)
{
    struct counters *c;
    int fd = counters_create(&c, NULL);
    for (size_t i = 0; i < counter_rows_n; i++)
        ((uint64_t *)c)[i] = i + 1;
    counters_zero_gauges(c);
    for (size_t i = 0; i < counter_rows_n; i++)
        assert_int_equal(counters_read(c, &counter_rows[i]),
                         counter_rows[i].is_gauge ? 0 : i + 1);
    counters_unmap(c);
    close(fd);
}

static void the_page_cannot_change_its_size(void **state UNUSED)
{
    struct counters *c;
    int fd = counters_create(&c, NULL);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 1 << 20), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    counters_unmap(c);
    close(fd);
}

static void another_size_is_refused(void **state UNUSED)
{
    struct err e;
    int fd = fd_sealed("short", STR("12345678"), &e);
    assert_null(counters_map(fd, &e));
    assert_non_null(strstr(e.text, "has 8 bytes"));
    close(fd);
    assert_null(counters_map(-1, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(what_one_writes_the_other_reads),
        cmocka_unit_test(only_gauges_are_zeroed),
        cmocka_unit_test(the_page_cannot_change_its_size),
        cmocka_unit_test(another_size_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
