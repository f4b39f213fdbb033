#include "supervisor/redis_store.h"

#include "common/fd.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK "heliod.lock"

static int check_owner(const char *dir, int fd, uid_t uid, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, "redis.persist: cannot look at %s", dir);
    if (st.st_uid != uid)
        return err_set(e,
                       "redis.persist: %s belongs to user %u, but redis-server runs as "
                       "user %u: give it to that one, or name a directory that is not "
                       "there yet",
                       dir, st.st_uid, uid);
    if ((st.st_mode & 0777) != 0700)
        return err_set(e,
                       "redis.persist: %s has mode %04o: what stands in inboxes is for "
                       "nobody else, make it 0700",
                       dir, st.st_mode & 0777);
    return 0;
}

static int open_dir(const char *dir, uid_t uid, gid_t gid, struct err *e)
{
    bool is_new = mkdir(dir, 0700) == 0;
    if (!is_new && errno != EEXIST)
        return err_errno(e, "redis.persist: cannot make %s", dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "redis.persist: cannot use %s", dir);
    if (is_new && geteuid() == 0 && fchown(fd, uid, gid) < 0)
        err_errno(e, "redis.persist: cannot give %s to user %u", dir, uid);
    else if (check_owner(dir, fd, uid, e) == 0)
        return fd;
    fd_close(&fd);
    return -1;
}

/* Two servers that write one file would ruin it. */
static int lock(const char *dir, int at, struct err *e)
{
    int fd = openat(at, LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "redis.persist: cannot make %s/" LOCK, dir);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (errno == EWOULDBLOCK)
        err_set(e, "redis.persist: %s is in use by another heliod", dir);
    else
        err_errno(e, "redis.persist: cannot lock %s/" LOCK, dir);
    fd_close(&fd);
    return -1;
}

int redis_store_open(const char *dir, uid_t uid, gid_t gid, struct err *e)
{
    int at = open_dir(dir, uid, gid, e);
    if (at < 0)
        return -1;
    int fd = lock(dir, at, e);
    fd_close(&at);
    return fd;
}
