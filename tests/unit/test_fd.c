// floors: common
#include "common/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char dir[] = "/tmp/heliod-test-fd-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void put_file(const char *path, struct str bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.p, bytes.n), bytes.n);
    close(fd);
}

static void assert_cloexec(int fd)
{
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void closing_keeps_errno(void **state UNUSED)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), was = fd;
    errno = EPIPE;
    fd_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(was, F_GETFD), -1);
    errno = EPIPE;
    fd_close(&fd);
    assert_int_equal(errno, EPIPE);
}

static void nonblock(void **state UNUSED)
{
    int ends[2];
    struct err e;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fd_nonblock(ends[0], &e), 0);
    assert_int_equal(read(ends[0], &ends, 1), -1);
    assert_int_equal(errno, EAGAIN);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(fd_nonblock(ends[0], &e), -1);
    assert_non_null(strstr(e.text, "Bad file descriptor"));
}

static void pairs(void **state UNUSED)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    struct err e;
    int fds[2];
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        char c = 0;
        assert_int_equal(fd_pair(types[i], fds, &e), 0);
        for (int k = 0; k < 2; k++) {
            assert_cloexec(fds[k]);
            assert_true(fcntl(fds[k], F_GETFL) & O_NONBLOCK);
        }
        assert_int_equal(write(fds[0], "x", 1), 1);
        assert_int_equal(read(fds[1], &c, 1), 1);
        assert_int_equal(c, 'x');
        close(fds[0]);
        close(fds[1]);
    }
    assert_int_equal(fd_pair(4711, fds, &e), -1);
    assert_int_equal(fds[0] & fds[1], -1);
}

static void sealed_bytes_cannot_change(void **state UNUSED)
{
    struct err e;
    struct buf b = {0};
    int fd = fd_sealed("test", STR("a\0bc"), &e);
    assert_true(fd >= 0);
    assert_cloexec(fd);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 1), -1);
    assert_int_equal(ftruncate(fd, 100), -1);
    for (int i = 0; i < 2; i++) { /* from the start, each time */
        assert_int_equal(fd_slurp(fd, 4, &b, &e), 0);
        assert_true(str_eq(buf_view(&b), STR("a\0bc")));
        buf_clear(&b);
    }
    close(fd);
    fd = fd_sealed("empty", STR_NONE, &e);
    assert_int_equal(fd_slurp(fd, 0, &b, &e), 0);
    assert_int_equal(b.n, 0);
    close(fd);
    buf_free(&b);
}

static void slurping_appends_and_has_a_limit(void **state UNUSED)
{
    static char bytes[50000];
    static const size_t lengths[] = {0, 1, 16383, 16384, 16385, 49999, 50000};
    struct err e;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        size_t n = lengths[i];
        struct buf b = {0};
        int fd = fd_sealed("test", (struct str){bytes, n}, &e);
        buf_str(&b, STR("before"));
        assert_int_equal(fd_slurp(fd, n, &b, &e), 0);
        assert_int_equal(b.n, 6 + n);
        assert_memory_equal(b.p + 6, bytes, n);
        b.n = 6;
        if (n) {
            assert_int_equal(fd_slurp(fd, n - 1, &b, &e), -1);
            assert_non_null(strstr(e.text, "longer than"));
            assert_true(str_eq(buf_view(&b), STR("before")));
        }
        close(fd);
        buf_free(&b);
    }
}

static void pipes_are_slurped_too(void **state UNUSED)
{
    struct err e;
    struct buf b = {0};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "secret\n", 7), 7);
    close(ends[1]);
    assert_int_equal(fd_slurp(ends[0], 100, &b, &e), 0);
    assert_string_equal(buf_cstr(&b), "secret\n");
    close(ends[0]);
    buf_free(&b);
}

static void files_by_path(void **state UNUSED)
{
    struct err e;
    struct buf b = {0};
    put_file(in_dir("file"), STR("hello"));
    assert_int_equal(fd_read_file(in_dir("file"), 5, &b, &e), 0);
    assert_string_equal(buf_cstr(&b), "hello");
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    buf_clear(&b);
    assert_int_equal(fd_read_file(in_dir("fifo"), 5, &b, &e),
                     0); /* returns, though nobody writes */
    assert_int_equal(b.n, 0);
    static const struct {
        const char *name, *why;
    } bad[] = {
        {"file", "longer than 4 bytes"},
        {"none", "No such file"},
        {"", "Is a directory"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(fd_read_file(in_dir(bad[i].name), 4, &b, &e), -1);
        assert_non_null(strstr(e.text, bad[i].why));
        assert_memory_equal(e.text, in_dir(bad[i].name), strlen(in_dir(bad[i].name)));
        assert_int_equal(b.n, 0);
    }
    buf_free(&b);
}

/* A child that holds the pidfile until it is killed; returns once it does. */
static pid_t start_holder(const char *path)
{
    int ready[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t holder;
        struct err e;
        if (fd_pidfile(path, &holder, &e) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return pid;
}

static void one_process_holds_a_pidfile(void **state UNUSED)
{
    const char *path = in_dir("pid");
    pid_t holder = -1;
    struct err e;
    struct buf b = {0};
    put_file(path, STR("a long stale text instead of a pid\n"));
    pid_t child = start_holder(path);
    assert_int_equal(fd_pidfile(path, &holder, &e), -1);
    assert_int_equal(holder, child);
    assert_non_null(strstr(e.text, path));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    int fd = fd_pidfile(path, &holder, &e);
    assert_true(fd >= 0);
    assert_int_equal(holder, 0);
    assert_cloexec(fd);
    char mine[32];
    snprintf(mine, sizeof(mine), "%d\n", (int)getpid());
    assert_int_equal(fd_read_file(path, 100, &b, &e), 0);
    assert_string_equal(buf_cstr(&b), mine);
    close(fd);
    buf_free(&b);
}

static void pidfiles_that_cannot_be(void **state UNUSED)
{
    pid_t holder;
    struct err e;
    assert_int_equal(fd_pidfile(in_dir("no/such/dir"), &holder, &e), -1);
    assert_non_null(strstr(e.text, "No such file"));
    assert_int_equal(symlink("pid", in_dir("link")), 0);
    assert_int_equal(fd_pidfile(in_dir("link"), &holder, &e), -1);
    assert_int_equal(holder, 0);
}

static void the_limit_is_raised_to_the_hard_one(void **state UNUSED)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    struct rlimit low = {64, r.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_true(fd_raise_limit() == r.rlim_max);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &low), 0);
    assert_true(low.rlim_cur == r.rlim_max);
    setrlimit(RLIMIT_NOFILE, &r);
}

static int make_dir(void **state UNUSED)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state UNUSED)
{
    static const char *const names[] = {"file", "fifo", "pid", "link"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(in_dir(names[i]));
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_keeps_errno),
        cmocka_unit_test(nonblock),
        cmocka_unit_test(pairs),
        cmocka_unit_test(sealed_bytes_cannot_change),
        cmocka_unit_test(slurping_appends_and_has_a_limit),
        cmocka_unit_test(pipes_are_slurped_too),
        cmocka_unit_test(files_by_path),
        cmocka_unit_test(one_process_holds_a_pidfile),
        cmocka_unit_test(pidfiles_that_cannot_be),
        cmocka_unit_test(the_limit_is_raised_to_the_hard_one),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
