#include "supervisor/supervisor.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/redis_url.h"
#include "supervisor/answers.h"
#include "supervisor/notify.h"
#include "supervisor/orphans.h"
#include "supervisor/watch.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOM "supervisor"
#define TICK_LATE_MS                                                                     \
    (3 * SUPERVISOR_TICK_MS) /* we were stopped, or the machine was: nobody is judged */
#define REPORT_READY "\006"

bool supervisor_is_stopping(const struct supervisor *s)
{
    return s->phase >= SUPERVISOR_UNREADY;
}

void supervisor_leave(struct supervisor *s)
{
    event_base_loopbreak(s->base);
}

void supervisor_reopen_logs(struct supervisor *s)
{
    struct err e = {0};
    if (logsink_reopen(&s->logs, &e) < 0)
        log_error("%s: the old log file stays in use", e.text);
    else
        log_info("log reopened");
}

/* ── signals: they arrive in the loop, never in signal context ── */

static void reap_all(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (!crew_reap(s, pid, status) &&
            !(s->redis && redis_child_reap(s->redis, pid, status)))
            log_debug("an unknown child ended pid=%d", pid);
}

static void on_signal(evutil_socket_t number, short what UNUSED, void *ctx)
{
    struct supervisor *s = ctx;
    switch (number) {
    case SIGCHLD:
        reap_all(s);
        break;
    case SIGHUP:
        if (supervisor_is_stopping(s))
            log_warn("SIGHUP ignored: heliod is stopping");
        else
            reload_ask(s);
        break;
    case SIGUSR1:
        supervisor_reopen_logs(s);
        break;
    case SIGUSR2:
        log_warn("SIGUSR2 is reserved: ignored");
        break;
    default:
        stop_ask(s, number == SIGINT ? "SIGINT" : "SIGTERM");
    }
}

static void watch_signals(struct supervisor *s)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    static_assert(ARRAY_LEN(numbers) == ARRAY_LEN(((struct supervisor *)NULL)->signals),
                  "one event per signal");
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        evsignal_assign(&s->signals[i], s->base, numbers[i], on_signal, s);
        evsignal_add(&s->signals[i], NULL);
    }
}

/* ── boot ── */

void supervisor_boot_failed(struct supervisor *s, const char *fmt, ...)
{
    va_list ap;
    struct err e = {0};
    if (s->phase != SUPERVISOR_BOOTING)
        return; /* the first reason is the reason */
    va_start(ap, fmt);
    vsnprintf(e.text, sizeof e.text, fmt, ap);
    va_end(ap);
    s->boot_failure = mem_strdup(e.text);
    log_error("not started: %s", e.text);
    stop_at_once(s, 1);
}

static bool all_running(const struct supervisor *s)
{
    return s->conf && slot_count(&s->slots, SLOT_RUNNING) == s->slots.slots_n;
}

static const struct member *without_bus(const struct supervisor *s)
{
    CREW_EACH(m, s)
    if (!member_child(m)->bus_up)
        return m;
    return NULL;
}

static void report_ready(struct supervisor *s)
{
    int fd = s->options->report_fd;
    if (notify_ready(getpid()) < 0)
        log_warn_errno("the service manager cannot be told that we are ready");
    if (fd < 0)
        return;
    if (s->logs.kind == LOGSINK_STDERR)
        log_info("going into the background: lines go to syslog from here on");
    logsink_detach(&s->logs);
    (void)!write(fd, REPORT_READY, 1);
    fd_close(&fd);
    (void)dup2(STDIN_FILENO,
               STDERR_FILENO); /* /dev/null: the starter's terminal is let go */
}

void supervisor_boot_look(struct supervisor *s)
{
    if (s->phase != SUPERVISOR_BOOTING || !all_running(s) || without_bus(s))
        return;
    s->phase = SUPERVISOR_SERVING;
    log_info("ready: %u workers, configuration %s", s->slots.slots_n,
             s->options->conf_file);
    report_ready(s);
    if (s->reload.is_asked)
        reload_ask(s);
}

