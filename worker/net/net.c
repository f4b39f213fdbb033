#include "worker/net/net.h"

#include "common/clock.h"
#include "common/mem.h"
#include "worker/net/conn.h"
#include "worker/net/uring.h"

#define SPARE_MAX 32              /* partial buffers kept for the next borrower */
#define SPARE_CAP_MAX (64 * 1024) /* larger ones go back to the system */

int64_t net_now(struct net *n)
{
    if (n->turn_ms == 0)
        n->turn_ms = clock_now_ms();
    return n->turn_ms;
}

void net_look_at_the_clock(struct net *n)
{
    if (clock_now_ms() - net_now(n) > NET_SLICE_MS)
        event_base_loopbreak(n->base);
}

void net_end_turn(struct net *n)
{
    n->turn_ms = 0;
}

/* ---- lists of connections ---- */

static void vec_put(struct conn ***v, size_t *n, size_t *cap, struct conn *c)
{
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 64;
        *v = mem_resize(*v, *cap * sizeof(**v));
    }
    (*v)[(*n)++] = c;
}

void net_enlist(struct net *n, struct conn *c)
{
    c->index = (uint32_t)n->conns_n;
    vec_put(&n->conns, &n->conns_n, &n->conns_cap, c);
    COUNT_SET(n->counters, connections, n->conns_n);
}

void net_delist(struct net *n, struct conn *c)
{
    struct conn *moved = n->conns[--n->conns_n];
    n->ended++;
    n->conns[c->index] = moved;
    moved->index = c->index;
    COUNT_SET(n->counters, connections, n->conns_n);
}

void net_dirty(struct net *n, struct conn *c)
{
    vec_put(&n->turn.dirty, &n->turn.dirty_n, &n->turn.dirty_cap, c);
}

void net_resumed(struct net *n, struct conn *c)
{
    vec_put(&n->turn.resumed, &n->turn.resumed_n, &n->turn.resumed_cap, c);
}

void net_closing(struct net *n, struct conn *c)
{
    vec_put(&n->turn.closing, &n->turn.closing_n, &n->turn.closing_cap, c);
}

/* ---- spare buffers ---- */

struct buf *net_borrow(struct net *n)
{
    struct buf *b = n->spare_n ? n->spare[--n->spare_n] : NEW(struct buf);
    n->spare_low = MIN(n->spare_low, n->spare_n);
    return b;
}

static void spare_free(struct net *n)
{
    struct buf *b = n->spare[--n->spare_n];
    buf_free(b);
    free(b);
}

void net_give_back(struct net *n, struct buf *b)
{
    if (b->cap > SPARE_CAP_MAX || n->spare_n == SPARE_MAX) {
        buf_free(b);
        free(b);
        return;
    }
    buf_clear(b);
    n->spare[n->spare_n++] = b;
}

/* ---- the end of a turn ---- */

void net_resume(struct net *n)
{
    struct turn *t = &n->turn;
    if (t->resumed_n == 0)
        return;
    int64_t until = clock_now_ms() + NET_SLICE_MS;
    size_t todo = t->resumed_n; /* those resumed meanwhile wait for the next turn */
    size_t done = 0;
    while (done < todo && (done == 0 || clock_now_ms() < until))
        conn_feed(t->resumed[done++]);
    t->resumed_n -= done;
    memmove(t->resumed, t->resumed + done, t->resumed_n * sizeof(*t->resumed));
}

/* A copy of the list's next part is walked: whoever is closed by a write may make others
 * dirty, and the list moves. */
static size_t flush_batch(struct net *n, size_t from)
{
    struct conn *part[URING_BATCH];
    size_t many = MIN(n->turn.dirty_n - from, URING_BATCH);
    COUNT(n->counters, write_batches);
    memcpy(part, n->turn.dirty + from, many * sizeof(*part));
    if (!uring_write(n->uring, part, many)) {
        uring_close(n->uring);
        n->uring = NULL;
    }
    return from + many;
}

void net_flush(struct net *n)
{
    struct turn *t = &n->turn;
    for (size_t i = 0; i < t->dirty_n;) {
        if (n->uring && t->dirty_n - i >= URING_WORTH_IT)
            i = flush_batch(n, i);
        else
            conn_write(t->dirty[i++]);
    }
    t->dirty_n = 0;
}

