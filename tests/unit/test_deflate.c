// floors: ws
/* The vectors of RFC 7692 §7.2.3, bounds, and windows; what is packed is read back by an
 * inflater with no larger window than was agreed on. */
#include "worker/ws/deflate.h"

#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <zlib.h>

#define BYTES(...)                                                                       \
    {                                                                                    \
        (const char[]){__VA_ARGS__}, sizeof((const char[]){__VA_ARGS__})                 \
    }
#define B(x) (char)0x##x

static struct deflate *d;

static int setup(void **state)
{
    (void)state;
    d = deflate_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    deflate_free(d);
    return 0;
}

static const struct {
    const char *what;
    struct str packed;
    const char *plain; /* NULL: bad */
} vectors[] = {
    {"§7.2.3.1: one block", BYTES(B(f2), B(48), B(cd), B(c9), B(c9), B(07), B(00)),
     "Hello"},
    {"§7.2.3.2: with the window of the last message",
     BYTES(B(f2), B(00), B(11), B(00), B(00)), NULL},
    {"§7.2.3.3: not compressed",
     BYTES(B(00), B(05), B(00), B(fa), B(ff), B(48), B(65), B(6c), B(6c), B(6f), B(00)),
     "Hello"},
    {"§7.2.3.4: a final block",
     BYTES(B(f3), B(48), B(cd), B(c9), B(c9), B(07), B(00), B(00)), "Hello"},
    {"a final block alone", BYTES(B(f3), B(48), B(cd), B(c9), B(c9), B(07), B(00)),
     "Hello"},
    {"§7.2.3.5: two blocks",
     BYTES(B(f2), B(48), B(05), B(00), B(00), B(00), B(ff), B(ff), B(ca), B(c9), B(c9),
           B(07), B(00)),
     "Hello"},
    {"§7.2.3.6: empty", BYTES(B(00)), ""},
    {"§7.2.3.6: empty, a fixed block", BYTES(B(02), B(00)), ""},
    {"nothing at all", {"", 0}, ""},
    {"a final stored block, empty", BYTES(B(01)), ""},
    {"two final blocks, the second refers to the first",
     BYTES(B(f3), B(48), B(cd), B(c9), B(c9), B(07), B(00), /* Hello */
           B(03), B(11), B(00), B(00)),
     "HelloHell"},
    {"the reserved kind of block", BYTES(B(06), B(00)), NULL},
    {"a stored block whose lengths disagree",
     BYTES(B(00), B(05), B(00), B(fa), B(fe), B(48)), NULL},
    {"a distance before the beginning", BYTES(B(02), B(11), B(00), B(00)), NULL},
    {"cut inside a block", BYTES(B(f2), B(48), B(cd)), NULL},
    {"cut inside a stored block", BYTES(B(00), B(09), B(00), B(f6), B(ff), B(48)), NULL},
    {"a byte behind the end",
     BYTES(B(f2), B(48), B(cd), B(c9), B(c9), B(07), B(00), B(00)), NULL},
    {"text", BYTES('H', 'e', 'l', 'l', 'o'), NULL},
};

static void vectors_of_the_rfc(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct str out;
        enum deflate_verdict want = vectors[i].plain ? DEFLATE_OK : DEFLATE_BAD;
        enum deflate_verdict got = deflate_unpack(d, vectors[i].packed, 100, &out);
        if (got != want || (vectors[i].plain && !str_is(out, vectors[i].plain)))
            fail_msg("%s: verdict %d, \"" STR_FMT "\"", vectors[i].what, got,
                     STR_ARG(out));
        deflate_unpack_done(d);
    }
}

static void each_byte_counts(void **state)
{
    (void)state;
    struct str out, hello = vectors[0].packed;
    for (size_t n = 1; n < hello.n; n++)
        assert_int_equal(deflate_unpack(d, (struct str){hello.p, n}, 100, &out),
                         DEFLATE_BAD);
    assert_int_equal(deflate_unpack(d, hello, 5, &out), DEFLATE_OK);
    assert_int_equal(deflate_unpack(d, hello, 4, &out), DEFLATE_BIG);
    assert_int_equal(deflate_unpack(d, hello, 0, &out), DEFLATE_BIG);
}

/* Text that zlib finds matches in at every distance, from a generator. */
static void fill(struct buf *b, size_t n, unsigned seed)
{
    uint32_t x = seed * 2654435761u + 1;
    buf_clear(b);
    while (b->n < n) {
        x = x * 1664525 + 1013904223;
        size_t back = x >> 8 & 1023, count = 3 + (x >> 20 & 31);
        for (size_t i = 0; x & 64 && back && back <= b->n && i < count && b->n < n; i++)
            buf_char(b, b->p[b->n - back]);
        if (b->n < n)
            buf_char(b, (char)(x >> 24 & 15));
    }
}

/* Inflated byte by byte, so that no more than the window is remembered. Returns the
 * number of bytes, or -1. */
static ssize_t inflate_slowly(struct str packed, unsigned bits, char *out, size_t cap)
{
    z_stream z = {0};
    struct buf in = {0};
    int rc = Z_OK;
    buf_str(&in, packed);
    buf_put(&in, "\0\0\xff\xff", 4);
    assert_int_equal(inflateInit2(&z, -(int)bits), Z_OK);
    z.next_in = (Bytef *)in.p;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)out;
    while (rc == Z_OK && z.total_out < cap) {
        z.avail_out = 1;
        rc = inflate(&z, Z_SYNC_FLUSH);
    }
    ssize_t n = rc == Z_OK || rc == Z_BUF_ERROR ? (ssize_t)z.total_out : -1;
    inflateEnd(&z);
    buf_free(&in);
    return n;
}

