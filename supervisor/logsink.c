#include "supervisor/logsink.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define ROOM "log"
#define LINE_MAX_BYTES 9216
#define LINES_A_TURN 256
#define WORKER_BACKLOG (1 << 20) /* bytes of lines that may wait for us, as … */
#define LINES_PRESENT 8192       /* … fewer lines than these: each takes 256 and more */

void logsink_init(struct logsink *l)
{
    *l = (struct logsink){.kind = LOGSINK_STDERR,
                          .fd = STDERR_FILENO,
                          .syslog_path = "/dev/log",
                          .worker_end = -1,
                          .own_end = -1};
}

static void close_target(struct logsink *l)
{
    if (l->kind != LOGSINK_STDERR)
        fd_close(&l->fd);
    free(l->path);
    l->path = NULL;
    l->fd = -1;
}

void logsink_fini(struct logsink *l)
{
    if (l->own_end >= 0) {
        logsink_drain(l);
        event_del(&l->readable);
    }
    fd_close(&l->own_end);
    fd_close(&l->worker_end);
    close_target(l);
    l->kind = LOGSINK_STDERR;
    l->fd = STDERR_FILENO;
}

/* ── targets ── */

/* O_NONBLOCK: a path may be a FIFO; O_NOCTTY: or a terminal. */
static int open_file(const char *path, struct err *e)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                  0640);
    if (fd < 0)
        return err_errno(e, "log.target %s", path);
    return fd;
}

static int connect_syslog(const struct logsink *l)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", l->syslog_path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) < 0)
        fd_close(&fd);
    return fd;
}

static void switch_to(struct logsink *l, enum logsink_kind kind, int fd, char *path)
{
    close_target(l);
    l->kind = kind;
    l->fd = fd;
    l->path = path;
    l->is_failing = l->is_torn = false;
    l->lost = 0;
}

int logsink_open(struct logsink *l, struct str target, struct err *e)
{
    bool is_stderr = str_is(target, "stderr");
    if (is_stderr && !l->is_daemon) {
        switch_to(l, LOGSINK_STDERR, STDERR_FILENO, NULL);
        return 0;
    }
    if (is_stderr || str_is(target, "syslog")) {
        switch_to(l, LOGSINK_SYSLOG, connect_syslog(l), NULL);
        return 0;
    }
    char *path = str_dup(target);
    int fd = open_file(path, e);
    if (fd < 0) {
        free(path);
        return -1;
    }
    switch_to(l, LOGSINK_FILE, fd, path);
    return 0;
}

int logsink_reopen(struct logsink *l, struct err *e)
{
    if (l->kind != LOGSINK_FILE)
        return 0;
    int fd = open_file(l->path, e);
    if (fd < 0)
        return -1;
    fd_close(&l->fd);
    l->fd = fd;
    l->is_torn = false;
    return 0;
}

void logsink_detach(struct logsink *l)
{
    l->is_daemon = true;
    if (l->kind == LOGSINK_STDERR)
        switch_to(l, LOGSINK_SYSLOG, connect_syslog(l), NULL);
}

/* ── writing: each returns 0, or -1 with errno when the line is lost ── */

/* stderr is shared with strangers, so it must not be made non-blocking: it is asked
 * first. A pipe that has room takes up to PIPE_BUF bytes at once (pipe(7)). */
