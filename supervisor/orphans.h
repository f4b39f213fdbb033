/* orphans: workers of a former heliod of this run_dir that did not leave when it died
 * (stuck, or stopped): they still hold its ports. Owns nothing. Never touches a process
 * unless program, run_dir and user say that it was ours. */
#ifndef SUPERVISOR_ORPHANS_H
#define SUPERVISOR_ORPHANS_H

#include "common/base.h"

#define ORPHANS_GRACE_MS                                                                 \
    500 /* for those that are just saying goodbye to their clients                       \
         */

/* While the pidfile's lock is held, so no other heliod of this run_dir lives. Waits for
 * the grace, then SIGKILL. Returns how many had to be killed. */
unsigned orphans_end(const char *run_dir, uid_t worker_uid);

#endif
