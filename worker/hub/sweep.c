#include "worker/hub/sweep.h"

#include <event2/event.h>

#define SWEEP_STEP 4096 /* work in a turn */
#define SWEEP_UNCONFIRMED_MAX 16384

static void arm(struct sweep *s)
{
    event_add(&s->timer, &(struct timeval){0, 0});
}

static bool is_behind(const struct sweep *s)
{
    const struct bus_ops *ops = s->bus->ops;
    return ops->mark(s->bus) - ops->confirmed(s->bus) > SWEEP_UNCONFIRMED_MAX;
}

static void finish(struct sweep *s)
{
    s->bus = NULL;
    if (s->done)
        s->done(s);
}

static void on_turn(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct sweep *s = arg;
    for (size_t done = 0, work; done < SWEEP_STEP; done += work) {
        work = s->next(s);
        if (work == 0) {
            finish(s);
            return;
        }
    }
    if (!is_behind(s))
        arm(s);
}

void sweep_init(struct sweep *s, struct event_base *base, size_t (*next)(struct sweep *s),
                void (*done)(struct sweep *s))
{
    *s = (struct sweep){.next = next, .done = done};
    evtimer_assign(&s->timer, base, on_turn, s);
}

void sweep_fini(struct sweep *s)
{
    event_del(&s->timer);
}

void sweep_start(struct sweep *s, struct bus *b)
{
    s->bus = b;
    arm(s);
}

void sweep_stop(struct sweep *s)
{
    s->bus = NULL;
    event_del(&s->timer);
}

void sweep_confirmed(struct sweep *s)
{
    if (s->bus && !is_behind(s))
        arm(s);
}
