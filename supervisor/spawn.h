/* spawn: fork and exec of a worker: fixed descriptors, own session, privileges dropped,
 * nothing else inherited. Owns nothing it does not return. Never returns in the child. */
#ifndef SUPERVISOR_SPAWN_H
#define SUPERVISOR_SPAWN_H

#include "common/err.h"

/* What a worker finds (worker/main.c has the same numbers). */
enum spawn_fd {
    SPAWN_FD_CHAN = 3,
    SPAWN_FD_COUNTERS = 4,
    SPAWN_FD_LOG = 5,
    SPAWN_FD_N = 6
};

struct spawn_user {
    bool drop; /* we are root and `user:` is given */
    uid_t uid;
    gid_t gid;
};
/* name empty, or we are not root: drop is false. -1: no such user. */
int spawn_user_find(const char *name, struct spawn_user *out, struct err *e) NODISCARD;
/* name empty: *given is false. */
int spawn_group_find(const char *name, bool *given, gid_t *gid, struct err *e) NODISCARD;

struct spawn {
    const char *path; /* of heliod-worker */
    const char *run_dir, *log_level;
    unsigned slot, worker;
    int chan_fd, counters_fd, log_fd; /* stay the caller's */
    struct spawn_user user;
};
/* argv: heliod-worker SLOT WORKER LOGLEVEL RUN_DIR. Waits for the exec itself (well under
 * a millisecond), so that a program that cannot be started is an error here and not a
 * riddle later. Returns the pid, or -1 and e. */
pid_t spawn_worker(const struct spawn *s, struct err *e) NODISCARD;

/* For any child of ours, between fork and exec: no handler, nothing blocked or ignored.
 */
void spawn_reset_signals(void);
/* Secrets may have come to us by environment: children get what is known to be needed,
 * nothing else. Never freed: the exec ends it. */
char **spawn_environment(void);

/* heliod-worker: beside our own program (a build tree), else where it is installed.
 * Caller frees. */
char *spawn_find_worker(void);

#endif
