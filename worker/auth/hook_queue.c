#include "worker/auth/hook_queue.h"

#include "common/mem.h"

#define GATES_KEPT 64

/* The calls of one order, first come first. Lives while it has any. */
struct hook_lane {
    const void *order;
    struct list tickets;
    bool is_held; /* its first call has ended and is being told */
};

/* ── gates ── */

static bool is_gate_of(const struct hook_gate *g, const struct conf_hooks *conf)
{
    return g->conf == conf && g->timeout_ms == conf->timeout &&
           g->concurrency == conf->concurrency && g->queue == conf->queue &&
           str_eq(buf_view(&g->secret), conf->secret.value) &&
           str_eq(buf_view(&g->ca), conf->ca.value);
}

static void gate_free(struct hook_queue *q, struct hook_gate *g)
{
    list_unlink(&g->link);
    q->gates_n--;
    digest_hmac_free(g->hmac);
    mem_wipe_free(g->secret.p, g->secret.n);
    buf_free(&g->ca);
    free(g);
}

static void drop_idle_gates(struct hook_queue *q)
{
    LIST_EACH_SAFE (node, &q->gates) {
        struct hook_gate *g = container_of(node, struct hook_gate, link);
        if (g->calls == 0)
            gate_free(q, g);
    }
}

static struct hook_gate *gate_new(struct hook_queue *q, const struct conf_hooks *conf)
{
    struct hook_gate *g = NEW(struct hook_gate);
    g->conf = conf;
    g->timeout_ms = conf->timeout;
    g->concurrency = conf->concurrency;
    g->queue = conf->queue;
    buf_str(&g->secret, conf->secret.value);
    buf_str(&g->ca, conf->ca.value);
    if (g->secret.n)
        g->hmac = digest_hmac_new(buf_view(&g->secret));
    list_init(&g->ready);
    list_append(&q->gates, &g->link);
    q->gates_n++;
    return g;
}

static struct hook_gate *gate_for(struct hook_queue *q, const struct conf_hooks *conf)
{
    LIST_EACH (node, &q->gates) {
        struct hook_gate *g = container_of(node, struct hook_gate, link);
        if (is_gate_of(g, conf))
            return g;
    }
    if (q->gates_n >= GATES_KEPT)
        drop_idle_gates(q);
    return gate_new(q, conf);
}

static bool has_free_place(const struct hook_gate *g)
{
    return (int64_t)g->active < g->concurrency;
}

static void gate_pump(struct hook_queue *q, struct hook_gate *g)
{
    while (!list_is_empty(&g->ready) && has_free_place(g)) {
        struct hook_ticket *t = container_of(g->ready.next, struct hook_ticket, place);
        list_unlink(&t->place);
        t->state = HOOK_ACTIVE;
        g->waiting--;
        g->active++;
        q->go(t);
    }
}

/* ── lanes ── */

static struct str order_bytes(const void *const *order)
{
    return (struct str){(const char *)order, sizeof(*order)};
}

static struct str order_of_lane(const void *item)
{
    return order_bytes(&((const struct hook_lane *)item)->order);
}

static struct hook_lane *lane_find(const struct hook_queue *q, const void *order)
{
    return order ? map_get(&q->lanes, order_bytes(&order)) : NULL;
}

/* A held lane without others is free: its call has ended. */
static bool is_busy(const struct hook_lane *lane)
{
    return lane && !list_is_empty(&lane->tickets);
}

static struct hook_lane *lane_new(struct hook_queue *q, const void *order)
{
    struct hook_lane *lane = NEW(struct hook_lane);
    lane->order = order;
    list_init(&lane->tickets);
    map_put(&q->lanes, lane);
    return lane;
}

static void be_ready(struct hook_queue *q, struct hook_ticket *t)
{
    t->state = HOOK_READY;
    list_append(&t->gate->ready, &t->place);
    gate_pump(q, t->gate);
}

/* The first of a lane may go; an empty lane ends. */
static void lane_settle(struct hook_queue *q, struct hook_lane *lane)
{
    if (lane->is_held)
        return;
    if (list_is_empty(&lane->tickets)) {
        map_remove(&q->lanes, order_of_lane(lane));
        free(lane);
        return;
    }
    struct hook_ticket *first =
        container_of(lane->tickets.next, struct hook_ticket, turn);
    if (first->state == HOOK_BLOCKED)
        be_ready(q, first);
}

/* ── verbs ── */

void hook_queue_init(struct hook_queue *q, hook_go_fn go)
{
    *q = (struct hook_queue){.go = go};
    list_init(&q->gates);
    map_init(&q->lanes, order_of_lane);
}

void hook_queue_fini(struct hook_queue *q)
{
    drop_idle_gates(q);
    BUG_ON(!list_is_empty(&q->gates) || q->lanes.n);
    map_fini(&q->lanes);
}

struct hook_gate *hook_queue_admit(struct hook_queue *q, const struct conf_hooks *conf,
                                   const void *order)
{
    struct hook_gate *g = gate_for(q, conf);
    bool goes_now =
        !is_busy(lane_find(q, order)) && list_is_empty(&g->ready) && has_free_place(g);
    return goes_now || (int64_t)g->waiting < g->queue ? g : NULL;
}

void hook_queue_enter(struct hook_queue *q, struct hook_ticket *t, struct hook_gate *gate,
                      const void *order)
{
    struct hook_lane *lane = lane_find(q, order);
    bool is_blocked = is_busy(lane);
    if (order && !lane)
        lane = lane_new(q, order);
    *t = (struct hook_ticket){.gate = gate, .lane = lane, .state = HOOK_BLOCKED};
    list_init(&t->place);
    list_init(&t->turn);
    gate->calls++;
    gate->waiting++;
    if (lane)
        list_append(&lane->tickets, &t->turn);
    if (!is_blocked)
        be_ready(q, t);
}

void hook_queue_end(struct hook_ticket *t)
{
    BUG_ON(t->state != HOOK_ACTIVE);
    t->state = HOOK_ENDED;
    t->gate->active--;
    list_unlink(&t->turn);
    if (t->lane)
        t->lane->is_held = true;
}

void hook_queue_leave(struct hook_queue *q, struct hook_ticket *t)
{
    BUG_ON(t->state == HOOK_ACTIVE);
    list_unlink(&t->place);
    list_unlink(&t->turn);
    t->gate->calls--;
    if (t->state != HOOK_ENDED)
        t->gate->waiting--;
    else if (t->lane)
        t->lane->is_held = false;
    if (t->lane)
        lane_settle(q, t->lane);
    gate_pump(q, t->gate);
}
