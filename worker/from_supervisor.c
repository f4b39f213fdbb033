/* The doorway: what the supervisor says. */
#include "worker/worker.h"

#include "common/log.h"
#include "common/mem.h"
#include "worker/hub/inbox_post.h"
#include "worker/hub/publication.h"
#include "worker/hub/tickets.h"
#include "worker/protocols/events.h"
#include "worker/query.h"

#include <unistd.h>

#define ROOM "from_supervisor"

static int take(int *fd)
{
    int mine = *fd;
    *fd = -1;
    return mine;
}

static void tell_drained(struct worker *w, uint32_t id, uint32_t slot, uint32_t accepted,
                         enum msg_listener_state state)
{
    CHAN_SEND(&w->chan, LISTENER_DRAINED, struct msg_listener, STR_NONE, -1, .id = id,
              .slot = slot, .accepted = accepted, .state = state);
}

void worker_drained(void *ctx, const struct listener *l)
{
    tell_drained(ctx, l->id, l->slot, l->accepted, LISTENER_LEFT);
}

static void on_LISTENER(void *ctx, const struct msg_listener *m, struct str tail, int *fd)
{
    struct worker *w = ctx;
    struct err e = {0};
    int rc = *fd < 0 ? err_set(&e, "no descriptor is free to receive it into")
                     : acceptor_add(&w->acceptor, take(fd), m->id, m->slot, &e);
    if (rc < 0) {
        log_error("listener %s: %s", log_esc(tail), e.text);
        tell_drained(w, m->id, m->slot, 0, LISTENER_MISSED);
    } else if (m->state == LISTENER_LEFT) {
        acceptor_drain(&w->acceptor, m->id, m->slot, true);
    }
}

static void on_LISTENER_DRAIN(void *ctx, const struct msg_listener *m, struct str tail,
                              int *fd)
{
    (void)tail;
    (void)fd;
    struct worker *w = ctx;
    if (!acceptor_drain(&w->acceptor, m->id, m->slot, false))
        tell_drained(w, m->id, m->slot, 0, LISTENER_LEFT);
}

static void on_LOST(void *ctx, const struct msg_empty *m, struct str tail, int *fd)
{
    (void)m;
    (void)fd;
    struct worker *w = ctx;
    cluster_lost(w->cluster, tail);
    LIST_EACH (node, &w->endpoints) {
        struct endpoint *e = container_of(node, struct endpoint, link);
        if (e->protocol->lost)
            e->protocol->lost(e, tail);
    }
}

static void on_ADDRESSES(void *ctx, const struct msg_empty *m, struct str tail, int *fd)
{
    (void)m;
    (void)fd;
    addresses_set(&((struct worker *)ctx)->book, tail);
}

static void on_CONF_COMMIT(void *ctx, const struct msg_gen *m, struct str tail, int *fd)
{
    (void)tail;
    struct worker *w = ctx;
    struct err e = {0};
    if (worker_commit(w, m->gen, *fd, &e) == 0)
        CHAN_SEND(&w->chan, CONF_READY, struct msg_gen, STR_NONE, -1, .gen = m->gen);
    else
        CHAN_SEND(&w->chan, CONF_REFUSED, struct msg_gen, str_of(e.text), -1,
                  .gen = m->gen);
}

static void on_CONF_APPLY(void *ctx, const struct msg_gen *m, struct str tail, int *fd)
{
    (void)tail;
    (void)fd;
    struct worker *w = ctx;
    struct err e = {0};
    if (worker_apply(w, m->gen, &e) == 0) {
        CHAN_SEND(&w->chan, READY, struct msg_gen, STR_NONE, -1, .gen = m->gen);
        return;
    }
    log_error("configuration %u cannot be applied: %s", m->gen, e.text);
    w->done = true;
}

static void on_CONF_ABORT(void *ctx, const struct msg_gen *m, struct str tail, int *fd)
{
    (void)tail;
    (void)fd;
    worker_abort(ctx, m->gen);
}

static void on_RETIRE(void *ctx, const struct msg_timeout *m, struct str tail, int *fd)
{
    (void)tail;
    (void)fd;
    worker_retire(ctx, m->ms);
}

static void on_UNREADY(void *ctx, const struct msg_empty *m, struct str tail, int *fd)
{
    (void)m;
    (void)tail;
    (void)fd;
    ((struct worker *)ctx)->unready = true;
}

static void on_SHUTDOWN(void *ctx, const struct msg_timeout *m, struct str tail, int *fd)
{
    (void)tail;
    (void)fd;
    worker_stop(ctx, 1001, m->ms);
}

static void on_QUERY(void *ctx, const struct msg_query *m, struct str tail, int *fd)
{
    (void)fd;
    query_start(ctx, m->id, m->what, m->limit, tail);
}

static void end(struct worker *w, uint32_t id, uint32_t status, int64_t count,
                const char *why)
{
    CHAN_SEND(&w->chan, END, struct msg_end, str_of(why), -1, .id = id, .status = status,
              .count = count > 0 ? (uint64_t)count : 0);
}

static void on_KICK(void *ctx, const struct msg_id *m, struct str tail, int *fd)
{
    (void)fd;
    struct err e = {0};
    int64_t n = query_kick(ctx, tail, &e);
    end(ctx, m->id, n < 0 ? END_USAGE : END_OK, n, e.text);
}

