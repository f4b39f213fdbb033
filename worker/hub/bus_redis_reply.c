#include "worker/hub/bus_redis_reply.h"

#include "common/log.h"
#include "worker/hub/bus_redis_life.h"

#define ROOM "bus"

static void note_refusal(struct bus_redis *b, const char *command, struct str text)
{
    unsigned swallowed = 0;
    if (!log_permit(&b->refusals, 5, 60000, &swallowed))
        return;
    log_error("Redis refused %s: %s", command, log_esc(text));
    if (swallowed)
        log_error("%u more refusals before it", swallowed);
}

static void confirm(struct bus_redis *b, uint32_t channels)
{
    b->confirmed += channels;
    b->bus.events.confirmed(b->bus.ctx, b->confirmed);
}

/* A server without a password is told one: harmless, and other clients take it so too. */
static bool is_needless_password(struct str text)
{
    return memmem(text.p, text.n, "without any password", 20) ||
           memmem(text.p, text.n, "no password is set", 18);
}

static void on_auth_error(struct bus_redis *b, const struct peer *p, struct str text)
{
    if (!is_needless_password(text))
        life_refused(b, "AUTH was refused", text);
    else
        life_needless_password(b, p);
}

/* The link stays, whatever the answer to one command. */
static void on_error(struct bus_redis *b, struct peer *p, struct expect e,
                     struct str text)
{
    switch (e.kind) {
    case EXPECT_AUTH:
        on_auth_error(b, p, text);
        break;
    case EXPECT_SELECT:
        life_refused(b, "its database cannot be selected", text);
        break;
    case EXPECT_NAME:
        log_debug("CLIENT SETNAME: %s", log_esc(text));
        break;
    case EXPECT_READY:
        if (str_starts(text, STR("NOPERM")))
            life_ready(b, p);
        else if (str_starts(text, STR("LOADING")))
            life_fail(b, "it is still reading what it had kept");
        else
            life_refused(b, "it answered", text);
        break;
    case EXPECT_PING:
        break; /* it lives */
    case EXPECT_SUBSCRIBE:
        note_refusal(b, "SUBSCRIBE", text);
        confirm(b, e.left); /* nothing more will come: nobody shall wait for it */
        break;
    case EXPECT_UNSUBSCRIBE:
        note_refusal(b, "UNSUBSCRIBE", text);
        break;
    case EXPECT_PUBLISH:
    case EXPECT_PUBLISH_ACK:
        COUNT(b->counters, bus_publish_lost);
        note_refusal(b, "PUBLISH", text);
        if (e.kind == EXPECT_PUBLISH_ACK)
            e.fn(e.ctx, false, log_esc(text));
        break;
    case EXPECT_CALL:
        e.reply(e.ctx, &(struct bus_reply){.type = BUS_ERROR, .text = text});
        break;
    }
}

static struct bus_reply value_of(const struct link_reply *r)
{
    switch (r->type) {
    case LINK_INTEGER:
        return (struct bus_reply){.type = BUS_NUMBER, .number = r->integer};
    case LINK_NIL:
        return (struct bus_reply){.type = BUS_NIL};
    case LINK_ARRAY:
        return (struct bus_reply){BUS_ERROR,
                                  STR("an array, where one value was expected"), 0};
    default:
        return (struct bus_reply){.type = BUS_TEXT, .text = r->text};
    }
}

/* A plain answer to a command that has just one. */
static void on_answer(struct bus_redis *b, struct peer *p, struct expect e,
                      const struct link_reply *r)
{
    if (e.kind == EXPECT_CALL) {
        struct bus_reply value = value_of(r);
        e.reply(e.ctx, &value);
        return;
    }
    if (e.kind == EXPECT_READY)
        life_ready(b, p);
    if (e.kind == EXPECT_PUBLISH || e.kind == EXPECT_PUBLISH_ACK)
        COUNT(b->counters, bus_published);
    if (e.kind == EXPECT_PUBLISH_ACK)
        e.fn(e.ctx, true, "");
}

static void on_interest(struct bus_redis *b, struct peer *p, enum expect_kind kind,
                        const struct link_reply *r)
{
    const struct expect *e = expect_first(&p->expects);
    if (!e || e->kind != kind) {
        life_fail(b, "it confirmed what was not asked");
        return;
    }
    COUNT_SET(b->counters, bus_subscriptions, r->integer);
    bool is_whole = expect_answered(&p->expects);
    if (kind != EXPECT_SUBSCRIBE)
        return;
    b->confirmed++;
    if (is_whole)
        confirm(b, 0);
}

static void on_message(struct bus_redis *b, struct str channel, struct str payload)
{
    COUNT(b->counters, bus_received);
    if (!str_starts(channel, buf_view(&b->prefix)))
        return;
    struct str name = {channel.p + b->prefix.n, channel.n - b->prefix.n};
    b->bus.events.message(b->bus.ctx, name, payload);
}

/* What comes on a subscribed link: messages and confirmations. true: that was it. */
static bool take_push(struct bus_redis *b, struct peer *p, const struct link_reply *r)
{
    if (r->type != LINK_ARRAY || p != &b->sub || b->state != LIFE_UP || r->n != 3)
        return false;
    if (str_is(r->element[0], "message"))
        on_message(b, r->element[1], r->element[2]);
    else if (str_is(r->element[0], "subscribe"))
        on_interest(b, p, EXPECT_SUBSCRIBE, r);
    else if (str_is(r->element[0], "unsubscribe"))
        on_interest(b, p, EXPECT_UNSUBSCRIBE, r);
    else
        return false;
    return true;
}

static bool is_answer_to(const struct expect *e, const struct link_reply *r)
{
    if (r->type == LINK_ERROR || e->kind == EXPECT_CALL)
        return true;
    switch (e->kind) {
    case EXPECT_SUBSCRIBE:
    case EXPECT_UNSUBSCRIBE:
        return false; /* a push is their answer */
    case EXPECT_PUBLISH:
    case EXPECT_PUBLISH_ACK:
        return r->type == LINK_INTEGER;
    case EXPECT_PING:
        if (r->type == LINK_ARRAY) /* on a subscribed link */
            return r->n && str_is(r->element[0], "pong");
        return r->type == LINK_STATUS;
    default:
        return r->type == LINK_STATUS;
    }
}

bool reply_takes_any(struct redis_link *l)
{
    const struct expect *e = expect_first(&life_peer(l)->expects);
    return e && e->kind == EXPECT_CALL;
}

void reply_take(struct redis_link *l, const struct link_reply *r)
{
    struct bus_redis *b = l->ctx;
    struct peer *p = life_peer(l);
    if (take_push(b, p, r))
        return;
    const struct expect *first = expect_first(&p->expects);
    if (!first && r->type == LINK_ERROR) {
        life_refused(b, "it says", r->text);
        return;
    }
    if (!first || !is_answer_to(first, r)) {
        life_fail(b, "it answered what was not asked");
        return;
    }
    struct expect e = *first;
    if (r->type != LINK_ERROR) {
        expect_answered(&p->expects);
        on_answer(b, p, e, r);
        return;
    }
    if (e.kind == EXPECT_PUBLISH)
        expect_answered(&p->expects);
    else
        expect_drop_first(&p->expects);
    on_error(b, p, e, r->text);
}
