#include "worker/ws/deflate.h"

#include "common/buf.h"
#include "common/mem.h"

#include <zlib.h>

#define WINDOW_MIN 9 /* the smallest zlib deflates with */
#define MEM_LEVEL 8  /* zlib's default */
#define TAIL "\x00\x00\xff\xff"
#define TAIL_SIZE 4
#define KEPT_MAX (64 * 1024) /* larger buffers go back to the system */
#define FIRST_GUESS 4        /* text is often a quarter of itself */

struct deflater {
    z_stream z;
    int level; /* 0: not made yet */
};

struct deflate {
    struct deflater deflaters[DEFLATE_BITS_MAX - WINDOW_MIN + 1];
    z_stream inflater;
    bool can_inflate;
    struct buf unpacked, packed;
};

struct deflate *deflate_new(void)
{
    return NEW(struct deflate);
}

void deflate_free(struct deflate *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < ARRAY_LEN(d->deflaters); i++)
        if (d->deflaters[i].level)
            deflateEnd(&d->deflaters[i].z);
    if (d->can_inflate)
        inflateEnd(&d->inflater);
    buf_free(&d->unpacked);
    buf_free(&d->packed);
    free(d);
}

static void trim(struct buf *b)
{
    if (b->cap > KEPT_MAX)
        buf_free(b);
}

void deflate_unpack_done(struct deflate *d)
{
    trim(&d->unpacked);
}

void deflate_pack_done(struct deflate *d)
{
    trim(&d->packed);
}

/* ---- in ---- */

/* The bound that zlib's deflateBound gives for the worst of its settings (fixed codes of
 * 9 bits, small blocks), and some empty blocks. */
uint64_t deflate_packed_max(uint64_t limit)
{
    return limit + limit / 8 + limit / 64 + 64;
}

/* Always with the largest window: it reads what was written with a smaller one. */
static z_stream *inflater(struct deflate *d)
{
    z_stream *z = &d->inflater;
    if (d->can_inflate)
        BUG_ON(inflateReset(z) != Z_OK);
    else
        BUG_ON(inflateInit2(z, -DEFLATE_BITS_MAX) != Z_OK);
    d->can_inflate = true;
    return z;
}

/* Room for as much again as there is, never beyond limit + 1 bytes altogether. */
static void offer_room(z_stream *z, struct buf *b, size_t limit)
{
    size_t left = limit + 1 - b->n;
    size_t want = MIN(left, MAX(b->n, (size_t)z->avail_in * FIRST_GUESS + 64));
    z->next_out = (Bytef *)buf_reserve(b, want);
    z->avail_out = (uInt)want;
}

static int inflate_some(z_stream *z, struct buf *b, size_t limit)
{
    offer_room(z, b, limit);
    uInt room = z->avail_out;
    int rc = inflate(z, Z_SYNC_FLUSH);
    BUG_ON(rc == Z_MEM_ERROR || rc == Z_STREAM_ERROR);
    b->n += room - z->avail_out;
    return rc;
}

/* A final block (§7.2.3.4) ends zlib's stream, not the message: the next block may still
 * refer to what came before it. */
static enum deflate_verdict feed(z_stream *z, struct str in, struct buf *b, size_t limit,
                                 int *rc)
{
    z->next_in = (Bytef *)(uintptr_t)in.p;
    z->avail_in = (uInt)in.n;
    do {
        if (*rc == Z_STREAM_END)
            BUG_ON(inflateResetKeep(z) != Z_OK);
        *rc = inflate_some(z, b, limit);
        if (b->n > limit)
            return DEFLATE_BIG;
        if (*rc != Z_OK && *rc != Z_STREAM_END && *rc != Z_BUF_ERROR)
            return DEFLATE_BAD;
    } while (z->avail_in > 0 || (z->avail_out == 0 && *rc == Z_OK));
    return DEFLATE_OK;
}

/* Behind the whole of a block, on a byte's edge: zlib.h, data_type. */
static bool is_between_blocks(const z_stream *z)
{
    return (z->data_type & 128) && (z->data_type & 63) == 0;
}

/* §7.2.2. Nothing at all, which a flush without news leaves, and an end with a final
 * block are as good as the same with the empty block that should follow. */
enum deflate_verdict deflate_unpack(struct deflate *d, struct str packed, size_t limit,
                                    struct str *out)
{
    z_stream *z = inflater(d);
    struct buf *b = &d->unpacked;
    int rc = Z_OK;
    BUG_ON(packed.n > UINT32_MAX || limit >= UINT32_MAX);
    buf_clear(b);
    *out = (struct str){"", 0};
    if (packed.n == 0)
        return DEFLATE_OK;
    enum deflate_verdict v = feed(z, packed, b, limit, &rc);
    if (v == DEFLATE_OK && rc != Z_STREAM_END)
        v = feed(z, (struct str){TAIL, TAIL_SIZE}, b, limit, &rc);
    if (v == DEFLATE_OK && rc != Z_STREAM_END && !is_between_blocks(z))
        v = DEFLATE_BAD;
    if (v == DEFLATE_OK && b->n)
        *out = buf_view(b);
    return v;
}

/* ---- out ---- */

/* zlib refuses to deflate with 8 bits; with 9 it never refers further back than 512 - 262
 * bytes (MAX_DIST: the window less its longest look ahead), which 8 bits hold. */
unsigned deflate_window(unsigned bits)
{
    BUG_ON(bits < DEFLATE_BITS_MIN || bits > DEFLATE_BITS_MAX);
    return MAX(bits, (unsigned)WINDOW_MIN);
}

static z_stream *deflater(struct deflate *d, unsigned window, int level)
{
    struct deflater *x = &d->deflaters[window - WINDOW_MIN];
    if (!x->level)
        BUG_ON(deflateInit2(&x->z, level, Z_DEFLATED, -(int)window, MEM_LEVEL,
                            Z_DEFAULT_STRATEGY) != Z_OK);
    else
        BUG_ON(deflateReset(&x->z) != Z_OK);
    if (x->level && x->level != level)
        BUG_ON(deflateParams(&x->z, level, Z_DEFAULT_STRATEGY) != Z_OK);
    x->level = level;
    return &x->z;
}

/* §7.2.1. As much room as the message has bytes: what does not end in it has not become
 * smaller. */
bool deflate_pack(struct deflate *d, struct str plain, unsigned bits, int level,
                  struct str *out)
{
    z_stream *z = deflater(d, deflate_window(bits), level);
    size_t room = plain.n + TAIL_SIZE;
    BUG_ON(room > UINT32_MAX);
    buf_clear(&d->packed);
    z->next_in = (Bytef *)(uintptr_t)plain.p;
    z->avail_in = (uInt)plain.n;
    z->next_out = (Bytef *)buf_reserve(&d->packed, room);
    z->avail_out = (uInt)room;
    BUG_ON(deflate(z, Z_SYNC_FLUSH) == Z_STREAM_ERROR);
    if (z->avail_out == 0)
        return false;
    d->packed.n = room - z->avail_out - TAIL_SIZE;
    *out = buf_view(&d->packed);
    return true;
}