static int write_stderr(int fd, const char *bytes, size_t n)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    struct stat st;
    if (poll(&p, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
        return send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
        n = MIN(n, (size_t)PIPE_BUF);
    return write(fd, bytes, n) < 0 ? -1 : 0;
}

static int write_file(struct logsink *l, const char *bytes, size_t n)
{
    ssize_t done = write(l->fd, bytes, n);
    if (done == (ssize_t)n)
        return 0;
    if (done > 0) {
        l->is_torn = true;
        errno = ENOSPC;
    }
    return -1;
}

static int syslog_priority(enum log_level level)
{
    static const int of_level[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    return LOG_DAEMON | of_level[MIN((size_t)level, ARRAY_LEN(of_level) - 1)];
}

/* RFC 3164 as the local daemon reads it; it has its own clock, so the line's time (its
 * first word) is left out. */
static void format_syslog(struct buf *out, enum log_level level, struct str line)
{
    char when[32];
    struct tm tm;
    struct str rest;
    time_t now = time(NULL);
    localtime_r(&now, &tm);
    strftime(when, sizeof when, "%b %e %H:%M:%S", &tm);
    str_split(line, ' ', &rest);
    buf_printf(out, "<%d>%s heliod[%ld]: ", syslog_priority(level), when, (long)getpid());
    buf_str(out, rest.p ? rest : line);
}

static int write_syslog(struct logsink *l, enum log_level level, struct str line)
{
    struct buf out = {0};
    format_syslog(&out, level, line);
    for (int attempt = 0; attempt < 2; attempt++) {
        if (l->fd < 0)
            l->fd = connect_syslog(l);
        if (l->fd < 0 || send(l->fd, out.p, out.n, MSG_NOSIGNAL) >= 0 || errno == EAGAIN)
            break;
        fd_close(&l->fd); /* the daemon was restarted: its socket is a new one */
    }
    int rc = l->fd < 0 || errno == EAGAIN ? -1 : 0;
    buf_free(&out);
    return rc;
}

static int write_line(struct logsink *l, enum log_level level, struct str line)
{
    errno = 0;
    if (l->kind == LOGSINK_SYSLOG)
        return write_syslog(l, level, line);
    char bytes[LINE_MAX_BYTES + 2];
    size_t n = 0;
    if (l->is_torn)
        bytes[n++] = '\n';
    size_t take = MIN(line.n, (size_t)LINE_MAX_BYTES);
    memcpy(bytes + n, line.p, take);
    n += take;
    if (l->kind == LOGSINK_STDERR && n >= PIPE_BUF)
        n = PIPE_BUF - 1;
    bytes[n++] = '\n';
    if (l->kind == LOGSINK_STDERR)
        return write_stderr(l->fd, bytes, n);
    if (write_file(l, bytes, n) < 0)
        return -1;
    l->is_torn = false;
    return 0;
}

/* ── loss: told once when it begins (elsewhere, the target being full) and once when it
 * is over ── */

static void compose(struct buf *out, enum log_level level, const char *text)
{
    clock_format(out, clock_wall_ms());
    buf_printf(out, " %s heliod " ROOM ": %s", log_level_name(level), text);
}

static const char *target_name(const struct logsink *l)
{
    return l->kind == LOGSINK_FILE     ? l->path
           : l->kind == LOGSINK_SYSLOG ? "syslog"
                                       : "stderr";
}

static void tell_elsewhere(struct logsink *l)
{
    char text[256];
    struct buf line = {0};
    snprintf(text, sizeof text, "lines are being lost: %s takes none: %s", target_name(l),
             strerror(l->failed_errno));
    compose(&line, LOG_LEVEL_ERROR, text);
    if (l->kind != LOGSINK_SYSLOG) {
        struct logsink other = {
            .kind = LOGSINK_SYSLOG, .fd = -1, .syslog_path = l->syslog_path};
        (void)write_syslog(&other, LOG_LEVEL_ERROR, buf_view(&line));
        fd_close(&other.fd);
    }
    if (l->kind != LOGSINK_STDERR && !l->is_daemon) {
        buf_char(&line, '\n');
        (void)write_stderr(STDERR_FILENO, line.p, line.n);
    }
    buf_free(&line);
}

static void lose(struct logsink *l)
{
    l->failed_errno = errno ? errno : ECONNREFUSED;
    l->lost++;
    l->lost_total++;
    if (l->is_failing)
        return;
    l->is_failing = true;
    tell_elsewhere(l);
}

static bool tell_recovered(struct logsink *l)
{
    char text[256];
    struct buf line = {0};
    snprintf(text, sizeof text, "%" PRIu64 " lines were lost here: %s", l->lost,
             strerror(l->failed_errno));
    compose(&line, LOG_LEVEL_WARN, text);
    bool told = write_line(l, LOG_LEVEL_WARN, buf_view(&line)) == 0;
    buf_free(&line);
    return told;
}

void logsink_line(void *ctx, enum log_level level, struct str line)
{
    struct logsink *l = ctx;
    int saved = errno;
    if (l->is_failing && tell_recovered(l)) {
        l->is_failing = false;
        l->lost = 0;
    }
    if (l->is_failing || write_line(l, level, line) < 0)
        lose(l);
    errno = saved;
}

/* ── workers' lines ── */

/* "<time> <level> <process> …" is a line of the log room, if the process is its writer;
 * anything else is what a dying worker printed. */
static bool read_level(struct str line, const char *writer, enum log_level *level)
{
    struct str rest;
    struct str time = str_split(line, ' ', &rest);
    return time.n == 24 && time.p[23] == 'Z' &&
           log_level_parse(str_split(rest, ' ', &rest), level) &&
           str_is(str_split(rest, ' ', &rest), writer);
}

/* A worker is less trusted than we are: nothing it says reaches the file unescaped. */
static void take_line(struct logsink *l, struct str said, const char *writer)
{
    enum log_level level;
    struct buf line = {0};
    char head[64];
    if (said.n == 0)
        return;
    if (!writer || !read_level(said, writer, &level)) {
        level = LOG_LEVEL_WARN;
        snprintf(head, sizeof head, "%s printed: ", writer ? writer : "a worker");
        compose(&line, level, head);
    }
    buf_escape(&line, said, LINE_MAX_BYTES - line.n);
    logsink_line(l, level, buf_view(&line));
    buf_free(&line);
}

/* One datagram, and who has sent it. */
static ssize_t receive(const struct logsink *l, char *bytes, size_t cap, pid_t *pid)
{
    struct ucred writer = {0};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof writer)];
    } control;
    struct iovec iov = {bytes, cap};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(l->own_end, &m, MSG_DONTWAIT);
    const struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS)
        memcpy(&writer, CMSG_DATA(h), sizeof writer);
    *pid = writer.pid;
    return n;
}

