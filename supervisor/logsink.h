/* logsink: where log lines end: stderr, syslog or a file. The only writer of them;
 * workers hand theirs in through one datagram socket. Owns the file, both ends of that
 * socket and the counts of what was lost. Never blocks and never piles up: a target that
 * takes nothing (full disk, stuck pipe) loses lines, counted and told once. */
#ifndef SUPERVISOR_LOGSINK_H
#define SUPERVISOR_LOGSINK_H

#include "common/err.h"
#include "common/log.h"

#include <event2/event.h>
#include <event2/event_struct.h>

/* The process a worker logs as ("worker[0.1]"); NULL: no worker. */
typedef const char *(*logsink_who_fn)(void *ctx, pid_t pid);

enum logsink_kind { LOGSINK_STDERR, LOGSINK_SYSLOG, LOGSINK_FILE };

struct logsink {
    enum logsink_kind kind;
    int fd;     /* STDERR_FILENO, the file, or the socket to syslog (-1: not connected) */
    char *path; /* FILE */
    bool is_daemon;  /* stderr is no place for lines: they go to syslog instead */
    bool is_failing; /* told; lines are being lost */
    bool is_torn;    /* half a line stands in the file: begin with a newline */
    int failed_errno;
    uint64_t lost; /* since it fails */
    uint64_t lost_total;
    const char *syslog_path; /* "/dev/log" */
    int worker_end, own_end; /* -1: not open */
    logsink_who_fn who;
    void *who_ctx;
    struct event readable;
};

void logsink_init(struct logsink *l);
void logsink_fini(struct logsink *l);

/* target as in log.target. -1: the file cannot be opened (the old target stays). */
int logsink_open(struct logsink *l, struct str target, struct err *e) NODISCARD;
int logsink_reopen(struct logsink *l, struct err *e)
    NODISCARD; /* the file again, under its name (SIGUSR1) */
/* From here on stderr does not exist: a target of stderr means syslog. */
void logsink_detach(struct logsink *l);
/* One whole line without its newline, as a log_sink_fn (ctx is the logsink). */
void logsink_line(void *ctx, enum log_level level, struct str line);

/* Workers' lines. The worker end is inherited by every worker; the own end is read by the
 * loop. The kernel says who wrote: a line in anybody else's name is told as what its
 * writer has printed. */
int logsink_listen(struct logsink *l, struct event_base *base, logsink_who_fn who,
                   void *ctx, struct err *e) NODISCARD;
/* Reads what is there now: before a worker's death is told, its last words. */
void logsink_drain(struct logsink *l);

#endif
