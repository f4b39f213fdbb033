/* supervisor: the landlord: everything that must survive a worker, in one struct that is
 * passed around. Owns the loop, the live configuration, ports, slots, workers, the
 * managed Redis, logs, pidfile and control socket. Never serves a client. */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include "supervisor/ask.h"
#include "supervisor/crew.h"
#include "supervisor/from_ctl.h"
#include "supervisor/logsink.h"
#include "supervisor/pages.h"
#include "supervisor/redis_child.h"
#include "supervisor/reload.h"
#include "supervisor/resolve.h"
#include "supervisor/seating.h"
#include "supervisor/stop.h"

#define SUPERVISOR_TICK_MS 500

enum supervisor_phase {
    SUPERVISOR_BOOTING, /* until all workers are READY and the bus answers */
    SUPERVISOR_SERVING,
    SUPERVISOR_UNREADY,  /* a stop was asked for; /ready says 503 for shutdown_delay */
    SUPERVISOR_STOPPING, /* listeners closed, workers say goodbye */
    SUPERVISOR_ENDING,   /* no worker left; the managed Redis leaves */
};

struct supervisor_options {
    const char *conf_file; /* absolute */
    const char *worker;    /* path of heliod-worker */
    bool is_daemon;
    int report_fd; /* daemon: the starter waits here for one byte (ready) or a reason;
                      else -1 */
};

struct supervisor {
    const struct supervisor_options *options;
    enum supervisor_phase phase;
    int exit_code;
    char *boot_failure; /* why, when it never got beyond BOOTING */
    int64_t started_ms, tick_ms;
    int64_t boot_ms; /* BOOTING: since when workers and the bus are waited for */

    struct event_base *base;
    struct event signals[6], tick;

    struct conf *conf; /* live; NULL until the boot's transaction has gone through */
    int conf_fd;       /* the same, sealed, for workers */
    char *run_dir;     /* a BOOT key, so it lives as long as we do */
    bool made_run_dir;
    int pidfile_fd;
    struct spawn_user user;

    struct logsink logs;
    struct slot_table slots;
    struct listeners listeners;
    struct seating seating;
    struct crew crew;
    struct pages pages;
    struct reload reload;
    struct asking asking;
    struct ctl ctl;
    struct stop stop;
    struct resolve *resolve;
    struct redis_child *redis; /* NULL: an external one */
};

/* The whole life: boot with this configuration (whose reference is taken), serve, stop.
 * Returns the exit code; when the boot failed the reason is in e and nothing is left
 * behind. */
int supervisor_run(const struct supervisor_options *options, struct conf *conf,
                   struct err *e);

/* ── for the rooms of this house ── */

/* The boot cannot go on: the reason is kept, everything ends, the exit code is 1. Only
 * while BOOTING. */
void supervisor_boot_failed(struct supervisor *s, const char *fmt, ...) PRINTF(2, 3);
/* Something a boot waits for may have come: READY or bus news from a worker. */
void supervisor_boot_look(struct supervisor *s);
bool supervisor_is_stopping(const struct supervisor *s);
/* The last worker has gone, and Redis: leaves the loop. */
void supervisor_leave(struct supervisor *s);
void supervisor_reopen_logs(struct supervisor *s);

#endif
