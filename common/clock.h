/* clock: what time it is. Monotonic milliseconds for durations, wall time only for people
 * and tokens. Owns nothing. Never compares the two. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include "common/buf.h"

int64_t clock_now_ms(void); /* CLOCK_MONOTONIC */
int64_t clock_now_us(void);
int64_t clock_wall_ms(void); /* since 1970-01-01 UTC */
/* YYYY-MM-DDTHH:MM:SS.mmmZ, 24 characters */
void clock_format(struct buf *out, int64_t wall_ms);

#endif
