/* topics: channels of Redis that something other than a room listens to: signaling rooms,
 * inboxes, other workers. Owns nothing but the index; a topic is embedded in whatever
 * listens. Never two topics of one name in a worker: share one. */
#ifndef WORKER_HUB_TOPICS_H
#define WORKER_HUB_TOPICS_H

#include "common/list.h"
#include "common/map.h"
#include "worker/hub/bus.h"

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

#endif
