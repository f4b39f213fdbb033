#include "supervisor/ctl/heliod.h"

#include "common/fd.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (1u << 20)
#define STATUS_NOT_FOUND 127

/* Where sbin is not in an ordinary user's PATH. */
static const char *const sbin_dirs[] = {"/usr/local/sbin", "/usr/sbin", "/sbin"};

/* The directory of the running program, with its slash. */
static void put_own_dir(struct buf *b)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path));

    while (n > 0 && path[n - 1] != '/')
        n--;
    buf_put(b, path, (size_t)MAX(n, 0));
}

/* Only returns when there is none: beside ourselves first, so that a build tree uses its
 * own. */
static void exec_heliod(char *const *argv)
{
    struct buf path = {0};

    put_own_dir(&path);
    buf_printf(&path, "heliod");
    execv(buf_cstr(&path), argv);
    execvp("heliod", argv);
    for (size_t i = 0; i < ARRAY_LEN(sbin_dirs); i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/heliod", sbin_dirs[i]);
        execv(buf_cstr(&path), argv);
    }
    buf_free(&path);
}

static int wait_for(pid_t pid, int *status, struct err *e)
{
    int raw;

    while (waitpid(pid, &raw, 0) < 0) {
        if (errno != EINTR)
            return err_errno(e, "cannot wait for heliod");
    }
    if (WIFSIGNALED(raw))
        return err_set(e, "heliod was ended by signal %d (%s)", WTERMSIG(raw),
                       strsignal(WTERMSIG(raw)));
    *status = WEXITSTATUS(raw);
    if (*status == STATUS_NOT_FOUND)
        return err_set(e, "heliod was not found beside helioctl, in PATH or in sbin");
    return 0;
}

/* Output goes to memory files: two pipes would have to be read in turns. */
static int run(char *const *argv, int out_fd, int err_fd, int *status, struct err *e)
{
    if (out_fd < 0 || err_fd < 0)
        return err_errno(e, "cannot make a memory file");
    pid_t pid = fork();
    if (pid < 0)
        return err_errno(e, "cannot start heliod");
    if (pid == 0) {
        if (dup2(out_fd, STDOUT_FILENO) >= 0 && dup2(err_fd, STDERR_FILENO) >= 0)
            exec_heliod(argv);
        _exit(STATUS_NOT_FOUND);
    }
    return wait_for(pid, status, e);
}

static int run_captured(char *const *argv, struct buf *out, struct buf *err, int *status,
                        struct err *e)
{
    int out_fd = memfd_create("stdout", MFD_CLOEXEC);
    int err_fd = memfd_create("stderr", MFD_CLOEXEC);
    int rc = run(argv, out_fd, err_fd, status, e);

    if (rc == 0 && (fd_slurp(out_fd, OUTPUT_MAX, out, e) < 0 ||
                    fd_slurp(err_fd, OUTPUT_MAX, err, e) < 0))
        rc = err_add(e, "heliod's output");
    fd_close(&out_fd);
    fd_close(&err_fd);
    return rc;
}

int heliod_check(const char *config, struct buf *out, struct buf *err, int *status,
                 struct err *e)
{
    char *argv[] = {"heliod", "-t", "-c", (char *)config, NULL};

    return run_captured(argv, out, err, status, e);
}

int heliod_socket_of(const char *config, struct buf *path, struct err *e)
{
    char *argv[] = {"heliod", "--print-socket", "-c", (char *)config, NULL};
    struct buf out = {0}, err = {0};
    int status = 0;
    int rc = run_captured(argv, &out, &err, &status, e);
    struct str rest, line = str_split(buf_view(&out), '\n', &rest);

    if (rc == 0 && status != 0)
        rc = err_set(e, STR_FMT, STR_ARG(buf_view(&err)));
    else if (rc == 0 && line.n == 0)
        rc = err_set(e, "heliod --print-socket -c %s named no socket", config);
    if (rc == 0)
        buf_str(path, line);
    buf_free(&out);
    buf_free(&err);
    return rc;
}
