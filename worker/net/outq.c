#include "worker/net/outq.h"

#include "common/mem.h"

#define BLOCK_FIRST 240 /* a lone small reply: stays in malloc's small bins */
#define BLOCK_MORE 4000 /* replies that follow it in the same turn share one block */

void outq_init(struct outq *q)
{
    *q = (struct outq){.cap = ARRAY_LEN(q->inl)};
}

static struct frame **frames(const struct outq *q)
{
    return q->vec ? q->vec : (struct frame **)q->inl;
}

void outq_fini(struct outq *q)
{
    for (uint32_t i = 0; i < q->n; i++)
        frame_unref(frames(q)[q->head + i]);
    free(q->vec);
    outq_init(q);
}

/* Room behind the last frame: by moving to the front when that gains half of the vector
 * (a queue that is long and stays so must not be moved for every frame), else by growing.
 */
static void make_room(struct outq *q)
{
    if (q->head > 0 && q->head >= q->cap / 2) {
        memmove(frames(q), frames(q) + q->head, q->n * sizeof(struct frame *));
        q->head = 0;
        return;
    }
    uint32_t cap = q->cap * 2 < 8 ? 8 : q->cap * 2;
    if (q->vec) {
        q->vec = mem_resize(q->vec, cap * sizeof(struct frame *));
    } else {
        q->vec = mem_resize(NULL, cap * sizeof(struct frame *));
        memcpy(q->vec, q->inl, sizeof(q->inl));
    }
    q->cap = cap;
}

void outq_push(struct outq *q, struct frame *f)
{
    if (q->head + q->n == q->cap)
        make_room(q);
    frames(q)[q->head + q->n++] = f;
    q->bytes += f->n;
}

static struct frame *last(const struct outq *q)
{
    return q->n ? frames(q)[q->head + q->n - 1] : NULL;
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
    struct frame **v = frames(q) + q->head;
    for (uint32_t i = 0; i < q->n && n < max; i++, skip = 0)
        iov[n++] = (struct iovec){v[i]->bytes + skip, v[i]->n - skip};
    return n;
}

void outq_written(struct outq *q, size_t n)
{
    BUG_ON(n > q->bytes);
    q->bytes -= (uint32_t)n;
    n += q->offset;
    while (q->n && n >= frames(q)[q->head]->n) {
        n -= frames(q)[q->head]->n;
        frame_unref(frames(q)[q->head++]);
        q->n--;
    }
    q->offset = (uint32_t)n;
    if (q->n == 0) {
        free(q->vec);
        outq_init(q);
    }
}
