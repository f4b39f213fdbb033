/* redis_child: the managed bus: a private redis-server on a Unix socket in run_dir,
 * in memory or with an append-only file elsewhere (redis_store), restarted with back-off,
 * gone with the supervisor. Owns the process, its directory run_dir/redis/ and the file
 * run_dir/redis.pid. Never reaps (the
 * supervisor's SIGCHLD does, and asks here) and never speaks Redis' protocol. */
#ifndef SUPERVISOR_REDIS_CHILD_H
#define SUPERVISOR_REDIS_CHILD_H

#include "common/conf.h"
#include "common/err.h"

#include <event2/event.h>

/* The socket below run_dir, for workers and supervisor alike (REDIS_MANAGED_SOCKET in
 * common/redis_url.h). */

struct redis_child;

struct redis_child_conf {
    struct event_base *base;
    const char *run_dir; /* exists */
    const char *server;  /* redis.server: a path, or a name looked up in PATH */
    const char *persist; /* redis.persist: a directory; "": none */
    uid_t uid; /* runs as these when we are root; run_dir/redis/ (0700) belongs to them */
    gid_t gid;
    void (*up)(void *ctx); /* NULL, or: called from the loop each time it has begun to
                              take connections */
    void *ctx;
};

/* Ends an orphan of a former life (run_dir/redis.pid names a process by pid and start
 * time; it must also bear our socket's path in its command line: a stranger is never
 * killed), then starts the program: own session, PDEATHSIG SIGKILL after setuid, signals
 * reset, configuration as arguments, output to the log. -1: it cannot be started at all
 * (no such program, directory not usable, socket held by somebody else): says what. */
int redis_child_start(const struct redis_child_conf *conf, struct redis_child **out,
                      struct err *e) NODISCARD;
/* From SIGCHLD: was it ours? Then a line is logged and a restart is planned (100 ms
 * doubling to 30 s, reset after 10 s of health; none while stopping). */
bool redis_child_reap(struct redis_child *r, pid_t pid, int status);
pid_t redis_child_pid(const struct redis_child *r);  /* 0: not running just now */
bool redis_child_is_up(const struct redis_child *r); /* it takes connections */
/* SIGTERM, after 2 s SIGKILL; `done` is called (from the loop) when it has gone, at once
 * if it is not running. */
void redis_child_stop(struct redis_child *r, void (*done)(void *ctx), void *ctx);
/* Kills it at once if it still runs (waiting for it), removes run_dir/redis/. NULL is
 * fine. */
void redis_child_free(struct redis_child *r);

#endif
