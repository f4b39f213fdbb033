/* bus_redis_reply: what Redis says: each reply meets the command it answers; messages and
 * confirmations go to the bus' owner. Owns nothing. Never ends the links for an error
 * reply, unless the greeting got it. */
#ifndef WORKER_HUB_BUS_REDIS_REPLY_H
#define WORKER_HUB_BUS_REDIS_REPLY_H

#include "worker/hub/bus_redis_link.h"

/* One whole reply, from a link of a struct bus_redis. */
void reply_take(struct redis_link *l, const struct link_reply *r);
/* What is answered next may be answered by an array of any shape. */
bool reply_takes_any(struct redis_link *l);

#endif