int net_use_uring(struct net *n, bool on, struct err *e)
{
    if (!on) {
        uring_close(n->uring);
        n->uring = NULL;
    } else if (!n->uring) {
        n->uring = uring_open(e);
    }
    return on && !n->uring ? -1 : 0;
}

/* A dead connection may still stand in the other lists. */
static void drop_dead(struct conn **v, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (v[i]->st.phase != CONN_DEAD)
            v[kept++] = v[i];
    *n = kept;
}

void net_bury(struct net *n)
{
    struct turn *t = &n->turn;
    if (t->closing_n == 0)
        return;
    drop_dead(t->resumed, &t->resumed_n);
    drop_dead(t->dirty, &t->dirty_n);
    for (size_t i = 0; i < t->closing_n; i++)
        conn_bury(t->closing[i]);
    t->closing_n = 0;
}

/* ---- what is held ---- */

#define VEC_FLOOR 1024
#define CONN_BYTES 512 /* what one usually costs, with what stands behind it */

static void vec_shrink(struct conn ***v, size_t n, size_t *cap)
{
    if (*cap <= VEC_FLOOR || n > *cap / 4)
        return;
    *cap = MAX(n * 2, VEC_FLOOR);
    *v = mem_resize(*v, *cap * sizeof(**v));
}

void net_second(struct net *n, int64_t now_ms)
{
    struct turn *t = &n->turn;
    vec_shrink(&n->conns, n->conns_n, &n->conns_cap);
    vec_shrink(&t->dirty, t->dirty_n, &t->dirty_cap);
    vec_shrink(&t->closing, t->closing_n, &t->closing_cap);
    vec_shrink(&t->resumed, t->resumed_n, &t->resumed_cap);
    for (; n->spare_low; n->spare_low--) /* nobody wanted these */
        spare_free(n);
    n->spare_low = n->spare_n;
    memory_look(&n->memory, now_ms, n->ended * CONN_BYTES);
    n->ended = 0;
}

void net_measure(const struct net *n, struct net_use *out)
{
    const struct turn *t = &n->turn;
    *out = (struct net_use){.spare = INBOX_SIZE};
    for (size_t i = 0; i < n->conns_n; i++) {
        const struct conn *c = n->conns[i];
        out->queued += c->out.bytes;
        out->partial += c->partial ? sizeof(*c->partial) + c->partial->cap : 0;
    }
    for (size_t i = 0; i < n->spare_n; i++)
        out->spare += sizeof(**n->spare) + n->spare[i]->cap;
    out->lists = (n->conns_cap + t->dirty_cap + t->closing_cap + t->resumed_cap) *
                 sizeof(*n->conns);
}

bool net_owes(const struct net *n)
{
    return n->turn.dirty_n || n->turn.closing_n || n->turn.resumed_n;
}

/* ---- life ---- */

int net_init(struct net *n, struct event_base *base, struct counters *counters,
             struct err *e)
{
    memset(n, 0, sizeof(*n));
    if (event_get_struct_event_size() > sizeof(struct event))
        return err_set(e, "this libevent's events are %zu bytes; built for %zu",
                       event_get_struct_event_size(), sizeof(struct event));
    n->base = base;
    n->counters = counters;
    n->inbox = mem_resize(NULL, INBOX_SIZE);
    n->spare = mem_new(SPARE_MAX * sizeof(*n->spare));
    n->handshake_timeout_ms = 10000;
    n->ping_after_ms = 44000;
    n->idle_timeout_ms = 60000;
    n->close_timeout_ms = 5000;
    if (wheel_init(&n->wheel, base, conn_on_due, NULL, n, clock_now_ms()) != 0)
        return err_set(e, "cannot set the wheel's timer");
    return 0;
}

void net_fini(struct net *n)
{
    for (size_t i = 0; i < n->conns_n; i++)
        conn_close(n->conns[i], "worker ends");
    net_bury(n);
    wheel_fini(&n->wheel);
    uring_close(n->uring);
    while (n->spare_n)
        spare_free(n);
    free(n->spare);
    free(n->inbox);
    free(n->conns);
    free(n->turn.dirty);
    free(n->turn.closing);
    free(n->turn.resumed);
}
