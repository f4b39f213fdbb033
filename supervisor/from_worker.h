/* from_worker: the doorway for workers: what each message of theirs means. Owns nothing.
 * Never trusts a number in a message: it is looked up, not used as an index. */
#ifndef SUPERVISOR_FROM_WORKER_H
#define SUPERVISOR_FROM_WORKER_H

#include "common/msg.h"

extern const struct msg_handlers from_worker; /* ctx: struct member */

#endif