/* A publish of helioctl on its way to Redis. */
struct sending {
    struct worker *w;
    uint32_t id;
};

static void on_sent(void *ctx, bool ok, const char *why)
{
    struct sending *s = ctx;
    end(s->w, s->id, ok ? END_OK : END_UNAVAILABLE, ok, ok ? "" : why);
    free(s);
}

static void on_PUBLISH(void *ctx, const struct msg_id *m, struct str tail, int *fd)
{
    (void)fd;
    struct worker *w = ctx;
    struct err e = {0};
    struct sending *s = NEW(struct sending);
    *s = (struct sending){w, m->id};
    if (publication_send(w->hub, tail, on_sent, s, &e) == 0)
        return;
    end(w, m->id, END_USAGE, 0, e.text);
    free(s);
}

/* What Redis says when it does not do what it is asked, in words. */
static const char *failure(const struct bus_reply *r)
{
    if (r->type == BUS_UNCERTAIN)
        return "bus-uncertain";
    return r->type == BUS_DOWN || r->type == BUS_ERROR ? log_esc(r->text)
                                                       : "Redis gave no answer";
}

static void on_minted(void *ctx, struct str ticket, const struct bus_reply *why)
{
    struct sending *s = ctx;
    struct buf row = {0};
    if (ticket.p) {
        COUNT(s->w->counters, tickets_minted);
        buf_printf(&row, "{\"ticket\":\"" STR_FMT "\"}", STR_ARG(ticket));
        CHAN_SEND(&s->w->chan, ROW, struct msg_id, buf_view(&row), -1, .id = s->id);
    }
    end(s->w, s->id, ticket.p ? END_OK : END_UNAVAILABLE, 0,
        ticket.p ? "" : failure(why));
    buf_free(&row);
    free(s);
}

static void on_TICKET(void *ctx, const struct msg_id *m, struct str tail, int *fd)
{
    (void)fd;
    struct worker *w = ctx;
    struct err e = {0};
    struct sending *s = NEW(struct sending);
    *s = (struct sending){w, m->id};
    if (ticket_mint(w->hub, &w->conf->main, tail, on_minted, s, &e) == 0)
        return;
    end(w, m->id, END_USAGE, 0, e.text);
    free(s);
}

static void on_notified(void *ctx, const struct inbox_posted *p)
{
    struct sending *s = ctx;
    bool ok = p->type == BUS_TEXT;
    COUNT_ADD(s->w->counters, inbox_published, p->stored);
    if (ok)
        CHAN_SEND(&s->w->chan, ROW, struct msg_id, p->ids, -1, .id = s->id);
    end(s->w, s->id, ok ? END_OK : END_UNAVAILABLE, (int64_t)p->stored,
        ok ? "" : failure(&(struct bus_reply){.type = p->type, .text = p->why}));
    free(s);
}

static void on_NOTIFY(void *ctx, const struct msg_id *m, struct str tail, int *fd)
{
    (void)fd;
    struct worker *w = ctx;
    struct err e = {0};
    struct sending *s = NEW(struct sending);
    *s = (struct sending){w, m->id};
    if (inbox_post(w->hub, &w->conf->main.inbox, tail, STR_NONE, on_notified, s, &e) == 0)
        return;
    end(w, m->id, END_USAGE, 0, e.text);
    free(s);
}

static void on_COUNTERS(void *ctx, const struct msg_empty *m, struct str tail, int *fd)
{
    (void)m;
    (void)fd;
    metrics_came(&((struct worker *)ctx)->metrics, tail);
}

static void on_LOG_LEVEL(void *ctx, const struct msg_level *m, struct str tail, int *fd)
{
    (void)ctx;
    (void)tail;
    (void)fd;
    log_set_level((enum log_level)MIN(m->level, LOG_LEVEL_DEBUG));
}

/* The supervisor is dead: no new clients, tell the old ones, leave. */
static void on_gone(void *ctx, const char *why)
{
    struct worker *w = ctx;
    log_warn("the supervisor is gone (%s)", why);
    if (!w->conf)
        w->done = true;
    else
        worker_stop(w, 1001, w->conf->main.shutdown_timeout);
}

const struct msg_handlers from_supervisor = {
    .LISTENER = on_LISTENER,
    .LISTENER_DRAIN = on_LISTENER_DRAIN,
    .LOST = on_LOST,
    .ADDRESSES = on_ADDRESSES,
    .CONF_COMMIT = on_CONF_COMMIT,
    .CONF_APPLY = on_CONF_APPLY,
    .CONF_ABORT = on_CONF_ABORT,
    .RETIRE = on_RETIRE,
    .UNREADY = on_UNREADY,
    .SHUTDOWN = on_SHUTDOWN,
    .QUERY = on_QUERY,
    .KICK = on_KICK,
    .PUBLISH = on_PUBLISH,
    .TICKET = on_TICKET,
    .NOTIFY = on_NOTIFY,
    .COUNTERS = on_COUNTERS,
    .LOG_LEVEL = on_LOG_LEVEL,
    .gone = on_gone,
};
