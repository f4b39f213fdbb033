#include "supervisor/orphans.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM "orphans"
#define ORPHANS_MAX 256

/* The n-th of the NUL-terminated words. */
static const char *word(const char *words, size_t len, unsigned n)
{
    const char *end = words + len;
    for (; n > 0 && words < end; n--)
        words += strlen(words) + 1;
    return words < end ? words : "";
}

/* argv as spawn made it: heliod-worker SLOT WORKER LOGLEVEL RUN_DIR. */
static bool has_our_words(int proc, const char *run_dir)
{
    char words[1024];
    int fd = openat(proc, "cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, words, sizeof words - 1);
    fd_close(&fd);
    if (n <= 0)
        return false;
    words[n] = '\0';
    return strcmp(word(words, (size_t)n, 0), "heliod-worker") == 0 &&
           strcmp(word(words, (size_t)n, 4), run_dir) == 0;
}

static bool is_ours(int proc, const char *run_dir, uid_t worker_uid)
{
    struct stat st;
    if (fstat(proc, &st) < 0 || (st.st_uid != worker_uid && st.st_uid != geteuid()))
        return false;
    return has_our_words(proc, run_dir);
}

/* A descriptor of the process: its number may be somebody else's by the time we act. */
static int open_if_ours(pid_t pid, const char *run_dir, uid_t worker_uid)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", pid);
    int handle = pidfd_open(pid, 0);
    int proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0 || proc < 0 || !is_ours(proc, run_dir, worker_uid))
        fd_close(&handle);
    fd_close(&proc);
    return handle;
}

static unsigned find(struct pollfd *found, const char *run_dir, uid_t worker_uid)
{
    unsigned n = 0;
    uint64_t pid;
    DIR *dir = opendir("/proc");
    for (struct dirent *d; dir && n < ORPHANS_MAX && (d = readdir(dir));) {
        if (!str_to_u64(str_of(d->d_name), INT32_MAX, &pid))
            continue;
        int handle = open_if_ours((pid_t)pid, run_dir, worker_uid);
        if (handle >= 0)
            found[n++] = (struct pollfd){.fd = handle, .events = POLLIN};
    }
    if (dir)
        closedir(dir);
    return n;
}

/* Readable: it has ended. */
static unsigned await(struct pollfd *found, unsigned n, int64_t ms)
{
    int64_t now = clock_now_ms(), end = now + ms;
    unsigned left = n;
    for (; left > 0 && now < end; now = clock_now_ms()) {
        if (poll(found, n, (int)(end - now)) <= 0)
            continue;
        for (unsigned i = 0; i < n; i++)
            if (found[i].fd >= 0 && found[i].revents) {
                fd_close(&found[i].fd);
                left--;
            }
    }
    return left;
}

unsigned orphans_end(const char *run_dir, uid_t worker_uid)
{
    struct pollfd found[ORPHANS_MAX];
    unsigned n = find(found, run_dir, worker_uid);
    unsigned stuck = await(found, n, ORPHANS_GRACE_MS);
    for (unsigned i = 0; i < n; i++)
        if (found[i].fd >= 0)
            (void)pidfd_send_signal(found[i].fd, SIGKILL, NULL, 0);
    (void)await(found, n, ORPHANS_GRACE_MS);
    for (unsigned i = 0; i < n; i++)
        fd_close(&found[i].fd);
    if (stuck)
        log_warn("workers of a heliod that died were left and have been killed: %u",
                 stuck);
    return stuck;
}
