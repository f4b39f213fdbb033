#define _GNU_SOURCE
#include "load_flow.h"

#include "load_feed.h"
#include "load_stamp.h"

#include <stdlib.h>
#include <string.h>

struct flight {
    uint64_t at_ns;
    uint32_t left; /* receivers that have not got it */
};
struct sender {
    struct conn *c; /* NULL: the feed */
    char *before, *after;
    uint32_t before_n, after_n, sent, done;
    struct flight *ring;
    bool pending;
};

static struct {
    struct flow_plan plan;
    struct sender *senders;
    struct order *orders; /* of receiver r: r × slots … */
    uint32_t senders_n, audience, slots, ring_mask;
    uint32_t *pending, pending_n; /* senders whose window has opened */
    uint64_t begin_ns, due_n;     /* at a rate: due_n have been due */
    bool running, measuring;
    uint64_t read_ns, deliveries;
    size_t heard_before_n, heard_after_n;
    struct hist latencies;
    struct flow_account account;
} flow;

/* ---- setting up ---- */

static void fill_sender(struct sender *s, struct conn *conns)
{
    struct place at = s->c ? s->c->at : (struct place){0};
    if (party.dialect->says_id && s->c)
        at.peer = conns[at.i ^ 1].id;
    s->before = dialect_fill(s->c ? party.dialect->before : "", &at);
    s->after = dialect_fill(s->c ? party.dialect->after : "", &at);
    s->before_n = (uint32_t)strlen(s->before);
    s->after_n = (uint32_t)strlen(s->after);
    s->ring = calloc(flow.ring_mask + 1, sizeof *s->ring);
}

void flow_init(const struct flow_plan *plan, struct conn *conns)
{
    bool one = plan->room_size == 0;
    uint32_t ring = 64;
    while (ring < 4 * plan->window || (plan->rate > 0 && one && ring < 4096))
        ring *= 2;
    flow.plan = *plan;
    flow.ring_mask = ring - 1;
    flow.senders_n = one ? 1 : plan->conns;
    flow.slots = one ? 1 : plan->room_size;
    flow.audience = one                           ? plan->conns
                    : plan->room_size == 1        ? 1
                    : party.dialect->hears_itself ? plan->room_size
                                                  : plan->room_size - 1;
    flow.senders = calloc(flow.senders_n, sizeof *flow.senders);
    flow.pending = calloc(flow.senders_n, sizeof *flow.pending);
    flow.orders = calloc((size_t)plan->conns * flow.slots, sizeof *flow.orders);
    for (uint32_t i = 0; i < flow.senders_n; i++) {
        flow.senders[i].c = !one ? &conns[i] : plan->feed ? NULL : &conns[plan->conns];
        fill_sender(&flow.senders[i], conns);
    }
    flow.heard_before_n = strlen(party.dialect->heard_before);
    flow.heard_after_n = strlen(party.dialect->heard_after);
}

/* ---- saying ---- */

static struct stamp next_stamp(struct sender *s, uint64_t at_ns)
{
    s->ring[s->sent & flow.ring_mask] = (struct flight){at_ns, flow.audience};
    flow.account.sent++;
    return (struct stamp){(uint32_t)(s - flow.senders), s->sent++};
}

static void say_to_feed(struct sender *s, uint32_t n, uint64_t at_ns)
{
    static char payload[STAMP_MAX_PAYLOAD];
    while (n--) {
        stamp_write(payload, flow.plan.size, next_stamp(s, at_ns));
        feed_publish(payload, flow.plan.size);
    }
    feed_flush();
}

/* All n in one write. */
static void say(struct sender *s, uint32_t n, uint64_t at_ns)
{
    static char *out;
    static size_t cap;
    size_t used = 0, each = s->before_n + flow.plan.size + s->after_n + 14;
    if (!s->c) {
        say_to_feed(s, n, at_ns);
        return;
    }
    if (s->c->phase != CONN_READY)
        return;
    if (n * each > cap) {
        cap = n * each;
        out = realloc(out, cap);
        if (!out)
            abort();
    }
    while (n--) {
        char *payload, *frame = out + used;
        size_t length = conn_frame(frame, s->before, s->before_n, s->after, s->after_n,
                                   flow.plan.size, &payload);
        stamp_write(payload, flow.plan.size, next_stamp(s, at_ns));
        conn_frame_mask(frame, length);
        used += length;
    }
    conn_send(s->c, out, used);
}