static void fail_without_bus(struct supervisor *s, const struct member *m)
{
    struct buf where = {0};
    const char *why =
        m->bus_why[0] && strcmp(m->bus_why, "\"\"") != 0 ? m->bus_why : NULL;
    answers_redis(&s->conf->main.redis, &where);
    supervisor_boot_failed(
        s, "Invalid redis connection! %s%s%s: no connection within %" PRId64 " ms",
        buf_cstr(&where), why ? ": " : "", why ? why : "",
        s->conf->main.redis.connect_timeout);
    buf_free(&where);
}

/* Deadlines of the boot: first the workers', then the bus'. */
static void watch_boot(struct supervisor *s, int64_t now, int64_t late)
{
    const struct member *m;
    s->boot_ms = s->conf ? s->boot_ms + late : now; /* names are resolved first */
    int64_t waited = now - s->boot_ms;
    if (s->phase != SUPERVISOR_BOOTING || !s->conf)
        return;
    if (!all_running(s) && waited > s->conf->main.reload_timeout)
        supervisor_boot_failed(
            s, "%u of %u workers became ready within reload_timeout (%" PRId64 " ms)",
            slot_count(&s->slots, SLOT_RUNNING), s->slots.slots_n,
            s->conf->main.reload_timeout);
    else if (all_running(s) && (m = without_bus(s)) &&
             waited > s->conf->main.redis.connect_timeout)
        fail_without_bus(s, m);
}

static void on_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    struct supervisor *s = ctx;
    int64_t now = clock_now_ms(), pause = now - s->tick_ms;
    int64_t late = pause > TICK_LATE_MS ? pause : 0;
    s->tick_ms = now;
    if (s->conf)
        watch_all(s, now, late);
    watch_boot(s, now, late);
}

/* Only its owner may write there: the control socket and the pidfile are trusted by their
 * place. */
static int check_run_dir(const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_errno(e, "run_dir %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, "run_dir %s is not a directory", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(e, "run_dir %s belongs to another user (uid %u)", path, st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return err_set(e, "run_dir %s can be written by others (mode %04o)", path,
                       st.st_mode & 07777);
    return 0;
}

static int open_run_dir(struct supervisor *s, struct err *e)
{
    if (mkdir(s->run_dir, 0755) == 0)
        s->made_run_dir = true;
    else if (errno != EEXIST)
        return err_errno(e, "run_dir %s", s->run_dir);
    return check_run_dir(s->run_dir, e);
}

static void pidfile_path(const struct supervisor *s, char *out, size_t cap)
{
    snprintf(out, cap, "%s/heliod.pid", s->run_dir);
}

static int open_pidfile(struct supervisor *s, struct err *e)
{
    char path[PATH_MAX];
    pid_t holder;
    pidfile_path(s, path, sizeof path);
    s->pidfile_fd = fd_pidfile(path, &holder, e);
    if (s->pidfile_fd >= 0)
        return 0;
    return holder ? err_set(e, "heliod is running already: pid %d holds %s", holder, path)
                  : -1;
}

static int start_redis(struct supervisor *s, const struct conf *c, struct err *e)
{
    struct redis_url url;
    if (redis_url_parse(c->main.redis.url, &url, e) < 0)
        return -1;
    if (url.kind != REDIS_MANAGED)
        return 0;
    struct redis_child_conf conf = {.base = s->base,
                                    .run_dir = s->run_dir,
                                    .server = c->main.redis.server.p,
                                    .persist = c->main.redis.persist.p,
                                    .uid = s->user.drop ? s->user.uid : geteuid(),
                                    .gid = s->user.drop ? s->user.gid : getegid()};
    return redis_child_start(&conf, &s->redis, e);
}

static void on_book_changed(void *ctx)
{
    crew_send_addresses(ctx, NULL);
}

