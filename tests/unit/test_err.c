// floors: common
#include "common/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void set_prints_and_returns_minus_one(void **state UNUSED)
{
    struct err e;
    assert_int_equal(err_set(&e, "port %d is %s", 8000, "taken"), -1);
    assert_string_equal(e.text, "port 8000 is taken");
    assert_int_equal(err_set(NULL, "nobody listens"), -1);
    assert_int_equal(err_errno(NULL, "nobody listens"), -1);
    assert_int_equal(err_add(NULL, "nobody listens"), -1);
}

static void errno_is_named_and_kept(void **state UNUSED)
{
    struct err e;
    errno = ENOENT;
    assert_int_equal(err_errno(&e, "cannot open %s", "x"), -1);
    assert_string_equal(e.text, "cannot open x: No such file or directory");
    assert_int_equal(errno, ENOENT);
}

static void words_go_before_the_text(void **state UNUSED)
{
    struct err e;
    err_set(&e, "too short");
    assert_int_equal(err_add(&e, "key %d", 3), -1);
    assert_string_equal(e.text, "key 3: too short");
    err_set(&e, "again: %s", e.text);
    assert_string_equal(e.text, "again: key 3: too short");
}

static void long_text_is_cut(void **state UNUSED)
{
    struct err e;
    char big[4096];
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    err_set(&e, "%s", big);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    err_add(&e, "before");
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_memory_equal(e.text, "before: xxx", 11);
    errno = EPERM;
    err_errno(&e, "%s", big);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_prints_and_returns_minus_one),
        cmocka_unit_test(errno_is_named_and_kept),
        cmocka_unit_test(words_go_before_the_text),
        cmocka_unit_test(long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
