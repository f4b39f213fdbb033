/* publication: what somebody outside wants delivered, as back ends, helioctl and the HTTP
 * API write it: {"to":{client|user|room|broadcast:true},"event","data"?,"exclude"?}. Owns
 * nothing; views live as long as the text and the scratch. Never guesses. */
#ifndef WORKER_HUB_PUBLICATION_H
#define WORKER_HUB_PUBLICATION_H

#include "worker/hub/hub.h"

/* An object inside a text that was judged good; members it does not know are passed over.
 * scratch holds the target. -1: e says what is wrong. */
int publication_read(struct str object, struct hub_event *ev, struct buf *scratch,
                     struct err *e) NODISCARD;
/* A whole text, in which nothing may be unknown: hub_publish_acked, or -1 and nothing was
 * done. */
int publication_send(struct hub *hub, struct str text, bus_ack_fn fn, void *ctx,
                     struct err *e) NODISCARD;

#endif
