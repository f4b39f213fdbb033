/* A bus and a real redis-server on a Unix socket in a directory of its own; or, instead
 * of the server, an impostor that says what it is told to say. */
#ifndef TESTS_UNIT_BUS_REDIS_FIXTURE_H
#define TESTS_UNIT_BUS_REDIS_FIXTURE_H

#include "worker/hub/bus_redis.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <event2/event_struct.h>
#include <cmocka.h>

#define PATIENCE_MS 20000

static struct fixture {
    struct event_base *base;
    struct counters *counters;
    int counters_fd;
    char dir[64], socket[96], url[160];
    pid_t redis;
    struct conf_redis conf;
    struct addresses book;
    struct bus *bus;
    /* what the bus told */
    unsigned ups, downs;
    char why[256];
    uint64_t confirmed;
    struct buf messages; /* "channel=payload\n" … or, when only_count, nothing */
    size_t messages_n;
    bool only_count;
    int64_t work_ms; /* of each message */
    int acked, unacked;
    char ack_why[256];
    struct buf log;
} f;

static inline void on_line(UNUSED void *ctx, UNUSED enum log_level level, struct str line)
{
    buf_str(&f.log, line);
    buf_char(&f.log, '\n');
}

static inline unsigned logged(const char *words)
{
    unsigned n = 0;
    for (const char *p = buf_cstr(&f.log); (p = strstr(p, words)); p++)
        n++;
    return n;
}

static inline void on_message(UNUSED void *ctx, struct str channel, struct str payload)
{
    int64_t end = clock_now_ms() + f.work_ms;
    f.messages_n++;
    while (clock_now_ms() < end)
        ;
    if (!f.only_count)
        buf_printf(&f.messages, STR_FMT "=" STR_FMT "\n", STR_ARG(channel),
                   STR_ARG(payload));
}
static inline void on_confirmed(UNUSED void *ctx, uint64_t mark)
{
    f.confirmed = mark;
}
static inline void on_up(UNUSED void *ctx)
{
    f.ups++;
}
static inline void on_down(UNUSED void *ctx, const char *why)
{
    f.downs++;
    snprintf(f.why, sizeof(f.why), "%s", why);
}
static UNUSED const struct bus_events events = {on_message, on_confirmed, on_up, on_down};

static inline void on_ack(UNUSED void *ctx, bool ok, const char *why)
{
    ok ? f.acked++ : f.unacked++;
    snprintf(f.ack_why, sizeof(f.ack_why), "%s", why);
}

/* ---- the loop ---- */

static inline void nudge(UNUSED evutil_socket_t fd, UNUSED short what, UNUSED void *arg)
{
}

static inline void turn(void)
{
    struct timeval tv = {0, 20000};
    event_base_once(f.base, -1, EV_TIMEOUT, nudge, NULL, &tv);
    if (f.bus)
        f.bus->ops->flush(f.bus);
    assert_int_equal(event_base_loop(f.base, EVLOOP_ONCE), 0);
}

