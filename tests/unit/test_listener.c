// floors: supervisor
#include "supervisor/listener.h"

#include "common/fd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- tools ---- */

static struct listeners *table;

static int setup(void **state)
{
    (void)state;
    table = calloc(1, sizeof(*table));
    listeners_init(table);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    listeners_fini(table);
    free(table);
    return 0;
}

static struct sockaddr_in v4(const char *ip, uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    assert_int_equal(inet_pton(AF_INET, ip, &sa.sin_addr), 1);
    return sa;
}

/* A port nobody listens on. */
static uint16_t free_port(void)
{
    struct sockaddr_in sa = v4("0.0.0.0", 0);
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

static int connect_v4(uint16_t port)
{
    struct sockaddr_in sa = v4("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(sa.sun_path, path);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return fd;
    close(fd);
    return -1;
}

struct wish {
    struct conf conf;
    struct conf_listener rows[4];
    char text[4][128];
};

/* A configuration with these addresses (NULL ends the list). */
static struct conf *wish(struct wish *w, const char *const *addresses)
{
    memset(w, 0, sizeof(*w));
    w->conf.main.listeners.v = w->rows;
    for (size_t i = 0; addresses[i]; i++) {
        strcpy(w->text[i], addresses[i]);
        w->rows[i] = (struct conf_listener){str_of(w->text[i]), 4096, STR("0660")};
        w->conf.main.listeners.n = i + 1;
    }
    return &w->conf;
}
#define WISH(w, ...) wish(w, (const char *const[]){__VA_ARGS__, NULL})

static char *address(const char *fmt, ...)
{
    static char ring[4][128];
    static unsigned at;
    va_list ap;
    char *out = ring[at++ % 4];
    va_start(ap, fmt);
    vsnprintf(out, sizeof(ring[0]), fmt, ap);
    va_end(ap);
    return out;
}

static void must_prepare(const struct conf *c, unsigned slots)
{
    struct err e = {""};
    if (listeners_prepare(table, c, slots, &e) < 0)
        fail_msg("%s", e.text);
}

static void must_commit(void)
{
    struct err e = {""};
    if (listeners_commit(table, &e) < 0)
        fail_msg("%s", e.text);
}

static void must_refuse(const struct conf *c, unsigned slots, const char *words)
{
    struct err e = {""};
    assert_int_equal(listeners_prepare(table, c, slots, &e), -1);
    if (!strstr(e.text, words))
        fail_msg("`%s` lacks `%s`", e.text, words);
}

static struct listener_row *row_named(const char *name)
{
    LISTENERS_EACH(row, table)
    if (strcmp(row->address, name) == 0)
        return row;
    return NULL;
}

static size_t rows_n(void)
{
    size_t n = 0;
    LISTENERS_EACH(row, table)
    n++;
    return n;
}

static unsigned accept_all(int fd)
{
    unsigned n = 0;
    for (int c; (c = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; n++)
        close(c);
    assert_int_equal(errno, EAGAIN);
    return n;
}

/* A child that binds (and listens) and waits to be killed. */
static pid_t squat(const struct sockaddr *sa, socklen_t len, bool share)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int one = 1, fd = socket(sa->sa_family, SOCK_STREAM, 0);
        prctl(PR_SET_NAME, "squatter");
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (share)
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
        if (bind(fd, sa, len) == 0 && listen(fd, 10) == 0)
            (void)!write(ready[1], "x", 1);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- addresses ---- */

static void test_bad_addresses(void **state)
{
    static const struct {
        const char *address, *words;
    } bad[] = {
        {"8000", "a port from 1 to 65535"},
        {"127.0.0.1", "a port from 1 to 65535"},
        {"127.0.0.1:", "a port from 1 to 65535"},
        {"127.0.0.1:0", "a port from 1 to 65535"},
        {"127.0.0.1:65536", "a port from 1 to 65535"},
        {"127.0.0.1:80x", "a port from 1 to 65535"},
        {"localhost:8000", "numeric address or *"},
        {":8000", "numeric address or *"},
        {"::1:8000", "brackets"},
        {"[::1:8000", "brackets"},
        {"[nonsense]:8000", "numeric address"},
        {"unix:run/x", "must be absolute"},
        {"unix:", "must be absolute"},
        {"unix:/no/such/directory/x", "No such file or directory"},
        {"192.0.2.77:18000", "this machine has no such address"},
    };
    struct wish w;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        must_refuse(WISH(&w, bad[i].address), 1, bad[i].words);
        must_refuse(&w.conf, 1, "listeners[0]: ");
        assert_int_equal(rows_n(), 0);
    }
    must_refuse(WISH(&w, address("127.0.0.1:%u", free_port()), "bad"), 1,
                "listeners[1]: ");
}

static void test_twice(void **state)
{
    uint16_t port = free_port();
    struct wish w;
    (void)state;
    must_refuse(WISH(&w, address("127.0.0.1:%u", port), address("127.0.0.1:%u", port)), 2,
                "listed twice");
    must_refuse(WISH(&w, address("*:%u", port), address("[0::0]:%u", port)), 2,
                "listed twice");
    assert_int_equal(rows_n(), 0);
}

static void test_both_families(void **state)
{
    uint16_t port = free_port();
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_loopback};
    struct wish w;
    (void)state;
    must_prepare(WISH(&w, address("*:%u", port)), 1);
    must_commit();
    assert_int_equal(rows_n(), 2);
    int a = connect_v4(port), b = socket(AF_INET6, SOCK_STREAM, 0);
    assert_true(a >= 0);
    assert_int_equal(connect(b, (struct sockaddr *)&six, sizeof(six)), 0);
    struct listener_row *row4 = row_named(address("0.0.0.0:%u", port)),
                        *row6 = row_named(address("[::]:%u", port));
    assert_int_equal(listeners_waiting(row4, 0), 1);
    assert_int_equal(accept_all(listeners_fd(row4, 0)), 1);
    assert_int_equal(accept_all(listeners_fd(row6, 0)), 1);
    close(a);
    close(b);
    /* the narrower wish keeps the IPv4 socket it has */
    uint32_t id = row4->id;
    must_prepare(WISH(&w, address("0.0.0.0:%u", port)), 1);
    must_commit();
    assert_int_equal(row4->id, id);
    assert_int_equal(row4->state, LISTENER_ROW_LIVE);
    assert_int_equal(row6->state, LISTENER_ROW_LEAVING);
    listeners_close(table, row6->id, 0);
    assert_int_equal(rows_n(), 1);
}

static void test_options(void **state)
{
    uint16_t port = free_port();
    struct wish w;
    int nodelay = 0;
    socklen_t len = sizeof(nodelay);
    (void)state;
    must_prepare(WISH(&w, address("127.0.0.1:%u", port)), 2);
    must_commit();
    struct listener_row *row = row_named(w.text[0]);
    for (unsigned s = 0; s < 2; s++) {
        assert_true(fcntl(listeners_fd(row, s), F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(listeners_fd(row, s), F_GETFD) & FD_CLOEXEC);
    }
    assert_int_equal(listeners_fd(row, 2), -1);
    assert_int_equal(listeners_fd(row, SLOTS_MAX), -1);
    int client = connect_v4(port);
    unsigned at = listeners_waiting(row, 0) ? 0 : 1;
    int served = accept(listeners_fd(row, at), NULL, NULL);
    assert_true(served >= 0);
    assert_int_equal(getsockopt(served, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
    assert_int_equal(nodelay, 1);
    close(served);
    close(client);
}

/* ---- ports held by others ---- */

static void test_port_in_use(void **state)
{
    struct wish w;
    (void)state;
    for (int share = 0; share < 2; share++) {
        struct sockaddr_in sa = v4("127.0.0.1", free_port());
        pid_t pid = squat((struct sockaddr *)&sa, sizeof(sa), share);
        uint16_t port = ntohs(sa.sin_port);
        const char *holder =
            address("address already in use, held by pid %d (squatter)", pid);
        must_refuse(WISH(&w, address("127.0.0.1:%u", port)), 2, holder);
        must_refuse(WISH(&w, address("0.0.0.0:%u", port)), 2, holder);
        must_refuse(WISH(&w, address("*:%u", port)), 2, holder);
        assert_int_equal(rows_n(), 0);
        end(pid);
        must_prepare(&w.conf, 2);
        listeners_abandon(table);
        assert_int_equal(rows_n(), 0);
    }
}

static void test_dual_stack_in_use(void **state)
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(free_port())};
    pid_t pid = squat((struct sockaddr *)&sa, sizeof(sa), false);
    struct wish w;
    (void)state;
    must_refuse(WISH(&w, address("127.0.0.1:%u", ntohs(sa.sin6_port))), 1,
                address("held by pid %d (squatter)", pid));
    end(pid);
}

/* Our own sockets are no reason to refuse an overlapping address; another's among them
 * is. */
static void test_own_overlap(void **state)
{
    uint16_t port = free_port();
    struct sockaddr_in sa = v4("127.0.0.2", port);
    struct wish w;
    (void)state;
    must_prepare(WISH(&w, address("127.0.0.1:%u", port)), 2);
    must_commit();
    pid_t pid = squat((struct sockaddr *)&sa, sizeof(sa), true);
    must_refuse(WISH(&w, address("0.0.0.0:%u", port)), 2, address("held by pid %d", pid));
    end(pid);
    must_prepare(&w.conf, 2);
    must_commit();
    assert_int_equal(row_named(w.text[0])->state, LISTENER_ROW_LIVE);
    assert_int_equal(row_named(address("127.0.0.1:%u", port))->state,
                     LISTENER_ROW_LEAVING);
}

/* A restart while connections of the former life still exist. */
static void test_old_connections(void **state)
{
    uint16_t port = free_port();
    struct wish w;
    (void)state;
    must_prepare(WISH(&w, address("127.0.0.1:%u", port)), 1);
    must_commit();
    int client = connect_v4(port);
    int served = accept(listeners_fd(table->rows, 0), NULL, NULL);
    assert_true(served >= 0);
    listeners_fini(table);
    listeners_init(table);
    must_prepare(&w.conf, 1);
    must_commit();
    close(served);
    close(client);
}

static void test_low_port(void **state)
{
    struct wish w;
    (void)state;
    struct buf first = {0};
    assert_int_equal(
        fd_read_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", 64, &first, NULL),
        0);
    int unprivileged = atoi(buf_cstr(&first));
    buf_free(&first);
    if (unprivileged <= 7)
        skip();
    pid_t pid = fork();
    if (pid == 0) { /* a process without the capability */
        struct err e = {""};
        if (getuid() == 0 && setuid(65534) < 0)
            _exit(2);
        int r = listeners_prepare(table, WISH(&w, "127.0.0.1:7"), 1, &e);
        _exit(r == -1 && strstr(e.text, "a port below 1024 needs root") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- Unix addresses ---- */

static char directory[64];

static const char *in_directory(const char *name)
{
    if (!directory[0]) {
        strcpy(directory, "/tmp/test_listener.XXXXXX");
        assert_non_null(mkdtemp(directory));
    }
    return address("%s/%s", directory, name);
}

static void test_unix_life(void **state)
{
    const char *path = in_directory("a.sock");
    struct wish w;
    struct stat st;
    (void)state;
    must_prepare(WISH(&w, address("unix:%s", path)), 3);
    assert_int_equal(connect_unix(path), -1); /* not listening before the commit */
    must_commit();
    struct listener_row *row = row_named(w.text[0]);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(listeners_fd(row, 0), listeners_fd(row, 2));
    w.rows[0].mode = STR("0600");
    w.rows[0].backlog = 17;
    must_prepare(&w.conf, 2);
    must_commit();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(row->seat[2], LISTENER_SEAT_LEAVING);
    listeners_close(table, row->id, 2);
    assert_int_equal(listeners_fd(row, 2), -1);
    /* a listener that leaves: the file is gone, its queue is not */
    int client = connect_unix(path), keep = row->shared_fd;
    assert_true(client >= 0);
    w.conf.main.listeners.n = 0;
    must_prepare(&w.conf, 2);
    must_commit();
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(accept_all(keep), 1);
    close(client);
    /* wanted again while the old one is still drained */
    w.conf.main.listeners.n = 1;
    must_prepare(&w.conf, 2);
    must_commit();
    assert_int_equal(rows_n(), 2);
    listeners_close(table, row->id, 0);
    listeners_close(table, row->id, 1);
    assert_int_equal(rows_n(), 1);
    client = connect_unix(path);
    assert_true(client >= 0);
    close(client);
    listeners_fini(table);
    assert_int_equal(stat(path, &st), -1);
}

static void test_unix_file_in_the_way(void **state)
{
    const char *path = in_directory("b.sock");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct wish w;
    struct stat st;
    (void)state;
    WISH(&w, address("unix:%s", path));
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    must_refuse(&w.conf, 1, "the file exists and is not a socket");
    unlink(path);
    strcpy(sa.sun_path, path);
    pid_t pid = squat((struct sockaddr *)&sa, sizeof(sa), false);
    must_refuse(&w.conf, 1,
                address("address already in use, held by pid %d (squatter)", pid));
    end(pid);
    assert_int_equal(stat(path, &st), 0); /* stale now */
    must_prepare(&w.conf, 1);
    listeners_abandon(table);
    assert_int_equal(stat(path, &st), -1);
    must_prepare(&w.conf, 1);
    must_commit();
    /* somebody replaced our file: theirs stays */
    unlink(path);
    pid = squat((struct sockaddr *)&sa, sizeof(sa), false);
    listeners_fini(table);
    assert_int_equal(stat(path, &st), 0);
    end(pid);
    unlink(path);
    w.rows[0].mode = STR("rw");
    must_refuse(&w.conf, 1, "is not octal");
    w.rows[0].mode = STR("1777");
    must_refuse(&w.conf, 1, "is not octal");
    rmdir(directory);
    directory[0] = '\0';
}

/* ---- two phases ---- */

static void test_abandon(void **state)
{
    uint16_t port = free_port(), other = free_port();
    struct wish w;
    (void)state;
    must_prepare(WISH(&w, address("127.0.0.1:%u", port)), 2);
    must_commit();
    struct listener_row *row = row_named(w.text[0]);
    int fd0 = row->fd[0];
    must_prepare(WISH(&w, address("127.0.0.1:%u", other)), 4);
    assert_int_equal(connect_v4(other), -1);
    listeners_abandon(table);
    assert_int_equal(rows_n(), 1);
    assert_int_equal(row->state, LISTENER_ROW_LIVE);
    must_prepare(WISH(&w, address("127.0.0.1:%u", port)), 4);
    assert_int_equal(row->seat[3], LISTENER_SEAT_PENDING);
    listeners_abandon(table);
    assert_int_equal(row->seat[3], LISTENER_SEAT_NONE);
    assert_int_equal(row->fd[0], fd0);
    assert_int_equal(row->group_n, 2);
}

static uint32_t backlog_of(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_sacked; /* of a listening socket: the limit of its queue */
}

static void test_backlog_live(void **state)
{
    struct wish w;
    (void)state;
    WISH(&w, address("127.0.0.1:%u", free_port()));
    w.rows[0].backlog = 5;
    must_prepare(&w.conf, 2);
    must_commit();
    struct listener_row *row = row_named(w.text[0]);
    assert_int_equal(backlog_of(row->fd[1]), 5);
    w.rows[0].backlog = 99;
    must_prepare(&w.conf, 3);
    must_commit();
    for (unsigned s = 0; s < 3; s++)
        assert_int_equal(backlog_of(row->fd[s]), 99);
    assert_int_equal(row->group_n, 3);
}

static void test_revive(void **state)
{
    struct wish w;
    (void)state;
    WISH(&w, address("127.0.0.1:%u", free_port()));
    must_prepare(&w.conf, 3);
    must_commit();
    struct listener_row *row = row_named(w.text[0]);
    int fd2 = row->fd[2];
    uint32_t id = row->id;
    must_prepare(&w.conf, 2);
    must_commit();
    assert_int_equal(row->seat[2], LISTENER_SEAT_LEAVING);
    must_prepare(&w.conf, 3);
    must_commit();
    assert_int_equal(row->seat[2], LISTENER_SEAT_LIVE);
    listeners_close(table, id, 2); /* the late DRAINED of the former worker */
    assert_int_equal(row->fd[2], fd2);
    w.conf.main.listeners.n = 0;
    must_prepare(&w.conf, 3);
    must_commit();
    assert_int_equal(row->state, LISTENER_ROW_LEAVING);
    w.conf.main.listeners.n = 1;
    must_prepare(&w.conf, 3);
    must_commit();
    assert_int_equal(rows_n(), 1);
    assert_int_equal(row->id, id);
    assert_int_equal(row->state, LISTENER_ROW_LIVE);
}

/* ---- steering ---- */

/* Connects n times and counts where they arrive. */
static void spread(uint16_t port, struct listener_row *row, unsigned n, unsigned *counts)
{
    int clients[512];
    assert_true(n <= ARRAY_LEN(clients));
    for (unsigned i = 0; i < n; i++)
        assert_true((clients[i] = connect_v4(port)) >= 0);
    for (unsigned s = 0; s < SLOTS_MAX; s++)
        counts[s] = listeners_fd(row, s) >= 0 ? accept_all(listeners_fd(row, s)) : 0;
    for (unsigned i = 0; i < n; i++)
        close(clients[i]);
}

/* New connections pass leaving seats by, and reach them again when they are wanted. */
static void test_leaving(void **state)
{
    uint16_t port = free_port();
    unsigned counts[SLOTS_MAX];
    struct wish w;
    (void)state;
    WISH(&w, address("127.0.0.1:%u", port));
    for (unsigned round = 0; round < 8; round++) {
        unsigned slots = round % 2 ? 4 : 1 + round / 2;
        must_prepare(&w.conf, slots);
        must_commit();
        spread(port, row_named(w.text[0]), 200, counts);
        for (unsigned s = 0; s < 4; s++)
            assert_true(s < slots ? counts[s] > 10 : counts[s] == 0);
    }
}

static void test_most_slots(void **state)
{
    uint16_t port = free_port();
    unsigned counts[SLOTS_MAX];
    struct wish w;
    (void)state;
    fd_raise_limit();
    must_prepare(WISH(&w, address("127.0.0.1:%u", port)), SLOTS_MAX);
    must_commit();
    struct listener_row *row = row_named(w.text[0]);
    must_prepare(&w.conf, SLOTS_MAX - 1);
    must_commit();
    spread(port, row, 500, counts);
    assert_int_equal(counts[SLOTS_MAX - 1], 0);
}

/* Chance against the kernel's group order: slots come, go, are closed; after each step
 * new connections arrive exactly where the table says. */
static void test_group_order(void **state)
{
    uint16_t port = free_port();
    unsigned counts[SLOTS_MAX];
    struct wish w;
    int kept[12];
    (void)state;
    memset(kept, 0xff, sizeof(kept));
    WISH(&w, address("127.0.0.1:%u", port));
    srand(20);
    for (int step = 0; step < 60; step++) {
        must_prepare(&w.conf, 1 + (unsigned)rand() % 12);
        must_commit();
        struct listener_row *row = row_named(w.text[0]);
        for (unsigned s = 0; s < 12; s++) {
            int held = rand() % 3 ? dup(listeners_fd(row, s)) : -1; /* as a slow worker */
            if (held >= 0)
                listeners_close(table, row->id, s);
            close(kept[s]);
            kept[s] = held;
        }
        spread(port, row, 60, counts);
        unsigned sum = 0;
        for (unsigned s = 0; s < SLOTS_MAX; s++) {
            assert_true(counts[s] == 0 || row->seat[s] == LISTENER_SEAT_LIVE);
            sum += counts[s];
        }
        assert_int_equal(sum, 60);
    }
    for (unsigned s = 0; s < 12; s++)
        close(kept[s]);
}

/* ---- nobody is lost ---- */

struct loop {
    uint16_t port;
    unsigned served, lost, ended;
    bool stop;
};

static void *connect_loop(void *ctx)
{
    struct loop *loop = ctx;
    while (!__atomic_load_n(&loop->stop, __ATOMIC_RELAXED)) {
        char byte;
        int fd = connect_v4(loop->port);
        if (fd >= 0 && read(fd, &byte, 1) == 1)
            __atomic_add_fetch(&loop->served, 1, __ATOMIC_RELAXED);
        else
            __atomic_add_fetch(&loop->lost, 1, __ATOMIC_RELAXED);
        if (fd >= 0)
            close(fd);
    }
    __atomic_add_fetch(&loop->ended, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void serve_seat(struct listener_row *row, unsigned s)
{
    for (int c; (c = accept4(listeners_fd(row, s), NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        (void)!write(c, "x", 1);
        close(c);
    }
}

/* As the workers do. */
static void serve_once(struct listener_row *row)
{
    struct pollfd p[4];
    nfds_t n = 0;
    for (unsigned s = 0; s < 4; s++)
        if (listeners_fd(row, s) >= 0)
            p[n++] = (struct pollfd){listeners_fd(row, s), POLLIN, 0};
    poll(p, n, 10);
    for (unsigned s = 0; s < 4; s++)
        if (listeners_fd(row, s) >= 0)
            serve_seat(row, s);
}

/* Until so many more have been served, or lost. */
static void serve(struct listener_row *row, struct loop *loop, unsigned more)
{
    unsigned target = __atomic_load_n(&loop->served, __ATOMIC_RELAXED) + more;
    while (__atomic_load_n(&loop->served, __ATOMIC_RELAXED) +
               __atomic_load_n(&loop->lost, __ATOMIC_RELAXED) <
           target)
        serve_once(row);
}

static void test_retire_loses_nobody(void **state)
{
    struct loop loop = {.port = free_port()};
    pthread_t threads[4];
    struct wish w;
    (void)state;
    must_prepare(WISH(&w, address("127.0.0.1:%u", loop.port)), 4);
    must_commit();
    struct listener_row *row = row_named(w.text[0]);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, connect_loop, &loop), 0);
    for (int round = 0; round < 12; round++) {
        serve(row, &loop, 200);
        must_prepare(&w.conf, 1 + (unsigned)round % 3);
        must_commit();
        serve(row, &loop, 50); /* whoever was half connected is in a queue by now */
        for (unsigned s = 0; s < 4; s++) {
            if (row->seat[s] != LISTENER_SEAT_LEAVING)
                continue;
            assert_int_equal(listeners_waiting(row, s), 0); /* nobody new since */
            listeners_close(table, row->id, s);
        }
        serve(row, &loop, 50);
        must_prepare(&w.conf, 4);
        must_commit();
    }
    __atomic_store_n(&loop.stop, true, __ATOMIC_RELAXED);
    while (__atomic_load_n(&loop.ended, __ATOMIC_RELAXED) < ARRAY_LEN(threads))
        serve_once(row);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(loop.lost, 0);
    assert_true(loop.served > 3000);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_addresses),
        TEST(test_twice),
        TEST(test_both_families),
        TEST(test_options),
        TEST(test_port_in_use),
        TEST(test_dual_stack_in_use),
        TEST(test_own_overlap),
        TEST(test_old_connections),
        TEST(test_low_port),
        TEST(test_unix_life),
        TEST(test_unix_file_in_the_way),
        TEST(test_abandon),
        TEST(test_backlog_live),
        TEST(test_revive),
        TEST(test_leaving),
        TEST(test_most_slots),
        TEST(test_group_order),
        TEST(test_retire_loses_nobody),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