void flow_refill(void)
{
    uint64_t now = flow.pending_n ? conn_now_ns() : 0;
    while (flow.pending_n) {
        struct sender *s = &flow.senders[flow.pending[--flow.pending_n]];
        s->pending = false;
        if (flow.running && s->sent - s->done < flow.plan.window)
            say(s, flow.plan.window - (s->sent - s->done), now);
    }
    flow.read_ns = 0;
}

uint64_t flow_say_due(void)
{
    double each_ns = 1e9 / (flow.plan.rate * flow.senders_n);
    for (uint64_t now = conn_now_ns();; flow.due_n++) {
        uint64_t due = flow.begin_ns + (uint64_t)((double)flow.due_n * each_ns);
        struct sender *s = &flow.senders[flow.due_n % flow.senders_n];
        if (due > now || !flow.running)
            return due;
        if (s->sent - s->done > flow.ring_mask)
            return now + 1000000; /* hopelessly behind: the latencies say so */
        say(s, 1, due);
    }
}

void flow_start(void)
{
    flow.running = true;
    flow.begin_ns = conn_now_ns();
    if (flow.plan.rate > 0)
        return;
    for (uint32_t i = 0; i < flow.senders_n; i++)
        say(&flow.senders[i], flow.plan.window, conn_now_ns());
}

void flow_stop(void)
{
    flow.running = false;
}

void flow_measure(bool on)
{
    flow.measuring = on;
}

/* ---- hearing ---- */

/* The payload within what a server made of it; NULL: it is not as it has to be. */
static const char *unwrapped(const char *p, size_t *n)
{
    const struct dialect *d = party.dialect;
    size_t around = flow.heard_before_n + flow.heard_after_n;
    const char *after = p + flow.heard_before_n + flow.plan.size;
    if (*n < around + flow.plan.size || (!d->open_end && *n != around + flow.plan.size) ||
        memcmp(p, d->heard_before, flow.heard_before_n) ||
        memcmp(after, d->heard_after, flow.heard_after_n))
        return NULL;
    *n = flow.plan.size;
    return p + flow.heard_before_n;
}

/* Which of its accounts: -1 when it should not have got it at all. */
static int64_t slot_of(const struct conn *c, uint32_t sender)
{
    uint32_t size = flow.plan.room_size;
    if (sender >= flow.senders_n || c->publisher)
        return -1;
    if (size == 0)
        return 0;
    if (sender / size != c->at.i / size)
        return -1;
    if (size > 1 && sender == c->at.i && !party.dialect->hears_itself)
        return -1;
    return sender % size;
}

static void arrived(struct sender *s, uint32_t seq)
{
    struct flight *f = &s->ring[seq & flow.ring_mask];
    if (!flow.read_ns)
        flow.read_ns = conn_now_ns();
    if (flow.measuring)
        hist_add(&flow.latencies, flow.read_ns - f->at_ns);
    if (!f->left || --f->left)
        return;
    s->done++;
    if (s->pending || flow.plan.rate > 0)
        return;
    s->pending = true;
    flow.pending[flow.pending_n++] = (uint32_t)(s - flow.senders);
}

void flow_message(struct conn *c, const char *p, size_t n)
{
    const char *chatter = party.dialect->chatter, *payload;
    struct stamp stamp;
    if (chatter && n > strlen(chatter) && !memcmp(p, chatter, strlen(chatter)))
        return;
    payload = unwrapped(p, &n);
    if (!payload || !stamp_read(payload, n, &stamp)) {
        flow.account.corrupted++;
        return;
    }
    int64_t slot = slot_of(c, stamp.sender);
    if (slot < 0 || stamp.seq >= flow.senders[stamp.sender].sent) {
        flow.account.misrouted++;
        return;
    }
    struct order *o = &flow.orders[(size_t)c->at.i * flow.slots + (size_t)slot];
    enum order_verdict v = order_take(o, stamp.seq);
    if (v == ORDER_TWICE) {
        flow.account.duplicated++;
        return;
    }
    flow.account.reordered += v == ORDER_LATE;
    flow.account.received++;
    flow.deliveries += flow.measuring;
    arrived(&flow.senders[stamp.sender], stamp.seq);
}

/* ---- the account ---- */

bool flow_is_complete(void)
{
    return flow.account.received == flow.account.sent * flow.audience;
}

uint64_t flow_deliveries(void)
{
    return flow.deliveries;
}

uint64_t flow_heard(void)
{
    return flow.account.received;
}

const struct hist *flow_latencies(void)
{
    return &flow.latencies;
}

struct flow_account flow_settle(void)
{
    flow.account.lost = flow.account.sent * flow.audience - flow.account.received;
    return flow.account;
}
