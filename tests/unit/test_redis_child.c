// floors: supervisor
#include "supervisor/redis_child.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/redis_url.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_S 20
#define NOBODY 65534

/* ---- a little supervisor ---- */

static struct event_base *base;
static struct event *sigchld, *impatience;
static struct redis_child *child;
static char run_dir[64];
static unsigned ups, stops;
static int last_status;
static struct buf logged;

static void on_sigchld(evutil_socket_t sig, short what, void *ctx)
{
    pid_t pid;
    int status;
    (void)sig;
    (void)what;
    (void)ctx;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (redis_child_reap(child, pid, status))
            last_status = status;
}

static void on_impatience(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
    fail_msg("waited %d s in vain; log: %s", PATIENCE_S, buf_cstr(&logged));
}

static void on_up(void *ctx)
{
    (void)ctx;
    ups++;
}

static void on_stopped(void *ctx)
{
    (void)ctx;
    stops++;
}

static void keep_line(void *ctx, enum log_level level, struct str line)
{
    (void)ctx;
    (void)level;
    buf_str(&logged, line);
    buf_char(&logged, '\n');
}

#define WAIT_FOR(condition)                                                              \
    while (!(condition))                                                                 \
    event_base_loop(base, EVLOOP_ONCE)

static int setup(void **state)
{
    struct timeval patience = {PATIENCE_S, 0};
    (void)state;
    strcpy(run_dir, "/tmp/test_redis.XXXXXX");
    assert_non_null(mkdtemp(run_dir));
    chmod(run_dir, 0755);
    base = event_base_new();
    sigchld = evsignal_new(base, SIGCHLD, on_sigchld, NULL);
    event_add(sigchld, NULL);
    impatience = evtimer_new(base, on_impatience, NULL);
    event_add(impatience, &patience);
    buf_clear(&logged);
    log_init("test", keep_line, NULL);
    log_set_level(LOG_LEVEL_DEBUG);
    ups = stops = 0;
    child = NULL;
    return 0;
}

static int teardown(void **state)
{
    char pidfile[128];
    (void)state;
    redis_child_free(child);
    event_free(sigchld);
    event_free(impatience);
    event_base_free(base);
    snprintf(pidfile, sizeof(pidfile), "%s/redis.pid", run_dir);
    unlink(pidfile);
    buf_free(&logged);
    return rmdir(run_dir); /* nothing else is left behind */
}

static struct redis_child_conf plan(void)
{
    return (struct redis_child_conf){.base = base,
                                     .run_dir = run_dir,
                                     .server = "redis-server",
                                     .uid = getuid() ? getuid() : NOBODY,
                                     .gid = getuid() ? getgid() : NOBODY,
                                     .up = on_up};
}

static void must_start(struct redis_child_conf conf)
{
    struct err e = {""};
    if (redis_child_start(&conf, &child, &e) < 0)
        fail_msg("%s", e.text);
    WAIT_FOR(ups == 1);
}

static const char *place(const char *name)
{
    static char ring[4][128];
    static unsigned at;
    char *out = ring[at++ % 4];
    snprintf(out, sizeof(ring[0]), "%s/%s", run_dir, name);
    return out;
}

/* ---- talking to it ---- */

