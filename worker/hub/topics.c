#include "worker/hub/topics.h"

#include "worker/net/memory.h"

static struct str name_of(const struct topic *t)
{
    return (struct str){t->channel, t->channel_n};
}

static struct str key_of(const void *item)
{
    return name_of(item);
}

/* ---- declaring ---- */

/* The declared ones stand at the end. */
static void declare(struct topics *ts, struct topic *t)
{
    list_unlink(&t->link);
    list_append(&ts->all, &t->link);
    t->epoch = ts->epoch;
    ts->bus->ops->subscribe(ts->bus, name_of(t));
}

static size_t declare_next(struct sweep *s)
{
    struct topics *ts = container_of(s, struct topics, sweep);
    struct topic *first = container_of(ts->all.next, struct topic, link);
    if (list_is_empty(&ts->all) || first->epoch == ts->epoch)
        return 0;
    declare(ts, first);
    return 1;
}

static void on_declared(struct sweep *s)
{
    struct topics *ts = container_of(s, struct topics, sweep);
    ts->declared(ts);
}

void topics_up(struct topics *ts, struct bus *b)
{
    ts->bus = b;
    if (++ts->epoch == 0)
        ts->epoch = 1;
    sweep_start(&ts->sweep, b);
}

void topics_down(struct topics *ts)
{
    ts->bus = NULL;
    sweep_stop(&ts->sweep);
}

bool topics_are_declared(const struct topics *ts)
{
    return ts->bus && !ts->sweep.bus;
}

/* ---- who listens ---- */

void topics_init(struct topics *ts, struct event_base *base,
                 void (*declared)(struct topics *ts))
{
    *ts = (struct topics){.declared = declared};
    list_init(&ts->all);
    map_init(&ts->by_channel, key_of);
    sweep_init(&ts->sweep, base, declare_next, on_declared);
}

void topics_fini(struct topics *ts)
{
    topics_down(ts);
    while (!list_is_empty(&ts->all))
        topics_unlisten(ts, container_of(ts->all.next, struct topic, link));
    map_fini(&ts->by_channel);
    sweep_fini(&ts->sweep);
}

void topics_listen(struct topics *ts, struct topic *t, struct str channel,
                   void (*message)(struct topic *t, struct str payload))
{
    BUG_ON(t->channel || !str_starts(channel, STR(TOPIC_PREFIX)));
    *t = (struct topic){
        .channel = str_dup(channel), .channel_n = channel.n, .message = message};
    BUG_ON(map_put(&ts->by_channel, t) != NULL);
    list_init(&t->link);
    list_append(&ts->all, &t->link);
    if (ts->bus)
        declare(ts, t);
}

void topics_unlisten(struct topics *ts, struct topic *t)
{
    if (!t->channel)
        return;
    if (ts->bus && t->epoch == ts->epoch)
        ts->bus->ops->unsubscribe(ts->bus, name_of(t));
    map_remove(&ts->by_channel, name_of(t));
    list_unlink(&t->link);
    free(t->channel);
    *t = (struct topic){0};
}

struct topic *topics_find(const struct topics *ts, struct str channel)
{
    return map_get(&ts->by_channel, channel);
}

bool topics_message(struct topics *ts, struct str channel, struct str payload)
{
    if (!str_starts(channel, STR(TOPIC_PREFIX)))
        return false;
    struct topic *t = topics_find(ts, channel);
    if (t)
        t->message(t, payload);
    return true;
}

size_t topics_memory(const struct topics *ts)
{
    size_t n = ts->by_channel.cap * sizeof(struct map_slot);
    MAP_EACH (struct topic, t, &ts->by_channel)
        n += memory_block(t->channel_n + 1);
    return n;
}