static void start_tick(struct supervisor *s)
{
    struct timeval tv = {0, SUPERVISOR_TICK_MS * 1000};
    s->tick_ms = s->boot_ms = clock_now_ms();
    event_assign(&s->tick, s->base, -1, EV_PERSIST, on_tick, s);
    event_add(&s->tick, &tv);
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static int init(struct supervisor *s, struct err *e)
{
    if (event_get_struct_event_size() > sizeof(struct event))
        return err_set(e, "libevent is not the one this program was built for");
    s->base = new_base();
    if (!s->base)
        return err_set(e, "libevent gives no event base");
    logsink_init(&s->logs);
    slot_table_init(&s->slots);
    listeners_init(&s->listeners);
    seating_init(s);
    crew_init(s);
    reload_init(s);
    ask_init(s);
    ctl_init(s);
    stop_init(s);
    return 0;
}

static int open_logs(struct supervisor *s, const struct conf *c, struct err *e)
{
    s->crew.level = (enum log_level)c->main.log.level;
    log_set_level(s->crew.level);
    if (logsink_open(&s->logs, c->main.log.target, e) < 0)
        return -1;
    log_init("heliod", logsink_line, &s->logs);
    return logsink_listen(&s->logs, s->base, crew_name, s, e);
}

/* In the order in which one thing needs another; whatever fails, close_all undoes what
 * was done. */
static int boot(struct supervisor *s, struct conf *c, struct err *e)
{
    watch_signals(s); /* before there is anything that a signal could leave behind */
    (void)fd_raise_limit();
    if (spawn_user_find(c->main.user.p, &s->user, e) < 0 || open_run_dir(s, e) < 0 ||
        open_pidfile(s, e) < 0 || open_logs(s, c, e) < 0)
        return -1;
    log_info("heliod " HELIOD_VERSION " starts pid=%d workers=%u", getpid(),
             reload_workers(c));
    if (geteuid() == 0 && !s->user.drop)
        log_warn("workers run as root: set `user`");
    (void)orphans_end(s->run_dir, s->user.uid);
    s->resolve = resolve_new(s->base, on_book_changed, s);
    if (!s->resolve)
        return err_set(e, "names cannot be resolved here");
    if (ctl_open(s, c->main.admin_group.p, e) < 0 || start_redis(s, c, e) < 0 ||
        reload_boot(s, conf_ref(c), e) < 0)
        return -1;
    start_tick(s);
    return 0;
}

/* ── the end: backwards ── */

static void forget_signals(struct supervisor *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->signals); i++)
        if (event_initialized(&s->signals[i]))
            event_del(&s->signals[i]);
}

static void close_files(struct supervisor *s)
{
    char path[PATH_MAX];
    pidfile_path(s, path, sizeof path);
    if (s->pidfile_fd >= 0)
        (void)unlink(path); /* while the lock is held: never somebody else's */
    fd_close(&s->pidfile_fd);
    if (s->made_run_dir)
        (void)rmdir(s->run_dir);
}

static void close_all(struct supervisor *s)
{
    crew_fini(s);
    ctl_close(s);
    reload_fini(s);
    seating_fini(s);
    stop_fini(s);
    listeners_fini(&s->listeners);
    redis_child_free(s->redis);
    resolve_free(s->resolve);
    forget_signals(s);
    if (event_initialized(&s->tick))
        event_del(&s->tick);
    conf_unref(s->conf);
    fd_close(&s->conf_fd);
    log_info("heliod ends pid=%d", getpid());
    log_init("heliod", NULL, NULL);
    logsink_fini(&s->logs);
    close_files(s);
    event_base_free(s->base);
}

static int serve(struct supervisor *s)
{
    int rc = event_base_dispatch(s->base);
    if (rc != 0 || !event_base_got_break(s->base)) {
        log_error("the event loop failed (%d)", rc);
        return 1;
    }
    return s->exit_code;
}

int supervisor_run(const struct supervisor_options *options, struct conf *conf,
                   struct err *e)
{
    struct supervisor *s = NEW(struct supervisor);
    s->options = options;
    s->started_ms = clock_now_ms();
    s->conf_fd = s->pidfile_fd = -1;
    s->run_dir = mem_strdup(conf->main.run_dir.p);
    int rc = init(s, e);
    if (rc == 0) {
        rc = boot(s, conf, e) == 0 ? serve(s) : 1;
        if (s->boot_failure)
            (void)err_set(e, "%s", s->boot_failure);
        close_all(s);
    } else {
        rc = 1;
    }
    conf_unref(conf);
    free(s->run_dir);
    free(s->boot_failure);
    free(s);
    return rc;
}
