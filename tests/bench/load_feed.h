/* load_feed: publishes from outside the WebSocket server, as a back end does: PUBLISH to
 * Redis in the emitter's envelope, or a POST, one after the other on a kept connection.
 * Owns its descriptor and queue. Never knows who listens. */
#ifndef BENCH_LOAD_FEED_H
#define BENCH_LOAD_FEED_H

#include <stddef.h>
#include <stdint.h>

/* redis:PATH:ROOM, redis:PORT:ROOM or post:PORT:PATH. Returns what the matter is, or
 * NULL. */
const char *feed_open(const char *what, int epoll);
extern int feed_mark; /* &feed_mark is the epoll data of its events */
void feed_publish(const char *payload, size_t n);
void feed_flush(void);
void feed_event(uint32_t events);
const char *feed_failure(void); /* NULL: none so far */

#endif
