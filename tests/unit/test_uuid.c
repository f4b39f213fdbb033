// floors: common
#include "common/uuid.h"

#include <sys/wait.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void made_ones_are_version_4_and_differ(void **state UNUSED)
{
    static struct uuid all[2000];
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        uuid_make(&all[i]);
        assert_int_equal(all[i].b[6] >> 4, 4);
        assert_int_equal(all[i].b[8] >> 6, 2);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(all[i].b, all[k].b, 16);
    }
}

static void text_and_back(void **state UNUSED)
{
    struct uuid u, back;
    char text[UUID_TEXT + 1];
    for (int i = 0; i < 16; i++)
        u.b[i] = (uint8_t)(i * 17);
    uuid_text(&u, text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
    assert_true(uuid_parse(str_of(text), &back));
    assert_memory_equal(u.b, back.b, 16);
    assert_true(uuid_eq(&u, &back));
    back.b[15] ^= 1;
    assert_false(uuid_eq(&u, &back));
    struct buf b = {0};
    buf_char(&b, '>');
    uuid_put(&b, &u);
    assert_string_equal(buf_cstr(&b), ">00112233-4455-6677-8899-aabbccddeeff");
    buf_free(&b);
}

static void only_the_exact_text_is_taken(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233-4455-6677-8899-AABBCCDDEEFF",
        "00112233-4455-6677-8899-aabbccddeefg",
        "001122334-455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899aaabbccddeeff",
        "001122334455667788990aabbccddeeff000",
        "{0112233-4455-6677-8899-aabbccddeef}",
    };
    struct uuid u;
    memset(&u, 7, sizeof(u));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(uuid_parse(str_of(bad[i]), &u));
        for (int k = 0; k < 16; k++)
            assert_int_equal(u.b[k], 7);
    }
}

static void randomness_of_every_length(void **state UNUSED)
{
    static const size_t lengths[] = {1, 16, 255, 256, 257, 1024, 5000};
    uint8_t a[5001], b[5001];
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        size_t n = lengths[i], zeros = 0;
        memset(a, 0, sizeof(a));
        random_bytes(a, n);
        random_bytes(b, n);
        for (size_t k = 0; k < n; k++)
            zeros += a[k] == 0;
        assert_true(n < 16 || memcmp(a, b, n) != 0);
        assert_true(n < 16 || zeros < n / 4);
        assert_int_equal(a[n], 0);
    }
    random_bytes(NULL, 0);
}

static void a_forked_child_does_not_repeat_its_parent(void **state UNUSED)
{
    struct uuid mine, childs;
    int ends[2], status;
    uuid_make(&mine); /* the pool is filled now */
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        uuid_make(&childs);
        _exit(write(ends[1], &childs, sizeof(childs)) != sizeof(childs));
    }
    uuid_make(&mine);
    assert_int_equal(read(ends[0], &childs, sizeof(childs)), sizeof(childs));
    assert_memory_not_equal(mine.b, childs.b, 16);
    waitpid(pid, &status, 0);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_ones_are_version_4_and_differ),
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(only_the_exact_text_is_taken),
        cmocka_unit_test(randomness_of_every_length),
        cmocka_unit_test(a_forked_child_does_not_repeat_its_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