/* 8 bits above all: the window zlib itself does not write for. */
static void windows_are_kept_to(void **state)
{
    (void)state;
    struct buf text = {0};
    char *back = malloc(40001);
    for (unsigned bits = DEFLATE_BITS_MIN; bits <= DEFLATE_BITS_MAX; bits++)
        for (int level = 1; level <= 9; level++) {
            struct str packed;
            size_t n = 40000u >> (level % 4 * 2);
            fill(&text, n, bits * 16 + (unsigned)level);
            assert_true(deflate_pack(d, buf_view(&text), bits, level, &packed));
            assert_true(packed.n < text.n);
            assert_int_equal(inflate_slowly(packed, bits, back, n + 1), n);
            assert_memory_equal(back, text.p, n);
            deflate_pack_done(d);
        }
    free(back);
    buf_free(&text);
}

static void there_and_back(void **state)
{
    (void)state;
    struct buf text = {0};
    for (unsigned seed = 0; seed < 300; seed++) {
        struct str packed, out;
        size_t n = seed * seed;
        fill(&text, n, seed);
        if (deflate_pack(d, buf_view(&text), 8 + seed % 8, 1 + (int)seed % 9, &packed)) {
            assert_int_equal(deflate_unpack(d, packed, n, &out), DEFLATE_OK);
            assert_int_equal(out.n, n);
            assert_memory_equal(out.p, text.p, n);
            assert_int_equal(deflate_unpack(d, packed, n - 1, &out), DEFLATE_BIG);
            deflate_unpack_done(d);
        }
        deflate_pack_done(d);
    }
    buf_free(&text);
}

/* The same bytes whatever was packed before, on whatever level: nothing is taken over. */
static void messages_stand_alone(void **state)
{
    (void)state;
    struct buf text = {0}, first = {0};
    struct str packed;
    fill(&text, 5000, 1);
    assert_true(deflate_pack(d, buf_view(&text), 15, 6, &packed));
    buf_str(&first, packed);
    for (int level = 9; level >= 1; level--) {
        assert_true(deflate_pack(d, buf_view(&text), 15, level, &packed));
        assert_true(deflate_pack(d, buf_view(&text), 15, 6, &packed));
        assert_true(str_eq(packed, buf_view(&first)));
    }
    buf_free(&text);
    buf_free(&first);
}

static void what_does_not_shrink_is_left(void **state)
{
    (void)state;
    struct buf noise = {0};
    struct str packed;
    uint32_t x = 7;
    for (size_t n = 0; n < 3000; n++) {
        x = x * 1664525 + 1013904223;
        if (n < 20 || n % 100 == 0)
            assert_false(deflate_pack(d, buf_view(&noise), 15, 9, &packed));
        buf_char(&noise, (char)(x >> 24));
    }
    buf_free(&noise);
}

/* 1 GiB of zeros in 1 MiB: inflated as far as the limit and not a byte further. */
static void bombs_are_cut(void **state)
{
    (void)state;
    static const size_t limits[] = {0, 1, 125, 65535, 65536, 131072, 1 << 20};
    z_stream z = {0};
    struct buf bomb = {0};
    char zeros[4096] = {0};
    struct str out;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, 0), Z_OK);
    z.next_out = (Bytef *)buf_reserve(&bomb, 100000);
    z.avail_out = 100000;
    for (unsigned i = 0; i < 4096; i++) {
        z.next_in = (Bytef *)zeros;
        z.avail_in = sizeof(zeros);
        deflate(&z, i == 4095 ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    }
    bomb.n = z.total_out - 4;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        assert_int_equal(deflate_unpack(d, buf_view(&bomb), limits[i], &out),
                         DEFLATE_BIG);
    assert_int_equal(deflate_unpack(d, buf_view(&bomb), (16 << 20) - 1, &out),
                     DEFLATE_BIG);
    assert_int_equal(deflate_unpack(d, buf_view(&bomb), 16 << 20, &out), DEFLATE_OK);
    assert_int_equal(out.n, 16 << 20);
    deflateEnd(&z);
    buf_free(&bomb);
}

/* Empty final blocks cost two bytes each; each begins zlib's stream anew. */
static void many_final_blocks(void **state)
{
    (void)state;
    struct buf b = {0};
    struct str out;
    for (size_t i = 0; i < 100000; i++)
        buf_put(&b, "\x4b\x04\x00", 3); /* "a", final */
    assert_int_equal(deflate_unpack(d, buf_view(&b), 100000, &out), DEFLATE_OK);
    assert_int_equal(out.n, 100000);
    assert_int_equal(deflate_unpack(d, buf_view(&b), 99999, &out), DEFLATE_BIG);
    buf_free(&b);
}

/* A message at the limit that cannot shrink, by the most wasteful of settings. */
static void the_worst_message_fits(void **state)
{
    (void)state;
    for (size_t n = 0; n < 70000; n = n * 3 + 1)
        for (int level = 0; level <= 9; level++)
            for (int mem = 1; mem <= 9; mem += 4) {
                z_stream z = {0};
                assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -15, mem, Z_FIXED),
                                 Z_OK);
                assert_true(deflateBound(&z, n) <= deflate_packed_max(n));
                deflateEnd(&z);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_rfc),
        cmocka_unit_test(each_byte_counts),
        cmocka_unit_test(windows_are_kept_to),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(messages_stand_alone),
        cmocka_unit_test(what_does_not_shrink_is_left),
        cmocka_unit_test(bombs_are_cut),
        cmocka_unit_test(many_final_blocks),
        cmocka_unit_test(the_worst_message_fits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
