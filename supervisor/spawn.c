#include "supervisor/spawn.h"
#include "common/fd.h"
#include "common/mem.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int spawn_user_find(const char *name, struct spawn_user *out, struct err *e)
{
    *out = (struct spawn_user){.uid = getuid(), .gid = getgid()};
    if (!*name || geteuid() != 0)
        return 0;
    errno = 0;
    struct passwd *pw = getpwnam(name);
    if (!pw && errno && errno != ENOENT)
        return err_errno(e, "user `%s`", name);
    if (!pw)
        return err_set(e, "user `%s` does not exist", name);
    *out = (struct spawn_user){.drop = true, .uid = pw->pw_uid, .gid = pw->pw_gid};
    return 0;
}

int spawn_group_find(const char *name, bool *given, gid_t *gid, struct err *e)
{
    *given = false;
    if (!*name)
        return 0;
    errno = 0;
    struct group *gr = getgrnam(name);
    if (!gr && errno && errno != ENOENT)
        return err_errno(e, "admin_group `%s`", name);
    if (!gr)
        return err_set(e, "admin_group `%s` does not exist", name);
    *given = true;
    *gid = gr->gr_gid;
    return 0;
}

char *spawn_find_worker(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof "heliod-worker");
    if (n <= 0)
        return mem_strdup(HELIOD_WORKER);
    path[n] = '\0';
    char *name = strrchr(path, '/') + 1;
    strcpy(name, "heliod-worker"); /* the room for it is kept free above */
    return mem_strdup(access(path, X_OK) == 0 ? path : HELIOD_WORKER);
}

/* ── in the child: between fork and exec ── */

struct failure {
    int error;
    char step[40];
};

NORETURN static void fail(int report, const char *step)
{
    struct failure f = {.error = errno};
    snprintf(f.step, sizeof f.step, "%s", step);
    (void)!write(report, &f, sizeof f);
    _exit(127);
}

/* Sources above the fixed numbers first: one of them could stand where another has to go.
 * What heliod itself has inherited goes no further: neither a terminal nor somebody's
 * lock. */
static void place_fds(const struct spawn *s, int *report)
{
    int from[] = {s->chan_fd, s->counters_fd, s->log_fd};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *report = fcntl(*report, F_DUPFD_CLOEXEC, SPAWN_FD_N);
    for (unsigned i = 0; i < ARRAY_LEN(from); i++)
        from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, SPAWN_FD_N);
    for (unsigned i = 0; i < ARRAY_LEN(from); i++)
        if (from[i] < 0 || dup2(from[i], SPAWN_FD_CHAN + (int)i) < 0)
            fail(*report, "descriptors");
    /* What a bug or a sanitizer prints last becomes log lines. */
    if (dup2(null, STDIN_FILENO) < 0 || dup2(SPAWN_FD_LOG, STDOUT_FILENO) < 0 ||
        dup2(SPAWN_FD_LOG, STDERR_FILENO) < 0 ||
        close_range(SPAWN_FD_N, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        fail(*report, "descriptors");
}

void spawn_reset_signals(void)
{
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL); /* KILL and STOP refuse, which is fine */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void drop_privileges(const struct spawn_user *u, int report)
{
    if (!u->drop)
        return;
    if (setgroups(1, &u->gid) < 0)
        fail(report, "setgroups");
    if (setresgid(u->gid, u->gid, u->gid) < 0)
        fail(report, "setgid");
    if (setresuid(u->uid, u->uid, u->uid) < 0)
        fail(report, "setuid");
}

/* setuid clears PDEATHSIG, so it comes after; a parent that died before it is noticed by
 * getppid. SIGTERM, not SIGKILL: clients of a house whose landlord died are still told
 * 1001 (the end of the control channel says the same; this also ends one before its
 * loop). */
static void bind_to_parent(pid_t parent, int report)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
        fail(report, "PDEATHSIG");
    if (getppid() != parent)
        _exit(127);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fail(report, "no_new_privs");
}

char **spawn_environment(void)
{
    static const char *const kept[] = {
        "PATH=",          "TZ=",
        "LANG=",          "LC_ALL=",
        "SSL_CERT_FILE=", "SSL_CERT_DIR=",
        "ASAN_OPTIONS=",  "UBSAN_OPTIONS=",
        "LSAN_OPTIONS=",  "LLVM_PROFILE_FILE=",
        "GCOV_PREFIX=",
    };
    char **clean = mem_new((ARRAY_LEN(kept) + 1) * sizeof *clean);
    size_t n = 0;
    for (char **v = environ; v && *v; v++)
        for (size_t i = 0; i < ARRAY_LEN(kept); i++)
            if (strncmp(*v, kept[i], strlen(kept[i])) == 0 && n < ARRAY_LEN(kept))
                clean[n++] = *v;
    return clean;
}

NORETURN static void become_worker(const struct spawn *s, pid_t parent, int report)
{
    char slot[16], worker[16];
    snprintf(slot, sizeof slot, "%u", s->slot);
    snprintf(worker, sizeof worker, "%u", s->worker);
    char *argv[] = {"heliod-worker",    slot, worker, (char *)s->log_level,
                    (char *)s->run_dir, NULL};
    place_fds(s, &report);
    spawn_reset_signals();
    if (setsid() < 0)
        fail(report, "setsid");
    drop_privileges(&s->user, report);
    bind_to_parent(parent, report);
    execve(s->path, argv, spawn_environment());
    fail(report, "exec");
}

/* ── in the parent ── */

static pid_t fork_worker(const struct spawn *s, int report)
{
    sigset_t all, old;
    pid_t parent = getpid();
    sigfillset(&all); /* our handlers must not run in the child: they would write into our
                         own self-pipe */
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0)
        become_worker(s, parent, report);
    int saved = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return pid;
}

/* EOF: the exec has closed its end. */
static int await_exec(int report, struct failure *f)
{
    ssize_t n;
    do
        n = read(report, f, sizeof *f);
    while (n < 0 && errno == EINTR);
    return n == sizeof *f ? -1 : 0;
}

pid_t spawn_worker(const struct spawn *s, struct err *e)
{
    int report[2];
    struct failure f;
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_errno(e, "pipe");
    pid_t pid = fork_worker(s, report[1]);
    fd_close(&report[1]);
    if (pid < 0) {
        (void)err_errno(e, "fork");
    } else if (await_exec(report[0], &f) < 0) {
        waitpid(pid, NULL, 0); /* it is in _exit */
        pid = err_set(e, "%s: %.40s: %s", s->path, f.step, strerror(f.error));
    }
    fd_close(&report[0]);
    return pid;
}
