/* stop: the ways out: gracefully (each client gets its 1001, each queue is served) or at
 * once. Owns the timer of shutdown_delay. Never leaves a child, a socket file or the
 * pidfile behind. */
#ifndef SUPERVISOR_STOP_H
#define SUPERVISOR_STOP_H

#include "common/base.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct supervisor;

#define STOP_MARGIN_MS 2000 /* beyond shutdown_timeout, before SIGKILL */

struct stop {
    struct event delay;
    bool at_once;
};

void stop_init(struct supervisor *s);
void stop_fini(struct supervisor *s);
/* SIGTERM, SIGINT, helioctl stop: graceful; a second request: at once, and the exit code
 * is 1. */
void stop_ask(struct supervisor *s, const char *who);
void stop_at_once(struct supervisor *s, int exit_code);
/* A worker is gone: was it the last? */
void stop_look(struct supervisor *s);

#endif
