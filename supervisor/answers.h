/* answers: what the supervisor knows by itself, as JSON rows for helioctl: status,
 * workers, config, counters. Owns nothing. Never shows a secret. */
#ifndef SUPERVISOR_ANSWERS_H
#define SUPERVISOR_ANSWERS_H

#include "common/conf.h"
#include "common/msg.h"

struct supervisor;

typedef void (*answers_row_fn)(void *ctx, struct str json);
/* Returns the number of rows, or -1 when this is a question for workers. */
int answers_give(const struct supervisor *s, enum msg_what what, answers_row_fn row,
                 void *ctx);
/* Where the bus is, without the secrets of its URL. */
void answers_redis(const struct conf_redis *c, struct buf *out);

#endif
