/* watch: once a tick it looks for workers that stand still, do not become ready, or do
 * not leave in time. Owns nothing. Never judges after a pause of its own. */
#ifndef SUPERVISOR_WATCH_H
#define SUPERVISOR_WATCH_H

#include "common/base.h"

struct supervisor;

/* late_ms: this tick came so late that nobody may have been able to do anything
 * meanwhile: all deadlines move. 0: in time. */
void watch_all(struct supervisor *s, int64_t now_ms, int64_t late_ms);

#endif
