#include "supervisor/notify.h"
#include "common/clock.h"
#include "common/fd.h"

#include <sys/un.h>
#include <unistd.h>

/* sd_notify(3): a path, or '@' for the abstract namespace. Returns the address length, 0
 * when it is neither. */
static socklen_t read_address(const char *where, struct sockaddr_un *un)
{
    size_t n = strlen(where);
    if ((where[0] != '/' && where[0] != '@') || n < 2 || n >= sizeof un->sun_path)
        return 0;
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(un->sun_path, where, n);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (where[0] == '@')
        un->sun_path[0] = '\0'; /* the name is exactly n bytes: no NUL belongs to it */
    else
        len++;
    return len;
}

static int tell(const char *text)
{
    const char *where = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un;
    if (!where || !*where)
        return 0;
    socklen_t len = read_address(where, &un);
    if (!len) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    ssize_t n = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&un, len);
    fd_close(&fd);
    return n < 0 ? -1 : 1;
}

int notify_ready(pid_t main_pid)
{
    char text[96];
    snprintf(text, sizeof text, "READY=1\nSTATUS=Serving\nMAINPID=%ld\n", (long)main_pid);
    return tell(text);
}

int notify_reloading(void)
{
    char text[96];
    snprintf(text, sizeof text,
             "RELOADING=1\nSTATUS=Reloading\nMONOTONIC_USEC=%" PRId64 "\n",
             clock_now_us());
    return tell(text);
}

int notify_stopping(void)
{
    return tell("STOPPING=1\nSTATUS=Stopping\n");
}