static int call(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(sa.sun_path, place(REDIS_MANAGED_SOCKET));
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void ask(const char *command, char *answer, size_t cap)
{
    int fd = call();
    size_t n = 0;
    assert_true(fd >= 0);
    dprintf(fd, "%s\r\nQUIT\r\n", command);
    for (ssize_t got; n < cap - 1 && (got = read(fd, answer + n, cap - 1 - n)) > 0;)
        n += (size_t)got;
    answer[n] = '\0';
    close(fd);
}

static void expect(const char *command, const char *words)
{
    char answer[2048];
    ask(command, answer, sizeof(answer));
    if (!strstr(answer, words))
        fail_msg("%s: `%s` lacks `%s`", command, answer, words);
}

static bool is_alive(pid_t pid)
{
    return kill(pid, 0) == 0;
}

/* ---- tests ---- */

static void test_settings(void **state)
{
    static const char *const wanted[][2] = {
        {"PING", "+PONG"},
        {"CONFIG GET port", "\r\n0\r\n"},
        {"CONFIG GET save", "save\r\n$0\r\n"},
        {"CONFIG GET appendonly", "\r\nno\r\n"},
        {"CONFIG GET loglevel", "\r\nwarning\r\n"},
        {"CONFIG GET unixsocketperm", "\r\n700\r\n"},
        {"CONFIG GET client-output-buffer-limit", "pubsub 268435456 67108864 60"},
    };
    struct stat st;
    (void)state;
    must_start(plan());
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        expect(wanted[i][0], wanted[i][1]);
    expect("CONFIG GET dir", place("redis"));
    assert_int_equal(stat(place("redis"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(st.st_uid, plan().uid);
    assert_int_equal(stat(place(REDIS_MANAGED_SOCKET), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(st.st_uid, plan().uid);
    assert_int_equal(getsid(redis_child_pid(child)), redis_child_pid(child));
    assert_true(redis_child_is_up(child));
}

/* Reached by the workers' user, by no other. */
static void test_who_may_connect(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    must_start(plan());
    for (uid_t uid = NOBODY - 1; uid <= NOBODY; uid++) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            _exit(setgid(uid) == 0 && setuid(uid) == 0 && call() >= 0 ? 0 : 1);
        event_del(sigchld);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        event_add(sigchld, NULL);
        assert_int_equal(WEXITSTATUS(status), uid == NOBODY ? 0 : 1);
    }
}

static void test_killed_and_back(void **state)
{
    (void)state;
    must_start(plan());
    pid_t first = redis_child_pid(child);
    int64_t at = clock_now_ms();
    kill(first, SIGKILL);
    WAIT_FOR(redis_child_pid(child) == 0);
    assert_false(redis_child_is_up(child));
    WAIT_FOR(ups == 2);
    assert_true(clock_now_ms() - at >= 100);
    assert_int_not_equal(redis_child_pid(child), first);
    expect("PING", "+PONG");
    assert_non_null(strstr(buf_cstr(&logged), "managed Redis ended"));
    assert_non_null(strstr(buf_cstr(&logged), "signal=9"));
    at = clock_now_ms();
    kill(redis_child_pid(child), SIGKILL); /* no time to be healthy: the wait doubles */
    WAIT_FOR(ups == 3);
    assert_true(clock_now_ms() - at >= 200);
}

static void test_stop(void **state)
{
    struct stat st;
    (void)state;
    must_start(plan());
    redis_child_stop(child, on_stopped, NULL);
    WAIT_FOR(stops == 1);
    assert_true(WIFEXITED(last_status));
    assert_int_equal(redis_child_pid(child), 0);
    redis_child_stop(child, on_stopped, NULL); /* not running: at once */
    assert_int_equal(stops, 2);
    redis_child_free(child);
    child = NULL;
    assert_int_equal(stat(place("redis"), &st), -1);
    assert_int_equal(stat(place("redis.pid"), &st), -1);
}

static void test_stop_of_a_stuck_one(void **state)
{
    (void)state;
    must_start(plan());
    kill(redis_child_pid(child), SIGSTOP);
    redis_child_stop(child, on_stopped, NULL);
    WAIT_FOR(stops == 1);
    assert_true(WIFSIGNALED(last_status));
    assert_int_equal(WTERMSIG(last_status), SIGKILL);
}

static void test_stop_while_waiting(void **state)
{
    (void)state;
    must_start(plan());
    kill(redis_child_pid(child), SIGKILL);
    WAIT_FOR(redis_child_pid(child) == 0);
    redis_child_stop(child, on_stopped, NULL);
    assert_int_equal(stops, 1);
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(redis_child_pid(child), 0);
}

static void must_not_start(struct redis_child_conf conf, const char *words)
{
    struct err e = {""};
    assert_int_equal(redis_child_start(&conf, &child, &e), -1);
    assert_null(child);
    if (!strstr(e.text, words))
        fail_msg("`%s` lacks `%s`", e.text, words);
}

static void test_no_program(void **state)
{
    struct redis_child_conf conf = plan();
    (void)state;
    conf.server = "no-such-redis";
    must_not_start(conf, "redis.server: there is no program no-such-redis in PATH");
    conf.server = "/no/such/redis";
    must_not_start(conf, "redis.server: there is no program /no/such/redis");
    conf.server = "/etc/passwd";
    must_not_start(conf, "redis.server: there is no program /etc/passwd");
    conf.server = "/tmp";
    must_not_start(conf, "redis.server: there is no program /tmp");
    conf.server = "";
    must_not_start(conf, "redis.server: there is no program");
}

static void test_bad_places(void **state)
{
    struct redis_child_conf conf = plan();
    char longest[128];
    (void)state;
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "/tmp/", 5);
    longest[91] = '\0';
    conf.run_dir = longest;
    must_not_start(conf, "is too long for a socket below it");
    conf.run_dir = "/no/such/place";
    must_not_start(conf, "cannot make /no/such/place/redis");
    assert_int_equal(symlink("/tmp", place("redis")), 0);
    must_not_start(plan(), "cannot use");
    unlink(place("redis"));
}

/* A program that says why and leaves: the reason stands in the log line, and it is tried
 * again. */
static void test_failing_program(void **state)
{
    struct redis_child_conf conf = plan();
    struct err e;
    int fd = open(place("program"), O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    (void)state;
    dprintf(fd, "#!/bin/sh\nprintf '%%5000s\\n' long\n"
                "echo '1:M 01 Jan 2025 10:00:00.000 # all is \033[1mlost'\nexit 7\n");
    close(fd);
    conf.server = place("program");
    assert_int_equal(redis_child_start(&conf, &child, &e), 0);
    WAIT_FOR(strstr(buf_cstr(&logged), "restart_in_ms=200"));
    assert_non_null(strstr(buf_cstr(&logged), "status=7"));
    assert_non_null(strstr(buf_cstr(&logged), "it said last: \"all is \\x1b[1mlost\""));
    assert_int_equal(ups, 0);
    unlink(place("program"));
}

static pid_t run_orphan(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path,
               "--save", "", NULL);
        _exit(127);
    }
    return pid;
}

static unsigned long long start_of(pid_t pid)
{
    char path[64], line[1024];
    unsigned long long ticks = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    char *p = strrchr(line, ')');
    for (int field = 2; field < 22; field++)
        p = strchr(p + 1, ' ');
    ticks = strtoull(p, NULL, 10);
    return ticks;
}

static void write_pidfile(pid_t pid, unsigned long long ticks)
{
    int fd = open(place("redis.pid"), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    dprintf(fd, "%d %llu\n", (int)pid, ticks);
    close(fd);
}

/* The process behind a pidfd; signals may interrupt. */
static bool fd_ended(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    while ((n = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR)
        ;
    return n == 1;
}

static bool has_ended(pid_t pid, int timeout_ms)
{
    int fd = pidfd_open(pid, 0);
    bool ended = fd < 0 || fd_ended(fd, timeout_ms);
    if (fd >= 0)
        close(fd);
    return ended;
}

static void wait_for_socket(void)
{
    for (int fd; (fd = call()) < 0 || close(fd) < 0;)
        poll(NULL, 0, 5);
}

static void test_orphan(void **state)
{
    (void)state;
    assert_int_equal(mkdir(place("redis"), 0700), 0);
    pid_t orphan = run_orphan(place(REDIS_MANAGED_SOCKET));
    wait_for_socket();
    write_pidfile(orphan, start_of(orphan));
    must_start(plan());
    assert_true(has_ended(orphan, 0));
    expect("PING", "+PONG");
    assert_int_not_equal(redis_child_pid(child), orphan);
}

/* It holds our socket, but nothing proves that it is ours. */
static void test_stranger_on_our_socket(void **state)
{
    char words[128];
    (void)state;
    assert_int_equal(mkdir(place("redis"), 0700), 0);
    pid_t stranger = run_orphan(place(REDIS_MANAGED_SOCKET));
    wait_for_socket();
    snprintf(words, sizeof(words), "socket already in use, held by pid %d (redis-server)",
             (int)stranger);
    must_not_start(plan(), words);
    write_pidfile(stranger, start_of(stranger) + 1);
    must_not_start(plan(), words);
    expect("PING", "+PONG"); /* untouched */
    kill(stranger, SIGKILL);
    assert_true(has_ended(stranger, 5000));
    must_start(plan());
}

static void test_stranger_in_pidfile(void **state)
{
    (void)state;
    pid_t stranger = fork();
    if (stranger == 0)
        for (;;)
            pause();
    write_pidfile(stranger, start_of(stranger));
    must_start(plan());
    assert_false(has_ended(stranger, 0));
    assert_true(is_alive(stranger));
    kill(stranger, SIGKILL);
    assert_true(has_ended(stranger, 5000));
    WAIT_FOR(!is_alive(stranger));
}

static void test_nonsense_in_pidfile(void **state)
{
    static const char *const nonsense[] = {"",    "\n", "-1 -1",
                                           "1 1", "x",  "99999999999 5"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
        int fd = open(place("redis.pid"), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
        dprintf(fd, "%s", nonsense[i]);
        close(fd);
        ups = 0;
        must_start(plan());
        redis_child_free(child);
        child = NULL;
    }
}

/* A supervisor that is killed takes its Redis along, setuid or not. */
static void test_gone_with_us(void **state)
{
    int tell[2];
    pid_t redis = 0;
    (void)state;
    assert_int_equal(pipe(tell), 0);
    pid_t lord = fork();
    if (lord == 0) {
        event_reinit(base);
        must_start(plan());
        redis = redis_child_pid(child);
        (void)!write(tell[1], &redis, sizeof(redis));
        for (;;)
            pause();
    }
    close(tell[1]);
    assert_int_equal(read(tell[0], &redis, sizeof(redis)), sizeof(redis));
    close(tell[0]);
    int fd = pidfd_open(redis, 0);
    assert_true(fd >= 0);
    assert_false(fd_ended(fd, 0));
    kill(lord, SIGKILL);
    assert_true(fd_ended(fd, 5000));
    close(fd);
    must_start(plan()); /* over what the dead one left behind */
    expect("PING", "+PONG");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_settings),
        TEST(test_who_may_connect),
        TEST(test_killed_and_back),
        TEST(test_stop),
        TEST(test_stop_of_a_stuck_one),
        TEST(test_stop_while_waiting),
        TEST(test_no_program),
        TEST(test_bad_places),
        TEST(test_failing_program),
        TEST(test_orphan),
        TEST(test_stranger_on_our_socket),
        TEST(test_stranger_in_pidfile),
        TEST(test_nonsense_in_pidfile),
        TEST(test_gone_with_us),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
