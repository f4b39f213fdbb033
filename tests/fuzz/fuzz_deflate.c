// floors: ws
/* Any bytes as a compressed message: what zlib makes of them in one go with a window of
 * its own is what comes out, cut at the limit. And whatever is packed comes back. The
 * first two bytes are the settings. */
#include "worker/ws/deflate.h"

#include "common/buf.h"

#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST (1 << 20)

/* By the words of RFC 7692 §7.2.2, without our haste: a block at a time into a great
 * buffer, whose end is the dictionary behind a final block. Returns the length, or -1: no
 * message. -2: longer than MOST. */
static ssize_t naive(struct str packed, struct buf *out)
{
    z_stream z = {0};
    struct buf in = {0};
    int rc = Z_OK;
    bool ended = packed.n == 0;
    buf_clear(out);
    if (ended)
        return 0;
    buf_str(&in, packed);
    buf_put(&in, "\0\0\xff\xff", 4);
    BUG_ON(inflateInit2(&z, -15) != Z_OK);
    z.next_in = (Bytef *)in.p;
    z.avail_in = (uInt)in.n;
    while (out->n <= MOST && !ended && (rc == Z_OK || rc == Z_STREAM_END)) {
        if (rc == Z_STREAM_END) {
            size_t window = MIN(out->n, (size_t)32768);
            inflateReset(&z);
            if (window)
                inflateSetDictionary(&z, (Bytef *)out->p + out->n - window, (uInt)window);
        }
        z.next_out = (Bytef *)buf_reserve(out, 4096);
        z.avail_out = 4096;
        rc = inflate(&z, Z_BLOCK);
        out->n += 4096 - z.avail_out;
        ended = (rc == Z_STREAM_END && (z.avail_in == 4 || z.avail_in == 0)) ||
                (rc == Z_OK && z.avail_in == 0 && z.avail_out > 0 &&
                 (z.data_type & 0xFF) == 128);
    }
    inflateEnd(&z);
    buf_free(&in);
    return out->n > MOST ? -2 : ended ? (ssize_t)out->n : -1;
}

static void check_unpack(struct deflate *d, struct str packed)
{
    struct buf want = {0};
    struct str got;
    ssize_t n = naive(packed, &want);
    enum deflate_verdict v = deflate_unpack(d, packed, MOST, &got);
    BUG_ON(n == -2 && v != DEFLATE_BIG);
    BUG_ON(n == -1 && v != DEFLATE_BAD);
    BUG_ON(n >= 0 && (v != DEFLATE_OK || got.n != (size_t)n ||
                      (n > 0 && memcmp(got.p, want.p, got.n) != 0)));
    if (n > 0)
        BUG_ON(deflate_unpack(d, packed, (size_t)n - 1, &got) != DEFLATE_BIG);
    deflate_unpack_done(d);
    buf_free(&want);
}

static void check_pack(struct deflate *d, struct str plain, unsigned bits, int level)
{
    struct str packed, back;
    if (deflate_pack(d, plain, bits, level, &packed)) {
        BUG_ON(packed.n >= plain.n);
        BUG_ON(deflate_unpack(d, packed, plain.n, &back) != DEFLATE_OK);
        BUG_ON(!str_eq(back, plain));
        deflate_unpack_done(d);
    }
    deflate_pack_done(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct deflate *d; /* one for all, as in a worker: nothing may be left over */
    if (size < 2 || size > 65536)
        return 0;
    if (!d)
        d = deflate_new();
    struct str rest = {(const char *)data + 2, size - 2};
    check_unpack(d, rest);
    check_pack(d, rest, DEFLATE_BITS_MIN + data[0] % 8, 1 + data[1] % 9);
    return 0;
}
