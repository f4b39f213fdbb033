/* bus_redis_expect: what a link has asked and Redis has not answered yet, in order.
 * Owns its ring. Plain publishes in a row are one entry: a stalled Redis costs no memory
 * per message. */
#ifndef WORKER_HUB_BUS_REDIS_EXPECT_H
#define WORKER_HUB_BUS_REDIS_EXPECT_H

#include "worker/hub/bus.h"

enum expect_kind {
    EXPECT_AUTH,
    EXPECT_SELECT,
    EXPECT_NAME,
    EXPECT_READY, /* the PING that ends the greeting */
    EXPECT_PING,
    EXPECT_SUBSCRIBE, /* `left` channels */
    EXPECT_UNSUBSCRIBE,
    EXPECT_PUBLISH,
    EXPECT_PUBLISH_ACK, /* fn is owed an answer */
    EXPECT_CALL,        /* reply is owed one, of whatever type */
};
struct expect {
    enum expect_kind kind;
    uint32_t left; /* answers */
    uint64_t at;   /* of the last two: where the command begins among the link's bytes */
    union {
        bus_ack_fn fn;
        bus_reply_fn reply;
    };
    void *ctx;
};
struct expect_queue {
    struct expect *v;
    uint32_t head, n, cap; /* cap: power of two, or 0 */
};

void expect_fini(struct expect_queue *q);
/* The first one, or NULL. */
struct expect *expect_first(struct expect_queue *q);
void expect_put(struct expect_queue *q,
                struct expect e); /* joins the last if both are plain publishes */
/* One answer of the first one has come; true: it was the last of it. */
bool expect_answered(struct expect_queue *q);
void expect_drop_first(struct expect_queue *q);

#endif
