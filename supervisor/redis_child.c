#include "supervisor/redis_child.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/redis_url.h"
#include "common/portholder.h"
#include "supervisor/redis_store.h"
#include "supervisor/slot.h"
#include "supervisor/spawn.h"

#include <event2/event_struct.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOM "redis_child"

#define LOOK_MS 10           /* between two looks whether it takes connections */
#define START_LIMIT_MS 10000 /* after this much looking it is killed and started anew */
#define STOP_LIMIT_MS 2000
#define ORPHAN_LIMIT_MS 3000
#define LINE_MAX_BYTES 1024
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct redis_child {
    struct event_base *base;
    char *program;
    bool drop; /* to uid and gid */
    uid_t uid;
    gid_t gid;
    void (*up)(void *ctx);
    void *ctx;
    char dir[PATH_MAX], pidfile[PATH_MAX];
    char *store;    /* of the append-only file; NULL: none … */
    int store_fd;   /* … locked */
    bool has_place; /* dir and what lies in it are ours */
    struct sockaddr_un socket;

    pid_t pid; /* 0: not running */
    bool is_up;
    int64_t started_ms, up_ms;
    unsigned failures;  /* in a row */
    struct event timer; /* running: look whether it is up, or kill; else: the restart */

    int log_fd; /* the reading end of its output */
    struct event output;
    char line[LINE_MAX_BYTES];
    size_t line_n;
    bool is_cut; /* the rest of an overlong line is thrown away */
    char last_words[256];
    struct log_limit limit;

    bool is_stopping;
    void (*done)(void *ctx);
    void *done_ctx;
};

static void set_timer(struct redis_child *r, int64_t ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    evtimer_add(&r->timer, &tv);
}

/* ---- what it says ---- */

/* "812:M 01 Jan 2025 10:00:00.000 # words" → "words" */
static struct str strip_stamp(struct str line)
{
    static const char *const marks[] = {" # ", " * ", " - ", " . "};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        const char *at = memmem(line.p, MIN(line.n, (size_t)48), marks[i], 3);
        if (at && line.p[0] >= '0' && line.p[0] <= '9')
            return (struct str){at + 3, line.n - (size_t)(at + 3 - line.p)};
    }
    return line;
}

/* Its greetings and farewells are of no interest; in between it speaks (loglevel warning)
 * when something is wrong. */
static void on_line(struct redis_child *r, struct str line)
{
    unsigned swallowed;
    line = str_trim(strip_stamp(line));
    if (line.n == 0)
        return;
    snprintf(r->last_words, sizeof(r->last_words), "%s", log_esc(line));
    if (!r->is_up || r->is_stopping) {
        log_debug("redis-server says: %s", r->last_words);
    } else if (log_permit(&r->limit, 20, 10000, &swallowed)) {
        if (swallowed)
            log_warn("redis-server said %u more lines", swallowed);
        log_warn("redis-server says: %s", r->last_words);
    }
}

static void take_output(struct redis_child *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' || r->line_n == sizeof(r->line)) {
            if (!r->is_cut)
                on_line(r, (struct str){r->line, r->line_n});
            r->is_cut = p[i] != '\n';
            r->line_n = 0;
        } else if (!r->is_cut) {
            r->line[r->line_n++] = p[i];
        }
    }
}

/* Bounded: a flood is not allowed to hold the loop. False at the end of the output. */
static bool read_output(struct redis_child *r)
{
    char chunk[4096];
    for (int rounds = 0; rounds < 16; rounds++) {
        ssize_t n = read(r->log_fd, chunk, sizeof(chunk));
        if (n > 0)
            take_output(r, chunk, (size_t)n);
        else if (n == 0 || errno != EINTR)
            return n < 0 && errno == EAGAIN;
    }
    return true;
}

static void close_output(struct redis_child *r)
{
    if (r->log_fd < 0)
        return;
    event_del(&r->output);
    fd_close(&r->log_fd);
    take_output(r, "\n", 1);
}

static void on_output(evutil_socket_t fd, short what, void *ctx)
{
    struct redis_child *r = ctx;
    (void)fd;
    (void)what;
    if (!read_output(r))
        close_output(r);
}

/* ---- the pidfile and orphans ---- */

/* Field 22 of /proc/<pid>/stat: with it a pid means one process only, however often it is
 * used again. 0: no process. */
