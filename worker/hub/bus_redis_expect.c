#include "worker/hub/bus_redis_expect.h"

#include "common/mem.h"

#define CAP_KEEP 1024 /* a longer ring goes when it is empty */

void expect_fini(struct expect_queue *q)
{
    free(q->v);
    *q = (struct expect_queue){0};
}

static struct expect *at(struct expect_queue *q, uint32_t i)
{
    return &q->v[(q->head + i) & (q->cap - 1)];
}

struct expect *expect_first(struct expect_queue *q)
{
    return q->n ? at(q, 0) : NULL;
}

static void grow(struct expect_queue *q)
{
    uint32_t cap = q->cap ? q->cap * 2 : 16;
    struct expect *v = mem_new(cap * sizeof(*v));
    for (uint32_t i = 0; i < q->n; i++)
        v[i] = *at(q, i);
    free(q->v);
    *q = (struct expect_queue){v, 0, q->n, cap};
}

void expect_put(struct expect_queue *q, struct expect e)
{
    struct expect *last = q->n ? at(q, q->n - 1) : NULL;
    if (last && e.kind == EXPECT_PUBLISH && last->kind == EXPECT_PUBLISH &&
        last->left < UINT32_MAX) {
        last->left++;
        return;
    }
    if (q->n == q->cap)
        grow(q);
    q->n++;
    *at(q, q->n - 1) = e;
}

void expect_drop_first(struct expect_queue *q)
{
    BUG_ON(q->n == 0);
    q->head = (q->head + 1) & (q->cap - 1);
    if (--q->n == 0 && q->cap > CAP_KEEP)
        expect_fini(q);
}

bool expect_answered(struct expect_queue *q)
{
    if (--at(q, 0)->left > 0)
        return false;
    expect_drop_first(q);
    return true;
}
