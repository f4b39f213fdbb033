/* inbox_stream: notices that programs put into the Redis stream heliod:notify (fields
 * body and, if they like, id). Owns the timer that looks for them and the batch under
 * way. Never acknowledges an entry before it is stored; one that cannot be used is
 * acknowledged, counted and passed over. */
#ifndef WORKER_HUB_INBOX_STREAM_H
#define WORKER_HUB_INBOX_STREAM_H

#include "worker/hub/inbox.h"

#define INBOX_STREAM TOPIC_PREFIX "notify"
#define STREAM_BODY_MAX (1024 * 1024)

struct inbox_stream;

struct inbox_stream *inbox_stream_new(struct net *net, struct hub *hub,
                                      const struct conf_inbox *limits);
void inbox_stream_configure(struct inbox_stream *s, const struct conf_inbox *limits);
/* NULL is fine. What it has taken and not stored is left to other workers. */
void inbox_stream_free(struct inbox_stream *s);

#endif
