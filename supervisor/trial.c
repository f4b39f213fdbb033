#include "supervisor/trial.h"

#include "common/fd.h"
#include "supervisor/spawn.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: the configuration is descriptor 3, what the worker says goes to us. */
NORETURN static void become_worker(const char *worker, int conf_fd, int words_fd)
{
    char *argv[] = {(char *)worker, "check", NULL};
    if (dup2(words_fd, STDERR_FILENO) < 0 || dup2(conf_fd, SPAWN_FD_CHAN) < 0 ||
        fcntl(SPAWN_FD_CHAN, F_SETFD, 0) < 0)
        _exit(127);
    execve(worker, argv, spawn_environment());
    dprintf(STDERR_FILENO, "%s: %s", worker, strerror(errno));
    _exit(127);
}

/* All it says, cut at what an error can hold. */
static void listen_to(int fd, struct err *e)
{
    char rest[256];
    size_t n = 0;
    ssize_t got;
    while ((got = read(fd, e->text + n, sizeof(e->text) - 1 - n)) > 0)
        n += (size_t)got;
    e->text[n] = 0;
    while (read(fd, rest, sizeof(rest)) > 0)
        ;
    while (n > 0 && e->text[n - 1] == '\n')
        e->text[--n] = 0;
}

static int ask(const char *worker, int conf_fd, struct err *e)
{
    int words[2], status = 0;
    if (pipe2(words, O_CLOEXEC) < 0)
        return err_errno(e, "a pipe to heliod-worker");
    pid_t pid = fork();
    if (pid == 0)
        become_worker(worker, conf_fd, words[1]);
    fd_close(&words[1]);
    if (pid < 0) {
        fd_close(&words[0]);
        return err_errno(e, "heliod-worker cannot be asked");
    }
    listen_to(words[0], e);
    fd_close(&words[0]);
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return e->text[0] ? -1 : err_set(e, "%s ended with status %#x", worker, status);
}

int trial_run(const struct conf *c, const char *worker, struct err *e)
{
    int fd = conf_seal(c, e);
    if (fd < 0)
        return -1;
    int rc = ask(worker, fd, e);
    fd_close(&fd);
    return rc < 0 ? err_add(e, "%s", c->file) : 0;
}