static uint64_t start_time(pid_t pid)
{
    char path[64];
    struct buf stat = {0};
    uint64_t ticks = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (fd_read_file(path, 4096, &stat, NULL) == 0) {
        const char *name_end = strrchr(buf_cstr(&stat), ')');
        if (!name_end ||
            sscanf(
                name_end,
                ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                "%*s %*s %" SCNu64,
                &ticks) != 1)
            ticks = 0;
    }
    buf_free(&stat);
    return ticks;
}

/* As an argument, or as Redis writes it into its title: `redis-server unixsocket:/path`.
 */
static bool bears_our_socket(const struct redis_child *r, pid_t pid)
{
    char path[64];
    struct buf line = {0};
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    bool found = fd_read_file(path, 1u << 20, &line, NULL) == 0 && line.n > 0 &&
                 memmem(line.p, line.n, r->socket.sun_path, strlen(r->socket.sun_path));
    buf_free(&line);
    return found;
}

static void write_pidfile(const struct redis_child *r)
{
    int fd =
        open(r->pidfile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || dprintf(fd, "%d %" PRIu64 "\n", (int)r->pid, start_time(r->pid)) < 0)
        log_warn_errno("cannot write %s: should heliod be killed, redis-server may stay",
                       r->pidfile);
    fd_close(&fd);
}

/* What it has to save is written already: SIGKILL. Through a descriptor of the process,
 * so that it stays the one that was looked at. */
static int end_orphan(const struct redis_child *r, pid_t pid, uint64_t started,
                      struct err *e)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return 0;
    int rc = 0;
    if (start_time(pid) == started && bears_our_socket(r, pid)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        log_info("ending redis-server of an earlier heliod pid=%d", (int)pid);
        if (pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0)
            rc = errno == ESRCH
                     ? 0
                     : err_errno(e, "cannot end an earlier redis-server (pid %d)",
                                 (int)pid);
        else if (poll(&p, 1, ORPHAN_LIMIT_MS) != 1)
            rc = err_set(e, "an earlier redis-server (pid %d) does not end", (int)pid);
    }
    fd_close(&fd);
    return rc;
}

static int look_for_orphan(const struct redis_child *r, struct err *e)
{
    struct buf text = {0};
    int pid, rc = 0;
    uint64_t started;
    if (fd_read_file(r->pidfile, 64, &text, NULL) == 0 &&
        sscanf(buf_cstr(&text), "%d %" SCNu64, &pid, &started) == 2 && pid > 1 &&
        started > 0)
        rc = end_orphan(r, pid, started, e);
    buf_free(&text);
    return rc;
}

/* ---- its place ---- */

static int set_paths(struct redis_child *r, const char *run_dir, struct err *e)
{
    size_t room = sizeof(r->socket.sun_path);
    r->socket.sun_family = AF_UNIX;
    snprintf(r->dir, sizeof(r->dir), "%s/redis", run_dir);
    snprintf(r->pidfile, sizeof(r->pidfile), "%s/redis.pid", run_dir);
    if ((size_t)snprintf(r->socket.sun_path, room, "%s/%s", run_dir,
                         REDIS_MANAGED_SOCKET) >= room)
        return err_set(e, "run_dir %s is too long for a socket below it", run_dir);
    return 0;
}

/* The directory is the server's user's own; run_dir itself must not be, the control
 * socket lies there. */
static int make_dir(const struct redis_child *r, struct err *e)
{
    if (mkdir(r->dir, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "cannot make %s", r->dir);
    int fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot use %s", r->dir);
    int rc = 0;
    if ((r->drop && fchown(fd, r->uid, r->gid) < 0) || fchmod(fd, 0700) < 0)
        rc = err_errno(e, "cannot take possession of %s", r->dir);
    fd_close(&fd);
    return rc;
}

static bool takes_connections(const struct redis_child *r)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool taken = fd >= 0 && (connect(fd, (const struct sockaddr *)&r->socket,
                                     sizeof(r->socket)) == 0 ||
                             errno == EAGAIN);
    fd_close(&fd);
    return taken;
}

