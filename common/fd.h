/* fd: descriptors handled with care. Owns nothing it does not return.
 * Never leaks a descriptor into a child: everything opened here is CLOEXEC. */
#ifndef COMMON_FD_H
#define COMMON_FD_H

#include "common/err.h"
#include "common/buf.h"

#include <sys/socket.h>

void fd_close(int *fd); /* closes if >= 0 and sets -1; preserves errno */
int fd_nonblock(int fd, struct err *e) NODISCARD;
int fd_pair(int type, int fds[2],
            struct err *e) NODISCARD; /* AF_UNIX socketpair, CLOEXEC, NONBLOCK */
/* A sealed (write, shrink, grow) memfd holding the bytes. Returns the descriptor or -1.
 */
int fd_sealed(const char *name, struct str bytes, struct err *e) NODISCARD;
/* Appends all of a descriptor, from its start, to out; at most max bytes (more is an
 * error, and out as it was). */
int fd_slurp(int fd, size_t max, struct buf *out, struct err *e) NODISCARD;
/* The same for a file by path; errors name the path. */
int fd_read_file(const char *path, size_t max, struct buf *out, struct err *e) NODISCARD;
/* Opens, locks (CLOEXEC) and writes the pid. -1 when another process holds it; its pid in
 * *holder (0 unknown). */
int fd_pidfile(const char *path, pid_t *holder, struct err *e) NODISCARD;
/* Raises the soft limit of open files to the hard one; returns the limit in force. */
uint64_t fd_raise_limit(void);

#endif
