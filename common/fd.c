#include "common/fd.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLURP_STEP 16384

void fd_close(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

int fd_nonblock(int fd, struct err *e)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_errno(e, "cannot make descriptor %d non-blocking", fd);
    return 0;
}

int fd_pair(int type, int fds[2], struct err *e)
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0)
        return 0;
    fds[0] = fds[1] = -1;
    return err_errno(e, "cannot make a socket pair");
}

static int write_all(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            bytes = (struct str){bytes.p + n, bytes.n - (size_t)n};
    }
    return 0;
}

int fd_sealed(const char *name, struct str bytes, struct err *e)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_errno(e, "cannot make memory file %s", name);
    int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (write_all(fd, bytes) < 0) {
        err_errno(e, "cannot write memory file %s", name);
        fd_close(&fd);
    } else if (fcntl(fd, F_ADD_SEALS, seals) < 0) {
        err_errno(e, "cannot seal memory file %s", name);
        fd_close(&fd);
    }
    return fd;
}

/* pread, so that a shared file offset does not matter; pipes have none and are just read.
 */
static ssize_t read_at(int fd, char *p, size_t n, off_t at)
{
    ssize_t got;
    do {
        got = pread(fd, p, n, at);
        if (got < 0 && errno == ESPIPE)
            got = read(fd, p, n);
    } while (got < 0 && errno == EINTR);
    return got;
}

int fd_slurp(int fd, size_t max, struct buf *out, struct err *e)
{
    size_t start = out->n, have = 0;
    BUG_ON(max >= SIZE_MAX / 4);
    for (;;) {
        size_t step = MIN((size_t)SLURP_STEP, max + 1 - have);
        ssize_t got = read_at(fd, buf_reserve(out, step), step, (off_t)have);
        if (got == 0)
            return 0;
        if (got > 0) {
            have += (size_t)got;
            out->n += (size_t)got;
        }
        if (got > 0 && have <= max)
            continue;
        out->n = start;
        return got < 0 ? err_errno(e, "cannot read")
                       : err_set(e, "longer than %zu bytes", max);
    }
}

/* Non-blocking, because opening a FIFO that nobody writes would wait for ever. */
int fd_read_file(const char *path, size_t max, struct buf *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_errno(e, "%s", path);
    int rc = fd_slurp(fd, max, out, e);
    if (rc < 0)
        err_add(e, "%s", path);
    fd_close(&fd);
    return rc;
}

static pid_t read_pid(int fd)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof(text), 0);
    uint64_t pid;
    if (n <= 0)
        return 0;
    struct str rest, line = str_split((struct str){text, (size_t)n}, '\n', &rest);
    return str_to_u64(line, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

/* Whether the path still leads to the locked file: its last owner may have unlinked it
 * meanwhile. */
static bool is_at_path(int fd, const char *path)
{
    struct stat mine, there;
    return fstat(fd, &mine) == 0 && stat(path, &there) == 0 &&
           mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

static int write_pid(int fd, const char *path, struct err *e)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return err_errno(e, "cannot write %s", path);
    return 0;
}

/* flock belongs to the open file: a daemon's child keeps it when its parent leaves. */
static int open_locked(const char *path, pid_t *holder, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (errno != EWOULDBLOCK) {
        err_errno(e, "cannot lock %s", path);
    } else {
        *holder = read_pid(fd);
        err_set(e, "%s is held by process %d", path, (int)*holder);
    }
    fd_close(&fd);
    return -1;
}

int fd_pidfile(const char *path, pid_t *holder, struct err *e)
{
    *holder = 0;
    int fd = open_locked(path, holder, e);
    for (int tries = 0; fd >= 0 && !is_at_path(fd, path); tries++) {
        fd_close(&fd);
        if (tries == 10)
            return err_set(e, "%s vanishes again and again", path);
        fd = open_locked(path, holder, e);
    }
    if (fd >= 0 && write_pid(fd, path, e) < 0)
        fd_close(&fd);
    return fd;
}

uint64_t fd_raise_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return 0;
    struct rlimit wanted = {r.rlim_max, r.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        r = wanted;
    return r.rlim_cur;
}
