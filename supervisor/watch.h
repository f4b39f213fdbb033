/* watch: once a tick it looks for workers that stand still, do not become ready, or do
 * not leave in time. Owns nothing. Never judges after a pause of its own. */
#ifndef SUPERVISOR_WATCH_H
#define SUPERVISOR_WATCH_H

#include "common/base.h"

struct supervisor;

/* is_late: this tick came late, so that nobody could do anything meanwhile. */
void watch_all(struct supervisor *s, int64_t now_ms, bool is_late);

#endif