static void take_lines(struct logsink *l, int max)
{
    char bytes[LINE_MAX_BYTES];
    pid_t pid;
    for (ssize_t n; max > 0 && (n = receive(l, bytes, sizeof bytes, &pid)) >= 0; max--) {
        const char *writer = l->who(l->who_ctx, pid);
        for (struct str line, rest = {bytes, (size_t)n}; rest.n;) {
            line = str_split(rest, '\n', &rest);
            take_line(l, line, writer);
        }
    }
}

void logsink_drain(struct logsink *l)
{
    take_lines(l, LINES_PRESENT);
}

static void on_readable(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    take_lines(ctx, LINES_A_TURN);
}

int logsink_listen(struct logsink *l, struct event_base *base, logsink_who_fn who,
                   void *ctx, struct err *e)
{
    int pair[2], size = WORKER_BACKLOG, yes = 1;
    if (fd_pair(SOCK_DGRAM, pair, e) < 0)
        return -1;
    l->own_end = pair[0];
    l->worker_end = pair[1];
    l->who = who;
    l->who_ctx = ctx;
    if (setsockopt(l->own_end, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0)
        return err_errno(e, "log socket");
    /* A pair has no limit of datagrams but this one of bytes. */
    if (setsockopt(l->worker_end, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
        (void)setsockopt(l->worker_end, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    event_assign(&l->readable, base, l->own_end, EV_READ | EV_PERSIST, on_readable, l);
    event_add(&l->readable, NULL);
    return 0;
}
