// floors: common
#include "common/mem.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void new_memory_is_zeroed(void **state UNUSED)
{
    for (size_t n = 0; n < 200; n++) {
        char *p = mem_new(n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        free(p);
    }
    struct pair {
        int a, b;
    } *pair = NEW(struct pair);
    assert_int_equal(pair->a | pair->b, 0);
    free(pair);
}

static void resizing_keeps_the_bytes(void **state UNUSED)
{
    char *p = mem_resize(NULL, 3);
    memcpy(p, "abc", 3);
    p = mem_resize(p, 10000);
    assert_memory_equal(p, "abc", 3);
    mem_wipe_free(p, 10000);
    mem_wipe_free(NULL, 0);
}

static void copies(void **state UNUSED)
{
    assert_null(mem_strdup(NULL));
    char *p = mem_strdup("text");
    assert_string_equal(p, "text");
    free(p);
}

static void exhaust(void)
{
    mem_resize(NULL, SIZE_MAX / 2);
}

static void resize_to_nothing(void)
{
    mem_resize(NULL, 0);
}

/* In a child: a bug must abort and say where. */
static void assert_aborts(void (*fn)(void))
{
    int ends[2], status;
    char said[256] = {0};
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        fn();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], said + n, sizeof(said) - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(said, "bug: pid "));
    assert_non_null(strstr(said, "mem.c:"));
}

static void a_bug_aborts_and_says_where(void **state UNUSED)
{
    assert_aborts(exhaust);
    assert_aborts(resize_to_nothing);
}

/* Out of memory must reach our own check, not the sanitizer's. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:handle_abort=0:print_summary=0:verbosity=0";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_memory_is_zeroed),
        cmocka_unit_test(resizing_keeps_the_bytes),
        cmocka_unit_test(copies),
        cmocka_unit_test(a_bug_aborts_and_says_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
