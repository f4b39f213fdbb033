#include "worker/hub/watches.h"

static void move(struct hub_watch *w, struct list *to)
{
    list_unlink(&w->link);
    list_append(to, &w->link);
}

static struct hub_watch *first_of(const struct list *l)
{
    return container_of(l->next, struct hub_watch, link);
}

/* Let go by a confirmation, or by the loss of the bus. */
static void on_waited(struct hub_wait *wait)
{
    struct hub_watch *w = container_of(wait, struct hub_watch, wait);
    struct watches *ws = w->of;
    if (!topics_are_declared(ws->topics)) {
        move(w, &ws->fresh);
        return;
    }
    move(w, &ws->told);
    if (w->up)
        w->up(w);
}

/* Each callback may add watches, and end any: also one that is yet to be told. */
static void on_look(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct watches *ws = arg;
    struct list due;
    if (!topics_are_declared(ws->topics))
        return;
    list_take(&due, &ws->fresh);
    while (!list_is_empty(&due)) {
        struct hub_watch *w = first_of(&due);
        move(w, &ws->asked);
        hub_await(ws->hub, &w->wait, on_waited);
    }
}

void watches_declared(struct watches *ws)
{
    event_active(&ws->look, EV_TIMEOUT, 0);
}

void watches_down(struct watches *ws, const char *why)
{
    struct list due;
    list_take(&due, &ws->told);
    while (!list_is_empty(&due)) {
        struct hub_watch *w = first_of(&due);
        move(w, &ws->fresh);
        if (w->down)
            w->down(w, why);
    }
}

void watches_add(struct watches *ws, struct hub_watch *w)
{
    BUG_ON(w->link.next && !list_is_empty(&w->link));
    w->of = ws;
    w->wait = (struct hub_wait){0};
    list_init(&w->link);
    list_append(&ws->fresh, &w->link);
    event_active(&ws->look, EV_TIMEOUT, 0);
}

void watches_init(struct watches *ws, struct hub *h, const struct topics *topics,
                  struct event_base *base)
{
    *ws = (struct watches){.hub = h, .topics = topics};
    list_init(&ws->fresh);
    list_init(&ws->asked);
    list_init(&ws->told);
    evtimer_assign(&ws->look, base, on_look, ws);
}

static void leave(struct list *l)
{
    while (!list_is_empty(l))
        hub_unwatch(first_of(l));
}

void watches_fini(struct watches *ws)
{
    event_del(&ws->look);
    leave(&ws->fresh);
    leave(&ws->asked);
    leave(&ws->told);
}
