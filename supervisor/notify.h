/* notify: tells the service manager how we are (sd_notify protocol), without its library.
 * Owns nothing between calls. Never blocks, never fails the caller: without NOTIFY_SOCKET
 * nothing happens. */
#ifndef SUPERVISOR_NOTIFY_H
#define SUPERVISOR_NOTIFY_H

#include "common/base.h"

/* All return 1 when told, 0 when nobody listens, -1 (errno) when it could not be sent. */
int notify_ready(pid_t main_pid);
int notify_reloading(void); /* ended by notify_ready */
int notify_stopping(void);

#endif
