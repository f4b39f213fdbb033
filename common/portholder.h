/* portholder: which process listens there: looks through /proc, so that an error can name
 * whoever holds a port. Owns nothing. Never certain: other users' descriptors and other
 * network namespaces may be out of sight. */
#ifndef COMMON_PORTHOLDER_H
#define COMMON_PORTHOLDER_H

#include "common/base.h"

#include <sys/socket.h>

struct portholder {
    pid_t pid;        /* 0: somebody, but it cannot be seen who */
    char command[64]; /* its name, not its arguments: those may hold secrets */
};

/* Sockets to look past: the asker's own. NULL: none. */
typedef bool (*portholder_skip_fn)(void *ctx, uint64_t inode);

/* Somebody listening where a bind to `sa` would get in the way (the same address, or a
 * wildcard on either side). */
bool portholder_tcp(const struct sockaddr *sa, portholder_skip_fn skip, void *ctx,
                    struct portholder *out);
bool portholder_unix(const char *path, struct portholder *out);
/* "held by pid 812 (nginx)" or "held by another process"; valid until the next call. */
const char *portholder_text(const struct portholder *h);

#endif
