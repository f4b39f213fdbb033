#include "supervisor/redis_store.h"

#include "common/fd.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/fsuid.h>
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

/* Made by us just now: nobody can have put another in its place but whoever could make it
 * there himself. */
static int give_away(const char *dir, uid_t uid, gid_t gid, struct err *e)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = 0;
    if (fd < 0 || fchown(fd, uid, gid) < 0)
        rc = err_errno(e, "redis.persist: cannot give %s to user %u", dir, uid);
    fd_close(&fd);
    return rc;
}

/* With the rights that redis-server will have on the way there. */
static int open_as(const char *dir, uid_t uid, gid_t gid)
{
    int old_gid = setfsgid(gid), old_uid = setfsuid(uid);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int why = errno;
    setfsuid((uid_t)old_uid);
    setfsgid((gid_t)old_gid);
    errno = why;
    return fd;
}

static int open_dir(const char *dir, uid_t uid, gid_t gid, struct err *e)
{
    int fd = -1;
    bool is_new = mkdir(dir, 0700) == 0;
    if (!is_new && errno != EEXIST)
        return err_errno(e, "redis.persist: cannot make %s", dir);
    bool is_given = !is_new || geteuid() != 0 || give_away(dir, uid, gid, e) == 0;
    if (is_given && (fd = open_as(dir, uid, gid)) < 0)
        err_errno(e, "redis.persist: user %u cannot use %s", uid, dir);
    else if (is_given && check_owner(dir, fd, uid, e) < 0)
        fd_close(&fd);
    if (fd < 0 && is_new)
        rmdir(dir);
    return fd;
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
