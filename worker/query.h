/* query: helioctl's questions about this worker's connections, rooms, users and memory.
 * Owns the answers under way (worker.answers). Never queues more than the channel takes
 * in a breath. */
#ifndef WORKER_QUERY_H
#define WORKER_QUERY_H

#include "worker/worker.h"

/* Answers with ROWs and an END of the same id. filter: a JSON object with any of user,
 * room, endpoint, address, id. */
void query_start(struct worker *w, uint32_t id, uint32_t what, uint32_t limit,
                 struct str filter);
bool query_owes(const struct worker *w); /* a long answer could go on now */
void query_go_on(struct worker *w);      /* once a turn */
/* Closes all that match with 4411; a filter that names nothing matches nothing. Returns
 * how many, -1: not a filter. */
int64_t query_kick(struct worker *w, struct str filter, struct err *e);
void query_fini(struct worker *w);

#endif
