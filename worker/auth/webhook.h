/* webhook: HTTP calls to the back end (PROTOCOL A10): libcurl's only door, its multi
 * interface on libevent. Owns the calls under way and the queue. Never blocks, never
 * resolves (address book), never follows redirects, reads at most 1 MiB of an answer. */
#ifndef WORKER_AUTH_WEBHOOK_H
#define WORKER_AUTH_WEBHOOK_H

#include "common/addresses.h"
#include "common/conf.h"
#include "common/counters.h"

#include <event2/event.h>

struct webhooks; /* one per worker */
struct webhook_call;

/* status: HTTP status, 0 when there was no answer (why says so). body dies when the call
 * returns. */
typedef void (*webhook_fn)(void *ctx, int status, struct str body, const char *why);

struct webhooks *webhooks_new(struct event_base *base, const struct addresses *book,
                              struct counters *counters, struct err *e);
void webhooks_free(struct webhooks *w); /* what is not over yet ends with status 0 */
/* POSTs body to url with conf's timeout, secret and CA. fn is called exactly once, never
 * before this returns. NULL: the queue is full. fn NULL: fire and forget (still counted).
 * Calls with the same non-NULL `order` go out one after the other. Url, body and conf are
 * only read during this call. Limits, per conf: conf->concurrency under way, conf->queue
 * waiting. hooks_failed counts (and the log tells of) calls without an answer and answers
 * other than 2xx, 401 and 403; bodies that make no sense are the caller's to count. */
struct webhook_call *webhook_post(struct webhooks *w, const struct conf_hooks *conf,
                                  struct str url, struct str body, const void *order,
                                  webhook_fn fn, void *ctx);
/* fn will not be called; the request may still reach the back end. */
void webhook_cancel(struct webhook_call *call);
/* Waiting or under way, without those that were cancelled. */
size_t webhooks_waiting(const struct webhooks *w);

#endif