#define AWAIT(condition)                                                                 \
    do {                                                                                 \
        int64_t end_ = clock_now_ms() + PATIENCE_MS;                                     \
        while (!(condition)) {                                                           \
            if (clock_now_ms() > end_)                                                   \
                fail_msg("%s:%d: in vain: %s", __FILE__, __LINE__, #condition);          \
            turn();                                                                      \
        }                                                                                \
    } while (0)

static inline bool is_up(void)
{
    return f.bus->ops->is_up(f.bus);
}

/* ---- the server ---- */

static inline void start_redis(const char *const *extra)
{
    const char *argv[32] = {"redis-server", "--port", "0",  "--unixsocket",
                            f.socket,       "--save", "",   "--appendonly",
                            "no",           "--dir",  f.dir};
    size_t n = 11;
    while (extra && *extra)
        argv[n++] = *extra++;
    f.redis = fork();
    assert_true(f.redis >= 0);
    if (f.redis > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

static inline void stop_redis(void)
{
    if (f.redis <= 0)
        return;
    kill(f.redis, SIGKILL);
    waitpid(f.redis, NULL, 0);
    f.redis = 0;
}

static inline int dial(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", f.socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval tv = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* One inline command on a connection of its own; the first bytes of the answer. */
static inline const char *ask(const char *line)
{
    static char answer[65536];
    int fd = dial();
    assert_true(fd >= 0);
    assert_int_equal(send(fd, line, strlen(line), 0), strlen(line));
    assert_int_equal(send(fd, "\r\n", 2, 0), 2);
    ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);
    answer[MAX(n, 0)] = 0;
    close(fd);
    return answer;
}

static inline void await_redis(void)
{
    for (int64_t end = clock_now_ms() + PATIENCE_MS; clock_now_ms() < end;) {
        int fd = dial();
        close(fd);
        if (fd >= 0 && !strstr(ask("PING"), "LOADING"))
            return;
        usleep(5000); /* there is no event for another process' readiness */
    }
    fail_msg("redis-server does not come up");
}

static inline void run_redis(const char *const *extra)
{
    start_redis(extra);
    await_redis();
}

/* ---- birth and end ---- */

static inline int setup(void **state)
{
    struct err e;
    (void)state;
    memset(&f, 0, sizeof(f));
    log_init("test", on_line, NULL);
    f.base = event_base_new();
    f.counters_fd = counters_create(&f.counters, &e);
    assert_true(f.counters_fd >= 0);
    snprintf(f.dir, sizeof(f.dir), "/tmp/heliod-test-XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    snprintf(f.socket, sizeof(f.socket), "%s/s", f.dir);
    snprintf(f.url, sizeof(f.url), "unix://%s", f.socket);
    f.conf = (struct conf_redis){.url = str_of(f.url),
                                 .prefix = STR(""),
                                 .queue = 8 << 20,
                                 .connect_timeout = 5000};
    return 0;
}

static inline void close_bus(void)
{
    if (f.bus)
        f.bus->ops->close(f.bus);
    f.bus = NULL;
}

static inline int teardown(void **state)
{
    (void)state;
    close_bus();
    stop_redis();
    unlink(f.socket);
    rmdir(f.dir);
    event_base_free(f.base);
    counters_unmap(f.counters);
    close(f.counters_fd);
    addresses_fini(&f.book);
    buf_free(&f.messages);
    buf_free(&f.log);
    return 0;
}

static inline void open_bus(void)
{
    struct err e;
    f.bus =
        bus_redis_open(f.base, &f.conf, STR_NONE, &f.book, f.counters, &events, NULL, &e);
    if (!f.bus)
        fail_msg("%s", e.text);
    assert_false(is_up());
    assert_true(strlen(f.bus->ops->why_down(f.bus)) > 0);
}

static inline void connect_bus(void)
{
    open_bus();
    AWAIT(is_up());
    assert_int_equal(f.counters->bus_up, 1);
}

static inline void subscribe(const char *channel)
{
    f.bus->ops->subscribe(f.bus, str_of(channel));
}

static inline void subscribed(const char *channel)
{
    subscribe(channel);
    AWAIT(f.bus->ops->confirmed(f.bus) == f.bus->ops->mark(f.bus));
}

static inline int publish(const char *channel, const char *payload)
{
    return f.bus->ops->publish(f.bus, str_of(channel), str_of(payload));
}

static inline void publish_acked(const char *channel, const char *payload)
{
    f.bus->ops->publish_acked(f.bus, str_of(channel), str_of(payload), on_ack, NULL);
}

static inline bool heard(const char *text)
{
    return strcmp(buf_cstr(&f.messages), text) == 0;
}

/* ---- the impostor ---- */

static struct impostor {
    int fd;
    struct event ev;
    struct str greeting; /* said on accept */
    bool hangs_up;       /* at once after it */
    unsigned accepted;
    int clients[256];
} imp;

static inline void on_knock(evutil_socket_t fd, UNUSED short what, UNUSED void *arg)
{
    int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (c < 0 || imp.accepted == ARRAY_LEN(imp.clients))
        return;
    imp.clients[imp.accepted++] = c;
    if (imp.greeting.n)
        (void)!send(c, imp.greeting.p, imp.greeting.n, MSG_NOSIGNAL);
    if (imp.hangs_up)
        shutdown(c, SHUT_RDWR);
}

static inline void impersonate(struct str greeting, bool hangs_up)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memset(&imp, 0, sizeof(imp));
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", f.socket);
    imp.greeting = greeting;
    imp.hangs_up = hangs_up;
    unlink(f.socket);
    imp.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(imp.fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(imp.fd, 64), 0);
    event_assign(&imp.ev, f.base, imp.fd, EV_READ | EV_PERSIST, on_knock, NULL);
    event_add(&imp.ev, NULL);
}

static inline void unmask(void)
{
    event_del(&imp.ev);
    close(imp.fd);
    for (unsigned i = 0; i < imp.accepted; i++)
        close(imp.clients[i]);
    unlink(f.socket);
}

static inline void say(const char *p, size_t n)
{
    for (unsigned i = 0; i < imp.accepted; i++)
        (void)!send(imp.clients[i], p, n, MSG_NOSIGNAL);
}

#define GREETING "+OK\r\n+PONG\r\n" /* to CLIENT SETNAME and PING */

#endif
