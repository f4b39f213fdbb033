/* census: what this worker answers when the others ask (hub/cluster): its rooms, who is
 * in one, where a user is, its counters; and the kicks they order. Owns nothing. Never
 * tells more than CLUSTER_ANSWER_MAX at once. */
#ifndef WORKER_CENSUS_H
#define WORKER_CENSUS_H

#include "worker/hub/cluster.h"

/* cluster_self.answer; ctx is the struct worker. */
void census_answer(void *worker, const struct cluster_question *q, struct buf *json);

#endif
