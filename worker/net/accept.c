#include "worker/net/accept.h"

#include "common/fd.h"
#include "common/log.h"
#include "common/mem.h"

#include <sys/socket.h>
#include <unistd.h>

#define ROOM "accept"
#define BATCH 64
#define PAUSE_MS 100
#define QUEUE_MAX                                                                        \
    65536 /* no accept queue is longer: what comes on and on is not waited for */

static const struct timeval pause_tv = {0, PAUSE_MS * 1000};

void acceptor_init(struct acceptor *a, struct net *net, void *ctx)
{
    *a = (struct acceptor){.net = net, .ctx = ctx};
    list_init(&a->listeners);
}

static void listener_free(struct listener *l)
{
    event_del(&l->ev);
    evtimer_del(&l->retry);
    list_unlink(&l->link);
    fd_close(&l->fd);
    free(l);
}

void acceptor_fini(struct acceptor *a)
{
    LIST_EACH_SAFE (node, &a->listeners)
        listener_free(container_of(node, struct listener, link));
}

/* The client stays in the kernel's queue; it is tried again soon. */
static void pause_accepting(struct listener *l, const char *why)
{
    static struct log_limit limit;
    unsigned swallowed = 0;
    COUNT(l->acceptor->net->counters, accept_paused);
    if (log_permit(&limit, 1, 10000, &swallowed))
        log_warn("accepting pauses: %s (%u more such pauses)", why, swallowed);
    event_del(&l->ev);
    evtimer_add(&l->retry, &pause_tv);
}

static bool is_full(const struct listener *l)
{
    const struct acceptor *a = l->acceptor;
    size_t max = l->is_leaving ? a->max_drained : a->max_connections;
    return max && a->net->conns_n >= max;
}

/* One client from the queue: 1, 0: the queue is empty, -1: cannot now (errno). */
static int take_one(struct listener *l)
{
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        l->accepted++;
        COUNT(l->acceptor->net->counters, accepted);
        l->acceptor->on_accept(l->acceptor->ctx, fd, l->id);
        return 1;
    }
    switch (errno) {
    case EAGAIN:
        return 0;
    case EINVAL: /* the supervisor has shut it down: nobody will come any more */
        event_del(&l->ev);
        return 0;
    case EINTR: /* from here on: that client's own trouble (accept(2)) */
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ENOPROTOOPT:
        return 1;
    default: /* out of descriptors or memory */
        return -1;
    }
}

/* Up to n clients. 1: there may be more, 0: the queue is empty, -1: no room (why). */
static int take_some(struct listener *l, unsigned n, const char **why)
{
    int got = 1;
    while (got > 0 && n-- > 0) {
        if (is_full(l)) {
            *why = "limits.connections is reached";
            return -1;
        }
        got = take_one(l);
    }
    if (got < 0)
        *why = strerror(errno);
    return got;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct listener *l = arg;
    const char *why;
    if (take_some(l, BATCH, &why) < 0)
        pause_accepting(l, why);
}

static void drain(struct listener *l, bool is_patient)
{
    const char *why;
    if (take_some(l, QUEUE_MAX, &why) < 0 && is_patient) {
        pause_accepting(l, why);
        return;
    }
    l->acceptor->on_drained(l->acceptor->ctx, l);
    listener_free(l);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct listener *l = arg;
    if (l->is_leaving)
        drain(l, true);
    else
        event_add(&l->ev, NULL);
}

int acceptor_add(struct acceptor *a, int fd, uint32_t id, uint32_t slot, struct err *e)
{
    if (fd_nonblock(fd, e) != 0) {
        close(fd);
        return -1;
    }
    struct listener *l = NEW(struct listener);
    *l = (struct listener){.id = id, .slot = slot, .fd = fd, .acceptor = a};
    list_append(&a->listeners, &l->link);
    event_assign(&l->ev, a->net->base, fd, EV_READ | EV_PERSIST, on_readable, l);
    evtimer_assign(&l->retry, a->net->base, on_retry, l);
    if (a->started && event_add(&l->ev, NULL) != 0) {
        listener_free(l);
        return err_set(e, "epoll refused listener %u", id);
    }
    return 0;
}

void acceptor_start(struct acceptor *a)
{
    a->started = true;
    LIST_EACH (node, &a->listeners)
        event_add(&container_of(node, struct listener, link)->ev, NULL);
}

static void leave(struct listener *l, bool is_patient)
{
    l->is_leaving = true;
    l->accepted = 0;
    drain(l, is_patient);
}

bool acceptor_drain(struct acceptor *a, uint32_t id, uint32_t slot, bool is_patient)
{
    LIST_EACH_SAFE (node, &a->listeners) {
        struct listener *l = container_of(node, struct listener, link);
        if (l->id == id && l->slot == slot) {
            leave(l, is_patient);
            return true;
        }
    }
    return false;
}

void acceptor_drain_all(struct acceptor *a)
{
    LIST_EACH_SAFE (node, &a->listeners)
        leave(container_of(node, struct listener, link), false);
}
