/* topics: channels of Redis that something other than a room listens to: signaling rooms,
 * inboxes, other workers. Owns nothing but the index; a topic is embedded in whatever
 * listens. Never two topics of one name in a worker: share one. */
#ifndef WORKER_HUB_TOPICS_H
#define WORKER_HUB_TOPICS_H

#include "common/list.h"
#include "common/map.h"
#include "worker/hub/sweep.h"

struct topic {
    struct list link; /* all topics, in the order they are declared again after a
                         reconnect */
    uint32_t epoch;   /* of the bus connection it is subscribed in; 0: in none */
    char *channel;    /* owned; begins with TOPIC_PREFIX, without redis.prefix */
    size_t channel_n;
    /* The payload dies with the call, which may end this topic and any other. */
    void (*message)(struct topic *t, struct str payload);
};
#define TOPIC_PREFIX "heliod:"

/* ---- for the hub, which is what everybody else asks ---- */

struct topics {
    struct map by_channel;
    struct list all; /* those not declared yet in this connection come first */
    struct bus *bus; /* NULL: down */
    uint32_t epoch;
    struct sweep sweep;
    void (*declared)(struct topics *ts); /* all of them, in this connection */
};

void topics_init(struct topics *ts, struct event_base *base,
                 void (*declared)(struct topics *ts));
void topics_fini(struct topics *ts); /* those that are left end */
void topics_listen(struct topics *ts, struct topic *t, struct str channel,
                   void (*message)(struct topic *t, struct str payload));
void topics_unlisten(struct topics *ts, struct topic *t);
struct topic *topics_find(const struct topics *ts, struct str channel); /* NULL: none */
/* false: it is no topic's channel. One that has no topic any more is dropped. */
bool topics_message(struct topics *ts, struct str channel, struct str payload);
void topics_up(struct topics *ts, struct bus *b);
void topics_down(struct topics *ts);
bool topics_are_declared(const struct topics *ts);
size_t topics_memory(const struct topics *ts); /* the index and the names */

#endif
