/* resident: what the kernel says a process holds of the machine's memory. Owns nothing.
 * Workers open no files, so the supervisor looks. */
#ifndef SUPERVISOR_RESIDENT_H
#define SUPERVISOR_RESIDENT_H

#include "common/buf.h"

/* A worker's row about its memory, with `pid`, and `rss` and `private` (bytes) as the
 * kernel counts them; without the last two where the kernel does not tell. */
void resident_add(pid_t pid, struct str row, struct buf *out);

#endif
