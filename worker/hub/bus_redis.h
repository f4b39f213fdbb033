/* bus_redis: the bus over two links to Redis (one publishes, one subscribes); hiredis'
 * only door: its reader and formatter under our own non-blocking descriptors on libevent.
 * Owns the links and their buffers. Never resolves names (addresses are handed in), never
 * blocks, never drops a link for one error reply. */
#ifndef WORKER_HUB_BUS_REDIS_H
#define WORKER_HUB_BUS_REDIS_H

#include "common/addresses.h"
#include "common/conf.h"
#include "common/counters.h"
#include "common/redis_url.h"
#include "worker/hub/bus.h"

#include <event2/event.h>

/* Starts connecting at once. url: parsed and copied. managed_socket: the Unix path used
 * when url is "managed". book: borrowed, may change; looked at before each attempt. */
struct bus *bus_redis_open(struct event_base *base, const struct conf_redis *conf,
                           struct str managed_socket, const struct addresses *book,
                           struct counters *counters, const struct bus_events *events,
                           void *ctx, struct err *e);
void bus_redis_configure(struct bus *b,
                         const struct conf_redis *conf); /* LIVE keys at a reload */
/* Silence that calls for a PING (10 s at birth); three times as long ends the links. */
void bus_redis_set_silence(struct bus *b, int64_t silent_ms);

#endif
