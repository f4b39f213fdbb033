// floors: common net ws
/* wire and utf8 against plain re-statements of the rules: a stream of frames, cut
 * anywhere. */
#include "common/utf8.h"
#include "worker/ws/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* RFC 6455 §5.2 over a whole header, without any haste: all the faults it has, as a set.
 */
static unsigned naive_faults(const uint8_t *p, size_t n, uint8_t allowed_rsv,
                             struct wire_header *h)
{
    unsigned faults = 0, control = p[0] & 8, code = p[1] & 127;
    *h = (struct wire_header){.fin = p[0] & 128,
                              .rsv = (p[0] >> 4) & 7,
                              .opcode = p[0] & 15,
                              .masked = p[1] & 128};
    size_t extra = code == 126 ? 2 : code == 127 ? 8 : 0;
    h->size = 2 + extra + 4;
    h->length = extra ? 0 : code;
    if (n < h->size)
        return 1u << WIRE_MORE;
    for (size_t i = 0; i < extra; i++)
        h->length = h->length * 256 + p[2 + i];
    memcpy(h->mask, p + 2 + extra, 4);
    if ((h->opcode > 2 && h->opcode < 8) || h->opcode > 10)
        faults |= 1u << WIRE_OPCODE;
    if (h->rsv & ~(h->opcode == WIRE_TEXT || h->opcode == WIRE_BINARY ? allowed_rsv : 0))
        faults |= 1u << WIRE_RSV;
    if (control && !h->fin)
        faults |= 1u << WIRE_CONTROL_SPLIT;
    if (control && code > 125)
        faults |= 1u << WIRE_CONTROL_LONG;
    if (!h->masked)
        faults |= 1u << WIRE_UNMASKED;
    if ((code == 126 && h->length < 126) ||
        (code == 127 && (h->length < 65536 || h->length >> 63)))
        faults |= 1u << WIRE_LENGTH;
    return faults ? faults : 1u << WIRE_OK;
}

static void check_prefixes(const uint8_t *p, size_t n, uint8_t rsv,
                           enum wire_verdict whole)
{
    struct wire_header h;
    bool decided = false;
    for (size_t i = 0; i <= MIN(n, 14); i++) {
        enum wire_verdict v = wire_parse(p, i, rsv, &h);
        BUG_ON(decided ? v != whole : v != WIRE_MORE && v != whole);
        decided = v != WIRE_MORE;
    }
}

static enum wire_verdict check_header(const uint8_t *p, size_t n, uint8_t rsv,
                                      struct wire_header *h)
{
    struct wire_header naive;
    enum wire_verdict v = wire_parse(p, n, rsv, h);
    check_prefixes(p, n, rsv, v);
    if (n < 14 && v == WIRE_MORE)
        return v;
    if (n >= 2) {
        unsigned faults = naive_faults(p, n, rsv, &naive);
        BUG_ON(!(faults & (1u << v | 1u << WIRE_MORE)));
    }
    if (v == WIRE_OK) {
        BUG_ON(h->fin != naive.fin || h->rsv != naive.rsv || h->opcode != naive.opcode ||
               !h->masked);
        BUG_ON(h->length != naive.length || h->size != naive.size ||
               memcmp(h->mask, naive.mask, 4) != 0);
    }
    return v;
}

/* Each way, and in two parts, gives what the byte-by-byte rule gives; the result is left
 * in p. */
static void check_unmask(uint8_t *p, size_t n, const struct wire_header *h)
{
    const struct wire_way *ways;
    size_t n_ways = wire_ways(&ways), cut = n ? h->mask[0] % (n + 1) : 0;
    uint8_t *want = malloc(n + 1), *got = malloc(n + 1);
    uint32_t mask;
    BUG_ON(!want || !got);
    memcpy(&mask, h->mask, 4);
    for (size_t i = 0; i < n; i++)
        want[i] = p[i] ^ h->mask[i % 4];
    for (size_t w = 0; w < n_ways; w++) {
        memcpy(got, p, n);
        ways[w].unmask(got, n, mask);
        BUG_ON(memcmp(got, want, n) != 0);
    }
    wire_unmask(p, cut, h->mask, 0);
    wire_unmask(p + cut, n - cut, h->mask, cut);
    BUG_ON(memcmp(p, want, n) != 0);
    free(want);
    free(got);
}

/* At once, byte by byte, in two parts, each way: the same state. */
static void check_text(const uint8_t *p, size_t n)
{
    const struct utf8_way *ways;
    size_t n_ways = utf8_ways(&ways);
    uint8_t slow = UTF8_START, whole = utf8_feed(UTF8_START, p, n);
    for (size_t w = 0; w < n_ways; w++)
        BUG_ON(utf8_feed_way(&ways[w], UTF8_START, p, n) != whole);
    for (size_t i = 0; i < n; i++) {
        slow = utf8_feed(slow, p + i, 1);
        if (i % 7 == 0)
            BUG_ON(utf8_feed(slow, p + i + 1, n - i - 1) != whole);
    }
    BUG_ON(slow != whole);
}

static void run_stream(const uint8_t *data, size_t size, uint8_t rsv)
{
    uint8_t *copy = malloc(size + 1);
    size_t at = 0;
    BUG_ON(!copy);
    memcpy(copy, data, size);
    for (struct wire_header h; check_header(copy + at, size - at, rsv, &h) == WIRE_OK;) {
        at += h.size;
        size_t n = h.length < size - at ? (size_t)h.length : size - at;
        check_unmask(copy + at, n, &h);
        check_text(copy + at, n);
        at += n;
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    run_stream(data, size, 0);
    run_stream(data, size, 4);
    check_text(data, size);
    if (size >= 2)
        wire_close_code_ok((unsigned)data[0] << 8 | data[1]);
    return 0;
}
