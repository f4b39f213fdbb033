/* people: who a connection is and where, whatever its protocol calls it. Owns nothing.
 * Never changes a connection. */
#ifndef WORKER_PEOPLE_H
#define WORKER_PEOPLE_H

#include "worker/worker.h"

/* NULL: it has none yet, or was turned away from all. */
const struct endpoint *people_endpoint(const struct conn *c);
/* p NULL: none. */
struct str people_user(const struct conn *c);
bool people_is_in(const struct worker *w, const struct conn *c, struct str room);
/* fn for each room of the connection. */
void people_each_room(const struct conn *c, void (*fn)(void *ctx, struct str room),
                      void *ctx);

#endif
