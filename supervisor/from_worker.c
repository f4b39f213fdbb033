#include "supervisor/from_worker.h"
#include "supervisor/supervisor.h"

static void on_HELLO(void *ctx, const struct msg_hello *m, struct str tail,
                     int *fd UNUSED)
{
    crew_greeted(ctx, m, tail);
}

static void on_LISTENER_DRAINED(void *ctx, const struct msg_listener *m,
                                struct str tail UNUSED, int *fd UNUSED)
{
    if (m->state == LISTENER_MISSED)
        seating_missed(ctx, m->id, m->slot);
    else
        seating_drained(ctx, m->id, m->slot);
}

static void on_READY(void *ctx, const struct msg_gen *m, struct str tail UNUSED,
                     int *fd UNUSED)
{
    crew_is_ready(ctx, m->gen);
}

static void on_BUS_STATE(void *ctx, const struct msg_flag *m, struct str tail,
                         int *fd UNUSED)
{
    crew_bus_state(ctx, m->on, tail);
}

static void on_CONF_READY(void *ctx, const struct msg_gen *m, struct str tail UNUSED,
                          int *fd UNUSED)
{
    crew_conf_ready(ctx, m->gen);
}

static void on_CONF_REFUSED(void *ctx, const struct msg_gen *m, struct str tail,
                            int *fd UNUSED)
{
    crew_conf_refused(ctx, m->gen, tail);
}

static void on_ROW(void *ctx, const struct msg_id *m, struct str tail, int *fd UNUSED)
{
    ask_row(ctx, m->id, tail);
}

static void on_END(void *ctx, const struct msg_end *m, struct str tail, int *fd UNUSED)
{
    ask_end(ctx, m, tail);
}

static void on_ASK_COUNTERS(void *ctx, const struct msg_empty *m UNUSED,
                            struct str tail UNUSED, int *fd UNUSED)
{
    struct member *asker = ctx;
    struct buf sums = {0};
    pages_put_sums(asker->s, &sums);
    CHAN_SEND(&asker->chan, COUNTERS, struct msg_empty, buf_view(&sums), -1, 0);
    buf_free(&sums);
}

static void on_gone(void *ctx, const char *why)
{
    crew_gone(ctx, why);
}

const struct msg_handlers from_worker = {
    .HELLO = on_HELLO,
    .LISTENER_DRAINED = on_LISTENER_DRAINED,
    .READY = on_READY,
    .BUS_STATE = on_BUS_STATE,
    .CONF_READY = on_CONF_READY,
    .CONF_REFUSED = on_CONF_REFUSED,
    .ASK_COUNTERS = on_ASK_COUNTERS,
    .ROW = on_ROW,
    .END = on_END,
    .gone = on_gone,
};
