/* cluster_merge: what the workers answered one by one, as one answer. Owns nothing. Pure.
 * Never takes an answer that does not hold what was asked: it counts as none. */
#ifndef WORKER_HUB_CLUSTER_MERGE_H
#define WORKER_HUB_CLUSTER_MERGE_H

#include "worker/hub/cluster.h"

#define CLUSTER_MERGED_MAX (1024 * 1024) /* bytes of a list; the rest is another page */

/* The answer of a worker, by question:
 *   ROOMS        {"rows":[[endpoint, room, members], …],"more":bool}
 *   ROOM, USER   {"total":n,"rows":[[id, user or null, endpoint], …],"more":bool}
 *   STATS        {"counters":{name:n, …}}
 *   KICK_…       {"closed":n}
 * Rows stand in the order of their keys (bytes): "<endpoint> <room>", or the id; all
 * behind `after`, at most `limit`. more: there are others behind the last one. */
struct cluster_merged {
    struct buf json; /* one object; "incomplete" names those that did not answer */
    uint64_t total;  /* connections there are, or were closed */
    size_t missing;  /* workers that did not answer */
};
void cluster_merge(const struct cluster_question *q, const struct cluster_member *v,
                   size_t n, struct cluster_merged *out);
void cluster_merged_fini(struct cluster_merged *m);

#endif
