// floors: supervisor
#include "supervisor/logsink.h"
#include "common/buf.h"
#include "common/fd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64], file[96], syslog_socket[96];
static struct logsink sink;
static struct event_base *base;

static int setup(void **state UNUSED)
{
    strcpy(dir, "/tmp/heliod-test-log.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/heliod.log", dir);
    snprintf(syslog_socket, sizeof syslog_socket, "%s/syslog", dir);
    base = event_base_new();
    logsink_init(&sink);
    sink.syslog_path = syslog_socket;
    return 0;
}

static int teardown(void **state UNUSED)
{
    char old[128];
    logsink_fini(&sink);
    event_base_free(base);
    snprintf(old, sizeof old, "%s.1", file);
    unlink(old);
    unlink(file);
    unlink(syslog_socket);
    rmdir(dir);
    return 0;
}

static void say(const char *line)
{
    logsink_line(&sink, LOG_LEVEL_INFO, str_of(line));
}

static void expect_file(const char *path, const char *want)
{
    struct buf got = {0};
    struct err e;
    assert_int_equal(fd_read_file(path, 1 << 20, &got, &e), 0);
    assert_string_equal(buf_cstr(&got), want);
    buf_free(&got);
}

static void open_target(const char *target)
{
    struct err e = {0};
    assert_int_equal(logsink_open(&sink, str_of(target), &e), 0);
}