static int check_socket(const struct redis_child *r, struct err *e)
{
    struct portholder holder;
    if (!takes_connections(r))
        return 0;
    (void)portholder_unix(r->socket.sun_path, &holder);
    return err_set(e, "%s: socket already in use, %s", r->socket.sun_path,
                   portholder_text(&holder));
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Looked up before forking, so that a missing program is an error of the start. Caller
 * frees. */
static char *find_program(const char *name, struct err *e)
{
    const char *path = getenv("PATH");
    struct str rest = str_of(path && *path ? path : PATH_DEFAULT);
    char full[PATH_MAX];
    if (strchr(name, '/')) {
        if (is_program(name))
            return realpath(name, NULL);
        err_set(e, "redis.server: there is no program %s", log_esc(str_of(name)));
        return NULL;
    }
    while (rest.p && *name) {
        struct str dir = str_split(rest, ':', &rest);
        snprintf(full, sizeof(full), STR_FMT "/%s", STR_ARG(dir), name);
        if (dir.n && is_program(full))
            return mem_strdup(full);
    }
    err_set(e,
            "redis.server: there is no program %s in PATH: install redis-server, or set "
            "redis.url to a Redis elsewhere",
            log_esc(str_of(name)));
    return NULL;
}

/* ---- its birth ---- */

NORETURN static void die(const char *what)
{
    dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
    _exit(127);
}

/* The child's side. PDEATHSIG comes after setuid, which clears it; should the parent have
 * died before, getppid tells. */
NORETURN static void become_redis(const struct redis_child *r, int output, pid_t parent)
{
    const char *keeps = r->store ? "yes" : "no", *dir = r->store ? r->store : r->dir;
    const char *const args[] = {
        "redis-server", "--port", "0", "--unixsocket", r->socket.sun_path,
        "--unixsocketperm", "700", "--save", "", "--appendonly", keeps, "--dir", dir,
        "--daemonize", "no", "--loglevel", "warning", "--logfile", "",
        /* a write that waits for a slow disk's fsync would be lost with its process */
        "--appendfsync", "always",
        /* the default for pubsub (32 MB) would cut a busy worker off */
        "--client-output-buffer-limit", "pubsub", "256mb", "64mb", "60", NULL};
    int null = open("/dev/null", O_RDONLY);
    spawn_reset_signals();
    setsid();
    umask(077);
    if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        _exit(127);
    close_range(3, ~0U, 0);
    if (r->drop && (setgroups(0, NULL) < 0 || setgid(r->gid) < 0 || setuid(r->uid) < 0))
        die("cannot change user");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(127);
    if (chdir(dir) < 0)
        die(dir);
    execve(r->program, (char *const *)args, spawn_environment());
    die(r->program);
}

/* Signals are blocked around fork: none may reach the parent's handlers in the child. */
static pid_t fork_redis(const struct redis_child *r, int output)
{
    sigset_t all, old;
    pid_t parent = getpid();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0)
        become_redis(r, output, parent);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

/* Both ends of the pipe are non-blocking: Redis rather loses a line than waits for us. */
static int give_birth(struct redis_child *r, struct err *e)
{
    int fds[2];
    if (make_dir(r, e) < 0)
        return -1;
    r->has_place = true;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_errno(e, "cannot make a pipe");
    pid_t pid = fork_redis(r, fds[1]);
    fd_close(&fds[1]);
    if (pid < 0) {
        fd_close(&fds[0]);
        return err_errno(e, "cannot fork");
    }
    r->pid = pid;
    r->log_fd = fds[0];
    r->last_words[0] = '\0';
    r->started_ms = clock_now_ms();
    event_assign(&r->output, r->base, r->log_fd, EV_READ | EV_PERSIST, on_output, r);
    event_add(&r->output, NULL);
    write_pidfile(r);
    set_timer(r, LOOK_MS);
    return 0;
}

/* ---- its life ---- */

static void plan_restart(struct redis_child *r)
{
    set_timer(r, slot_backoff_ms(++r->failures));
}

static void look_whether_up(struct redis_child *r)
{
    if (takes_connections(r)) {
        r->is_up = true;
        r->up_ms = clock_now_ms();
        log_info("managed Redis serves pid=%d socket=%s", (int)r->pid,
                 r->socket.sun_path);
        if (r->up)
            r->up(r->ctx);
    } else if (clock_now_ms() - r->started_ms < START_LIMIT_MS) {
        set_timer(r, LOOK_MS);
    } else {
        log_warn("managed Redis takes no connections: replaced pid=%d", (int)r->pid);
        kill(r->pid, SIGKILL);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    struct redis_child *r = ctx;
    struct err e;
    (void)fd;
    (void)what;
    if (r->pid && r->is_stopping) {
        log_warn("managed Redis does not end: killed pid=%d", (int)r->pid);
        kill(r->pid, SIGKILL);
    } else if (r->pid) {
        look_whether_up(r);
    } else if (give_birth(r, &e) < 0) {
        log_warn("managed Redis cannot be restarted: %s", e.text);
        plan_restart(r);
    }
}

static int open_store(struct redis_child *r, const char *dir, struct err *e)
{
    if (!dir || dir[0] == '\0')
        return 0;
    r->store = mem_strdup(dir);
    r->store_fd = redis_store_open(dir, r->uid, r->gid, e);
    return r->store_fd < 0 ? -1 : 0;
}

int redis_child_start(const struct redis_child_conf *conf, struct redis_child **out,
                      struct err *e)
{
    struct redis_child *r = NEW(struct redis_child);
    *out = NULL;
    r->base = conf->base;
    r->up = conf->up;
    r->ctx = conf->ctx;
    r->uid = conf->uid;
    r->gid = conf->gid;
    r->drop = geteuid() == 0 && conf->uid != 0;
    r->log_fd = r->store_fd = -1;
    evtimer_assign(&r->timer, r->base, on_timer, r);
    r->program = find_program(conf->server, e);
    if (!r->program || set_paths(r, conf->run_dir, e) < 0 || look_for_orphan(r, e) < 0 ||
        check_socket(r, e) < 0 || open_store(r, conf->persist, e) < 0 ||
        give_birth(r, e) < 0) {
        redis_child_free(r);
        return err_add(e, "managed Redis");
    }
    *out = r;
    return 0;
}

static void say_how_it_ended(const struct redis_child *r, pid_t pid, int status,
                             int64_t delay_ms)
{
    const char *words = r->last_words[0] ? r->last_words : "nothing";
    int64_t life_ms = clock_now_ms() - r->started_ms;
    bool is_signal = WIFSIGNALED(status);
    log_warn("managed Redis ended pid=%d %s=%d life_ms=%" PRId64 " restart_in_ms=%" PRId64
             " it said last: %s",
             (int)pid, is_signal ? "signal" : "status",
             is_signal ? WTERMSIG(status) : WEXITSTATUS(status), life_ms, delay_ms,
             words);
}

static void finish_stop(struct redis_child *r)
{
    void (*done)(void *) = r->done;
    r->done = NULL;
    if (done)
        done(r->done_ctx);
}

bool redis_child_reap(struct redis_child *r, pid_t pid, int status)
{
    if (!r || pid <= 0 || pid != r->pid)
        return false;
    bool was_healthy = r->is_up && clock_now_ms() - r->up_ms >= SLOT_HEALTHY_MS;
    if (r->log_fd >= 0)
        read_output(r);
    close_output(r);
    r->pid = 0;
    r->is_up = false;
    event_del(&r->timer);
    unlink(r->pidfile);
    if (r->is_stopping) {
        finish_stop(r);
        return true;
    }
    if (was_healthy)
        r->failures = 0;
    say_how_it_ended(r, pid, status, slot_backoff_ms(r->failures + 1));
    plan_restart(r);
    return true;
}

pid_t redis_child_pid(const struct redis_child *r)
{
    return r->pid;
}

bool redis_child_is_up(const struct redis_child *r)
{
    return r->is_up;
}

/* ---- its end ---- */

void redis_child_stop(struct redis_child *r, void (*done)(void *ctx), void *ctx)
{
    r->done = done;
    r->done_ctx = ctx;
    if (!r->is_stopping)
        event_del(&r->timer);
    r->is_stopping = true;
    if (!r->pid) {
        finish_stop(r);
        return;
    }
    kill(r->pid, SIGTERM);
    if (!evtimer_pending(&r->timer, NULL))
        set_timer(r, STOP_LIMIT_MS);
}

void redis_child_free(struct redis_child *r)
{
    if (!r)
        return;
    event_del(&r->timer);
    if (r->pid) {
        kill(r->pid, SIGKILL);
        while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        unlink(r->pidfile);
    }
    close_output(r);
    if (r->has_place) {
        unlink(r->socket.sun_path);
        rmdir(r->dir);
    }
    fd_close(&r->store_fd);
    free(r->store);
    free(r->program);
    free(r);
}
