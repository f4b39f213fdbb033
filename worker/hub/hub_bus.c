#include "worker/hub/hub_inside.h"

#include "worker/hub/envelope.h"

#define ROOM "hub"

/* ---- out to the bus ---- */

static void deliver_event(struct hub *h, const struct hub_event *ev)
{
    struct buf json = hub_borrow(h);
    envelope_delivery(&json, ev->event_json, ev->data_json);
    struct hub_message m = {ev->kind, ev->target, buf_view(&json), ev->exclude_json,
                            ev->except};
    hub_deliver(h, &m);
    hub_give_back(h, &json);
}

/* The channel and, behind it, the payload. */
static size_t write_message(struct buf *b, const char *server_id,
                            const struct hub_event *ev)
{
    envelope_channel(b, ev->kind, ev->target);
    size_t channel_n = b->n;
    envelope_write(b, str_of(server_id), ev);
    return channel_n;
}

static bool send_to_bus(struct hub *h, struct str channel, struct str payload)
{
    struct bus *b = h->bus;
    if (b && b->ops->publish(b, channel, payload) == 0)
        return true;
    COUNT(h->net->counters, bus_publish_lost);
    return false;
}

bool hub_publish(struct hub *h, const struct hub_event *ev)
{
    deliver_event(h, ev);
    struct buf b = hub_borrow(h);
    size_t n = write_message(&b, h->server_id, ev);
    bool sent = send_to_bus(h, (struct str){b.p, n}, (struct str){b.p + n, b.n - n});
    hub_give_back(h, &b);
    return sent;
}

void hub_publish_acked(struct hub *h, const struct hub_event *ev, bus_ack_fn fn,
                       void *ctx)
{
    struct bus *bus = h->bus;
    if (!bus) {
        fn(ctx, false, "there is no bus");
        return;
    }
    struct buf b = hub_borrow(h);
    size_t n = write_message(&b, "heliod", ev);
    bus->ops->publish_acked(bus, (struct str){b.p, n}, (struct str){b.p + n, b.n - n}, fn,
                            ctx);
    hub_give_back(h, &b);
}

bool hub_publish_raw(struct hub *h, struct str channel, struct str payload)
{
    return send_to_bus(h, channel, payload);
}

/* ---- in from the bus ---- */

static void on_malformed(struct hub *h, struct str channel, const char *why)
{
    unsigned swallowed = 0;
    COUNT(h->net->counters, bus_malformed);
    if (log_permit(&h->malformed, 10, 10000, &swallowed))
        log_warn("dropped a Redis message on channel %s: %s%s", log_esc(channel), why,
                 swallowed ? " (and others before it)" : "");
}

static void on_envelope(struct hub *h, struct str channel, struct str payload)
{
    struct envelope e;
    const char *why = "";
    struct buf json = hub_borrow(h), scratch = {0};
    switch (envelope_read(payload, str_of(h->server_id), &scratch, &e, &why)) {
    case ENVELOPE_OWN:
        COUNT(h->net->counters, bus_own);
        break;
    case ENVELOPE_BAD:
        on_malformed(h, channel, why);
        break;
    case ENVELOPE_OK:
        envelope_delivery(&json, e.event_json, e.data_json);
        hub_deliver(h, &(struct hub_message){.kind = e.kind,
                                             .target = e.target,
                                             .json = buf_view(&json),
                                             .exclude = e.exclude_json});
        break;
    }
    hub_give_back(h, &json);
    buf_free(&scratch);
}

static void on_message(void *ctx, struct str channel, struct str payload)
{
    struct hub *h = ctx;
    if (!topics_message(&h->topics, channel, payload))
        on_envelope(h, channel, payload);
}

static void on_confirmed(void *ctx, uint64_t mark)
{
    struct hub *h = ctx;
    interest_confirmed(&h->interest, mark);
    sweep_confirmed(&h->topics.sweep);
}

static void on_up(void *ctx)
{
    struct hub *h = ctx;
    topics_up(&h->topics, h->bus);
    interest_up(&h->interest, h->bus);
}

static void on_down(void *ctx, const char *why)
{
    struct hub *h = ctx;
    topics_down(&h->topics);
    interest_down(&h->interest);
    watches_down(&h->watches, why);
}

const struct bus_events hub_bus_events = {
    .message = on_message,
    .confirmed = on_confirmed,
    .up = on_up,
    .down = on_down,
};

void hub_set_bus(struct hub *h, struct bus *b, int64_t linger_ms)
{
    interest_set_linger(&h->interest, linger_ms);
    if (h->bus == b)
        return;
    if (h->interest.bus)
        on_down(h, "another bus takes its place");
    h->bus = b;
    if (b && b->ops->is_up(b))
        on_up(h);
}

/* ---- waiting for confirmations ---- */

void hub_await(struct hub *h, struct hub_wait *w, void (*fn)(struct hub_wait *w))
{
    interest_await(&h->interest, w, fn);
}

void hub_await_cancel(struct hub_wait *w)
{
    if (w->link.next)
        list_unlink(&w->link);
}

/* ---- for what is neither room nor user ---- */

void hub_listen(struct hub *h, struct topic *t, struct str channel,
                void (*message)(struct topic *t, struct str payload))
{
    topics_listen(&h->topics, t, channel, message);
}

void hub_unlisten(struct hub *h, struct topic *t)
{
    if (t->channel)
        topics_unlisten(&h->topics, t);
}

struct topic *hub_topic(const struct hub *h, struct str channel)
{
    return topics_find(&h->topics, channel);
}

void hub_watch(struct hub *h, struct hub_watch *w)
{
    watches_add(&h->watches, w);
}

void hub_unwatch(struct hub_watch *w)
{
    if (w->link.next)
        list_unlink(&w->link);
    hub_await_cancel(&w->wait);
}

bool hub_is_up(const struct hub *h)
{
    return h->bus && h->bus->ops->is_up(h->bus);
}

const char *hub_why_down(const struct hub *h)
{
    if (!h->bus)
        return "there is no bus";
    return hub_is_up(h) ? "" : h->bus->ops->why_down(h->bus);
}

void hub_eval(struct hub *h, struct script *s, const struct str *keys, size_t keys_n,
              const struct str *args, size_t args_n, bus_reply_fn fn, void *ctx)
{
    script_call(h->bus, s, keys, keys_n, args, args_n, fn, ctx);
}

void hub_call(struct hub *h, const struct str *argv, size_t n, bus_reply_fn fn, void *ctx)
{
    if (h->bus)
        h->bus->ops->call(h->bus, argv, n, fn, ctx);
    else
        fn(ctx, &(struct bus_reply){.type = BUS_DOWN, .text = STR("there is no bus")});
}
