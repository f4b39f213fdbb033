/* trial: what only a worker can judge of a configuration, its keys and tokens: a
 * heliod-worker looks at it and says yes or why not. For `heliod -t`; a start and a
 * reload ask the workers themselves. Owns nothing it leaves behind. */
#ifndef SUPERVISOR_TRIAL_H
#define SUPERVISOR_TRIAL_H

#include "common/conf.h"

/* worker: the program's path. -1: e says why the worker refused, or why it could not be
 * asked. Blocks until it has answered. */
int trial_run(const struct conf *c, const char *worker, struct err *e) NODISCARD;

#endif