static void test_file_and_reopen(void **state UNUSED)
{
    char rotated[128];
    struct err e = {0};
    struct stat st;
    open_target(file);
    say("one");
    snprintf(rotated, sizeof rotated, "%s.1", file);
    assert_int_equal(rename(file, rotated), 0);
    say("two"); /* still the old file */
    assert_int_equal(logsink_reopen(&sink, &e), 0);
    say("three");
    expect_file(rotated, "one\ntwo\n");
    expect_file(file, "three\n");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void test_a_bad_target_changes_nothing(void **state UNUSED)
{
    struct err e = {0};
    open_target(file);
    assert_int_equal(logsink_open(&sink, STR("/nowhere/at/all.log"), &e), -1);
    assert_non_null(strstr(e.text, "/nowhere/at/all.log"));
    assert_non_null(strstr(e.text, "No such file"));
    say("here");
    expect_file(file, "here\n");
}

/* /dev/full is a disk without room. */
static void test_a_full_disk_is_told_once_and_counted(void **state UNUSED)
{
    int pipe_fds[2], saved = dup(STDERR_FILENO);
    char told[4096];
    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    open_target("/dev/full");
    for (int i = 0; i < 100; i++)
        say("lost");
    ssize_t n = read(pipe_fds[0], told, sizeof told - 1);
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_true(n > 0);
    told[n] = '\0';
    assert_non_null(strstr(told, "lines are being lost: /dev/full"));
    assert_non_null(strstr(told, "No space left"));
    assert_null(strchr(strchr(told, '\n') + 1, '\n')); /* one line */
    assert_int_equal(sink.lost, 100);
    assert_int_equal(sink.lost_total, 100);
    /* room again: the loss is told where it happened, then things go on */
    fd_close(&sink.fd);
    sink.fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    say("back");
    assert_false(sink.is_failing);
    struct buf got = {0};
    struct err e;
    assert_int_equal(fd_read_file(file, 1 << 20, &got, &e), 0);
    assert_non_null(strstr(buf_cstr(&got), "100 lines were lost here: No space left"));
    assert_non_null(strstr(buf_cstr(&got), "\nback\n"));
    buf_free(&got);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* A reader of stderr that sleeps must not put us to sleep. */
static void test_a_stuck_pipe_does_not_block(void **state UNUSED)
{
    int pipe_fds[2], saved = dup(STDERR_FILENO);
    char long_line[3000];
    memset(long_line, 'x', sizeof long_line - 1);
    long_line[sizeof long_line - 1] = '\0';
    assert_int_equal(pipe(pipe_fds), 0); /* blocking, as strangers make them */
    dup2(pipe_fds[1], STDERR_FILENO);
    open_target("stderr");
    for (int i = 0; i < 200; i++)
        say(long_line);
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_true(sink.is_failing);
    assert_in_range(sink.lost, 100, 199);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static int open_syslog(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strcpy(un.sun_path, syslog_socket);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

static void expect_syslog(int fd, const char *begin, const char *end)
{
    char text[1024];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    assert_memory_equal(text, begin, strlen(begin));
    assert_string_equal(text + n - strlen(end), end);
}

static void test_syslog(void **state UNUSED)
{
    int fd = open_syslog();
    open_target("syslog");
    logsink_line(&sink, LOG_LEVEL_ERROR,
                 STR("2026-01-01T00:00:00.000Z error heliod x: y"));
    expect_syslog(fd, "<27>", "]: error heliod x: y");
    logsink_line(&sink, LOG_LEVEL_DEBUG, STR("T debug heliod x: z"));
    expect_syslog(fd, "<31>", "]: debug heliod x: z");
    /* the daemon restarts: a new socket under the old name */
    close(fd);
    unlink(syslog_socket);
    say("T nobody there");
    assert_int_equal(sink.lost, 1);
    fd = open_syslog();
    say("T again");
    expect_syslog(fd, "<28>", "1 lines were lost here: No such file or directory");
    expect_syslog(fd, "<30>", "]: again");
    close(fd);
}

static void test_a_daemon_has_no_stderr(void **state UNUSED)
{
    int fd = open_syslog();
    open_target("stderr");
    logsink_detach(&sink);
    say("T from the background");
    expect_syslog(fd, "<30>", "from the background");
    open_target("stderr");
    say("T after a reload");
    expect_syslog(fd, "<30>", "after a reload");
    close(fd);
}

#define AT "2026-01-01T00:00:00.000Z "

static const char *writer = "w[1]";

static const char *who(void *ctx UNUSED, pid_t pid)
{
    assert_int_equal(pid, getpid());
    return writer;
}

static void hand_in(const char *text)
{
    assert_int_equal(send(sink.worker_end, text, strlen(text), 0), strlen(text));
}

static void test_workers_lines(void **state UNUSED)
{
    struct err e = {0};
    open_target(file);
    assert_int_equal(logsink_listen(&sink, base, who, NULL, &e), 0);
    hand_in(AT "info w[1] x: a");
    hand_in(AT "info w[1] x: b\n");
    hand_in(AT "error w[1] x: \033[31m\302\2331mred\\n\n\n" AT "warn w[1] x: c");
    event_base_loop(base, EVLOOP_ONCE);
    expect_file(file,
                AT "info w[1] x: a\n" AT "info w[1] x: b\n" AT
                   "error w[1] x: \\x1b[31m\\xc2\\x9b1mred\\n\n" AT "warn w[1] x: c\n");
}

static void test_what_a_worker_prints(void **state UNUSED)
{
    struct err e = {0};
    struct buf got = {0};
    open_target(file);
    assert_int_equal(logsink_listen(&sink, base, who, NULL, &e), 0);
    hand_in("worker.c:12: BUG: x > y\n");
    event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(fd_read_file(file, 1 << 20, &got, &e), 0);
    assert_string_equal(buf_cstr(&got) + 25,
                        "warn heliod log: w[1] printed: worker.c:12: BUG: x > y\n");
    buf_free(&got);
}

/* Nobody logs in another one's name, nor without being known. */
static void test_no_line_is_forged(void **state UNUSED)
{
    static const char *const lines[] = {
        AT "error heliod supervisor: gone",
        AT "error w[2] x: y",
        AT "error w[1",
        AT "error w[1]x y",
        AT "error",
        AT "error  w[1] x",
    };
    struct err e = {0};
    struct buf got = {0};
    char want[256];
    open_target(file);
    assert_int_equal(logsink_listen(&sink, base, who, NULL, &e), 0);
    for (size_t i = 0; i <= ARRAY_LEN(lines); i++) {
        bool is_stranger = i == ARRAY_LEN(lines);
        writer = is_stranger ? NULL : "w[1]";
        const char *line = is_stranger ? AT "info w[1] x: a" : lines[i];
        hand_in(line);
        event_base_loop(base, EVLOOP_ONCE);
        buf_clear(&got);
        assert_int_equal(fd_read_file(file, 1 << 20, &got, &e), 0);
        snprintf(want, sizeof want, "warn heliod log: %s printed: %s\n",
                 writer ? writer : "a worker", line);
        assert_non_null(strstr(buf_cstr(&got), want));
    }
    writer = "w[1]";
    buf_free(&got);
}

/* A pair is not bound to the few datagrams a Unix socket otherwise holds; when its bytes
 * are used up, the writer is told. */
static void test_workers_burst(void **state UNUSED)
{
    struct err e = {0};
    char line[200];
    int sent = 0;
    memset(line, 'x', sizeof line);
    memcpy(line, AT "info w[1] ", strlen(AT "info w[1] "));
    open_target(file);
    assert_int_equal(logsink_listen(&sink, base, who, NULL, &e), 0);
    while (sent < 100000 && send(sink.worker_end, line, sizeof line, MSG_DONTWAIT) > 0)
        sent++;
    assert_in_range(sent, 100, 99999);
    struct stat st;
    do {
        event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        assert_int_equal(stat(file, &st), 0);
    } while (st.st_size < (off_t)sent * 201 && sink.lost == 0);
    assert_int_equal(st.st_size, (off_t)sent * 201);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_and_reopen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_bad_target_changes_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_full_disk_is_told_once_and_counted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_stuck_pipe_does_not_block, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_syslog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_daemon_has_no_stderr, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workers_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_a_worker_prints, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_line_is_forged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workers_burst, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
