/* hub_inside: what hub (who is where, delivery) and hub_bus (what goes out and comes in)
 * share. Owns nothing of its own. Never included from outside these two. */
#ifndef WORKER_HUB_HUB_INSIDE_H
#define WORKER_HUB_HUB_INSIDE_H

#include "common/log.h"
#include "worker/hub/hub.h"
#include "worker/hub/interest.h"
#include "worker/hub/watches.h"

struct hub {
    struct net *net;
    hub_seal_fn seal;
    struct bus *bus; /* NULL: none yet */
    struct rooms rooms;
    struct interest interest;
    struct topics topics;
    struct watches watches;
    char server_id[UUID_TEXT + 1];
    uint32_t delivery; /* number of the last one that excluded somebody: conn.st.skip */
    struct buf spare;  /* lent to whoever builds a message */
    struct log_limit malformed;
};

/* A buffer of one's own while building a message: deliveries may cause others before they
 * are through. */
struct buf hub_borrow(struct hub *h);
void hub_give_back(struct hub *h, struct buf *b);

#endif
