#include "worker/net/wheel.h"

#include "common/clock.h"

#define SECOND_MS 1000
#define LATE_MS 1000 /* a tick so late tells that the process stood still */
#define GRACE_MS 500

static int64_t grain_of(int64_t ms)
{
    return (ms + WHEEL_GRAIN_MS - 1) / WHEEL_GRAIN_MS; /* never early */
}

static void mark(struct wheel *w, int64_t grain)
{
    unsigned slot = (unsigned)(grain % WHEEL_SLOTS);
    w->busy[slot / 64] |= 1ull << (slot % 64);
}

/* The first grain ≥ w->tick whose slot may hold an entry, at most `limit` ahead. */
static int64_t next_busy(const struct wheel *w, int64_t limit)
{
    for (int64_t g = w->tick; g < limit; g++) {
        unsigned slot = (unsigned)(g % WHEEL_SLOTS);
        if (w->busy[slot / 64] & (1ull << (slot % 64)))
            return g;
    }
    return limit;
}

static void arm_at(struct wheel *w, int64_t due_ms, int64_t now_ms)
{
    int64_t in = MAX(due_ms - now_ms, 0);
    struct timeval tv = {in / 1000, in % 1000 * 1000};
    w->armed_ms = due_ms;
    evtimer_add(&w->timer, &tv);
}

static void arm(struct wheel *w, int64_t now_ms)
{
    int64_t second = w->last_second_ms + SECOND_MS;
    arm_at(w, MIN(next_busy(w, grain_of(second)) * WHEEL_GRAIN_MS, second), now_ms);
}

/* A process that was stopped for a while judges nobody's time before it has read what
 * came meanwhile. */
static bool stood_still(struct wheel *w, int64_t now_ms)
{
    w->in_grace = !w->in_grace && now_ms - w->armed_ms >= LATE_MS;
    return w->in_grace;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct wheel *w = arg;
    int64_t now = clock_now_ms();
    if (stood_still(w, now)) {
        arm_at(w, now + GRACE_MS, now);
        return;
    }
    wheel_advance(w, now);
    arm(w, now);
}

int wheel_init(struct wheel *w, struct event_base *base,
               void (*on_due)(struct wheel_entry *, int64_t),
               void (*on_second)(void *, int64_t), void *ctx, int64_t now_ms)
{
    memset(w, 0, sizeof(*w));
    for (int i = 0; i < WHEEL_SLOTS; i++)
        list_init(&w->slots[i]);
    w->tick = now_ms / WHEEL_GRAIN_MS;
    w->last_second_ms = now_ms;
    w->on_due = on_due;
    w->on_second = on_second;
    w->ctx = ctx;
    if (!base)
        return 0;
    if (evtimer_assign(&w->timer, base, on_timer, w) != 0)
        return -1;
    arm(w, now_ms);
    return 0;
}

void wheel_fini(struct wheel *w)
{
    if (event_initialized(&w->timer))
        evtimer_del(&w->timer);
}

void wheel_entry_init(struct wheel_entry *e)
{
    list_init(&e->link);
    e->due_ms = 0;
}

void wheel_set(struct wheel *w, struct wheel_entry *e, int64_t due_ms)
{
    list_unlink(&e->link);
    e->due_ms = due_ms;
    if (due_ms == 0)
        return;
    int64_t grain = MAX(grain_of(due_ms), w->tick);
    grain = MIN(grain, w->tick + WHEEL_SLOTS - 1); /* farther: looked at and put back */
    list_append(&w->slots[grain % WHEEL_SLOTS], &e->link);
    mark(w, grain);
    if (event_initialized(&w->timer) && !w->in_grace &&
        grain * WHEEL_GRAIN_MS < w->armed_ms)
        arm(w, clock_now_ms());
}

static void run_slot(struct wheel *w, int64_t grain, int64_t now_ms)
{
    unsigned slot = (unsigned)(grain % WHEEL_SLOTS);
    struct list due;
    list_take(&due, &w->slots[slot]);
    w->busy[slot / 64] &= ~(1ull << (slot % 64));
    while (!list_is_empty(&due)) {
        struct wheel_entry *e = container_of(due.next, struct wheel_entry, link);
        list_unlink(&e->link);
        int64_t due_ms = e->due_ms;
        if (due_ms > now_ms) {
            wheel_set(w, e, due_ms);
            continue;
        }
        e->due_ms = 0;
        w->on_due(e, now_ms);
    }
}

void wheel_advance(struct wheel *w, int64_t now_ms)
{
    int64_t now_grain = now_ms / WHEEL_GRAIN_MS;
    int64_t from = w->tick;
    /* After a long sleep (a stopped process) one round meets every slot. */
    int64_t to = MIN(now_grain, from + WHEEL_SLOTS - 1);
    w->tick = now_grain + 1;
    for (int64_t g = from; g <= to; g++)
        run_slot(w, g, now_ms);
    if (now_ms - w->last_second_ms >= SECOND_MS) {
        w->last_second_ms = now_ms;
        if (w->on_second)
            w->on_second(w->ctx, now_ms);
    }
}
