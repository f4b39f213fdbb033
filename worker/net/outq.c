#include "worker/net/outq.h"

#include "common/mem.h"

#define BLOCK_FIRST 240 /* a lone small reply: stays in malloc's small bins */
#define BLOCK_MORE 4000 /* replies that follow it in the same turn share one block */
#define VEC_FIRST 8     /* frames */

void outq_init(struct outq *q)
{
    *q = (struct outq){.n = 0};
}

static struct frame **frames(const struct outq *q)
{
    return q->is_long ? q->vec + q->head : (struct frame **)q->inl;
}

void outq_fini(struct outq *q)
{
    for (uint32_t i = 0; i < q->n; i++)
        frame_unref(frames(q)[i]);
    if (q->is_long)
        free(q->vec);
    outq_init(q);
}

static void go_long(struct outq *q)
{
    struct frame **vec = mem_resize(NULL, VEC_FIRST * sizeof(struct frame *));
    memcpy(vec, q->inl, sizeof(q->inl));
    q->vec = vec;
    q->head = 0;
    q->cap = VEC_FIRST;
    q->is_long = 1;
}

/* Room behind the last frame: by moving to the front when that gains half of the vector
 * (a queue that is long and stays so must not be moved for every frame), else by growing.
 */
static void make_room(struct outq *q)
{
    if (!q->is_long) {
        go_long(q);
    } else if (q->head > 0 && q->head >= q->cap / 2) {
        memmove(q->vec, q->vec + q->head, q->n * sizeof(struct frame *));
        q->head = 0;
    } else {
        q->cap *= 2;
        q->vec = mem_resize(q->vec, q->cap * sizeof(struct frame *));
    }
}

static bool is_full(const struct outq *q)
{
    return q->is_long ? q->head + q->n == q->cap : q->n == ARRAY_LEN(q->inl);
}

void outq_push(struct outq *q, struct frame *f)
{
    if (is_full(q))
        make_room(q);
    frames(q)[q->n++] = f;
    q->bytes += f->n;
}

/* The first frame is through. */
static void shift(struct outq *q)
{
    frame_unref(frames(q)[0]);
    q->n--;
    if (q->is_long)
        q->head++;
    else
        q->inl[0] = q->inl[1];
}

static struct frame *last(const struct outq *q)
{
    return q->n ? frames(q)[q->n - 1] : NULL;
}

void outq_reply(struct outq *q, unsigned opcode, struct str payload)
{
    struct frame *tail = last(q);
    size_t need = FRAME_HEADER_MAX + payload.n;
    if (!tail || tail->refs > 1 || tail->cap - tail->n < need) {
        size_t block = tail ? BLOCK_MORE : BLOCK_FIRST;
        tail = frame_alloc(MAX(block, need));
        outq_push(q, tail);
    }
    uint32_t before = tail->n;
    frame_append(tail, opcode, payload);
    q->bytes += tail->n - before;
}

void outq_raw(struct outq *q, struct str bytes)
{
    struct frame *f = frame_alloc(bytes.n);
    memcpy(f->bytes, bytes.p, bytes.n);
    f->n = (uint32_t)bytes.n;
    outq_push(q, f);
}

int outq_gather(const struct outq *q, struct iovec *iov, int max)
{
    int n = 0;
    uint32_t skip = q->offset;
    struct frame **v = frames(q);
    for (uint32_t i = 0; i < q->n && n < max; i++, skip = 0)
        iov[n++] = (struct iovec){v[i]->bytes + skip, v[i]->n - skip};
    return n;
}

void outq_written(struct outq *q, size_t n)
{
    BUG_ON(n > q->bytes);
    q->bytes -= (uint32_t)n;
    n += q->offset;
    while (q->n && n >= frames(q)[0]->n) {
        n -= frames(q)[0]->n;
        shift(q);
    }
    q->offset = (uint32_t)n;
    if (q->n == 0)
        outq_fini(q);
}
