// floors: common net ws
#include "worker/ws/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MASK "\x11\x22\x33\x44"

static const struct {
    const char *bytes;
    size_t n;
    uint8_t allowed_rsv;
    enum wire_verdict verdict;
} headers[] = {
#define H(bytes, rsv, verdict)                                                           \
    {                                                                                    \
        bytes, sizeof(bytes) - 1, rsv, verdict                                           \
    }
    H("", 0, WIRE_MORE),
    H("\x81", 0, WIRE_MORE),
    H("\x81\x80", 0, WIRE_MORE),
    H("\x81\x80\x11\x22\x33", 0, WIRE_MORE),
    H("\x81\x80" MASK, 0, WIRE_OK),
    H("\x01\x80" MASK, 0, WIRE_OK),
    H("\x00\x81" MASK, 0, WIRE_OK),
    H("\x80\x81" MASK, 0, WIRE_OK),
    H("\x82\xFD" MASK, 0, WIRE_OK),
    H("\x82\xFE\x00\x7E" MASK, 0, WIRE_OK),
    H("\x82\xFE\xFF\xFF" MASK, 0, WIRE_OK),
    H("\x82\xFF\x00\x00\x00\x00\x00\x01\x00\x00" MASK, 0, WIRE_OK),
    H("\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF" MASK, 0, WIRE_OK),
    H("\x88\x80" MASK, 0, WIRE_OK),
    H("\x89\xFD" MASK, 0, WIRE_OK),
    H("\x8A\x80" MASK, 0, WIRE_OK),
    /* reserved opcodes and bits show with the first byte */
    H("\x83", 0, WIRE_OPCODE),
    H("\x84", 0, WIRE_OPCODE),
    H("\x85", 0, WIRE_OPCODE),
    H("\x86", 0, WIRE_OPCODE),
    H("\x87", 0, WIRE_OPCODE),
    H("\x8B", 0, WIRE_OPCODE),
    H("\x8C", 0, WIRE_OPCODE),
    H("\x8D", 0, WIRE_OPCODE),
    H("\x8E", 0, WIRE_OPCODE),
    H("\x8F", 0, WIRE_OPCODE),
    H("\x03", 0, WIRE_OPCODE),
    H("\x0B", 0, WIRE_OPCODE),
    H("\xC1", 0, WIRE_RSV),
    H("\xA1", 0, WIRE_RSV),
    H("\x91", 0, WIRE_RSV),
    H("\xF1", 4, WIRE_RSV),
    H("\xA1", 4, WIRE_RSV),
    H("\xC8", 0, WIRE_RSV),
    H("\xC1", 4, WIRE_MORE),
    H("\x42", 4, WIRE_MORE),
    H("\xC1\x80" MASK, 4, WIRE_OK),
    H("\xC0", 4, WIRE_RSV),
    H("\xC8", 4, WIRE_RSV),
    H("\xC9", 4, WIRE_RSV),
    H("\xCA", 4, WIRE_RSV),
    H("\x08", 0, WIRE_CONTROL_SPLIT),
    H("\x09", 0, WIRE_CONTROL_SPLIT),
    H("\x0A", 0, WIRE_CONTROL_SPLIT),
    /* with the second */
    H("\x81\x00", 0, WIRE_UNMASKED),
    H("\x81\x7E", 0, WIRE_UNMASKED),
    H("\x88\x00", 0, WIRE_UNMASKED),
    H("\x88\x02", 0, WIRE_UNMASKED),
    H("\x88\xFE", 0, WIRE_CONTROL_LONG),
    H("\x89\xFF", 0, WIRE_CONTROL_LONG),
    H("\x8A\xFE", 0, WIRE_CONTROL_LONG),
    H("\x8A\xFE\x00\x01", 0, WIRE_CONTROL_LONG),
    /* not the shortest form */
    H("\x82\xFE\x00", 0, WIRE_MORE),
    H("\x82\xFE\x00\x00", 0, WIRE_LENGTH),
    H("\x82\xFE\x00\x7D", 0, WIRE_LENGTH),
    H("\x82\xFE\x00\x7D" MASK, 0, WIRE_LENGTH),
    H("\x82\xFF\x00\x00\x00\x00\x00", 0, WIRE_MORE),
    H("\x82\xFF\x00\x00\x00\x00\x00\x00", 0, WIRE_LENGTH),
    H("\x82\xFF\x00\x00\x00\x00\x00\x00\xFF", 0, WIRE_LENGTH),
    H("\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF", 0, WIRE_LENGTH),
    H("\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF" MASK, 0, WIRE_LENGTH),
    H("\x82\xFF\x00\x00\x00\x00\x00\x01", 0, WIRE_MORE),
    H("\x82\xFF\x00\x00\x00\x00\x00\x01\x00", 0, WIRE_MORE),
    H("\x82\xFF\x00\x00\x00\x01\x00\x00\x00\x00" MASK, 0, WIRE_OK),
    H("\x82\xFF\x80", 0, WIRE_LENGTH),
    H("\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" MASK, 0, WIRE_LENGTH),
#undef H
};

/* The bytes stand at the end of an allocation: ASan sees a look beyond. */
static enum wire_verdict parse(const char *p, size_t n, uint8_t rsv,
                               struct wire_header *h)
{
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, p, n);
    enum wire_verdict v = wire_parse(copy, n, rsv, h);
    free(copy);
    return v;
}

static void test_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct wire_header h;
        enum wire_verdict v =
            parse(headers[i].bytes, headers[i].n, headers[i].allowed_rsv, &h);
        if (v != headers[i].verdict)
            fail_msg("row %zu: %d, not %d", i, v, headers[i].verdict);
        /* Once a fault shows it stays the same however much follows; before, it is MORE.
         */
        bool decided = false;
        for (size_t n = 0; n <= headers[i].n; n++) {
            v = parse(headers[i].bytes, n, headers[i].allowed_rsv, &h);
            assert_true(decided ? v == headers[i].verdict
                                : v == WIRE_MORE || v == headers[i].verdict);
            decided = v != WIRE_MORE;
        }
    }
}

static void test_fields(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n, size;
        bool fin;
        uint8_t rsv, opcode;
        uint64_t length;
    } v[] = {
        {"\x81\x85" MASK "hello", 11, 6, true, 0, WIRE_TEXT, 5},
        {"\x02\xFD" MASK, 6, 6, false, 0, WIRE_BINARY, 125},
        {"\x80\xFE\x00\x7E" MASK, 8, 8, true, 0, WIRE_CONTINUATION, 126},
        {"\x00\xFE\xFF\xFE" MASK "x", 9, 8, false, 0, WIRE_CONTINUATION, 65534},
        {"\xC2\xFF\x00\x00\x00\x00\x00\x01\x02\x03" MASK, 14, 14, true, 4, WIRE_BINARY,
         66051},
        {"\x82\xFF\x7F\x01\x02\x03\x04\x05\x06\x07" MASK, 14, 14, true, 0, WIRE_BINARY,
         UINT64_C(0x7F01020304050607)},
        {"\x88\x82" MASK, 6, 6, true, 0, WIRE_CLOSE, 2},
        {"\x89\xFD" MASK, 6, 6, true, 0, WIRE_PING, 125},
        {"\x8A\x80" MASK, 6, 6, true, 0, WIRE_PONG, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct wire_header h;
        assert_int_equal(parse(v[i].bytes, v[i].n, 4, &h), WIRE_OK);
        assert_int_equal(h.fin, v[i].fin);
        assert_int_equal(h.rsv, v[i].rsv);
        assert_int_equal(h.opcode, v[i].opcode);
        assert_true(h.masked);
        assert_memory_equal(h.mask, MASK, 4);
        assert_int_equal(h.length, v[i].length);
        assert_int_equal(h.size, v[i].size);
        for (size_t n = 0; n < v[i].size; n++)
            assert_int_equal(parse(v[i].bytes, n, 4, &h), WIRE_MORE);
    }
}

static void test_faults(void **state)
{
    (void)state;
    for (int v = WIRE_RSV; v <= WIRE_CONTROL_SPLIT; v++) {
        size_t n = strlen(wire_fault(v));
        assert_in_range(n, 10, 123);
        assert_string_not_equal(wire_fault(v), wire_fault(WIRE_OK));
    }
}

/* Every way against the byte-by-byte rule of §5.3: all alignments, lengths over several
 * vectors, all offsets; the bytes around stay untouched. */
static void test_unmask(void **state)
{
    (void)state;
    enum { ROOM = 600, LONGEST = 300 };
    static const uint8_t mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t plain[ROOM], want[ROOM], got[ROOM] __attribute__((aligned(64)));
    const struct wire_way *ways;
    size_t n_ways = wire_ways(&ways);
    assert_true(n_ways >= 2);
    for (size_t i = 0; i < ROOM; i++)
        plain[i] = (uint8_t)(i * 131 + 7);
    for (size_t way = 0; way <= n_ways; way++)
        for (size_t align = 0; align < 32; align++)
            for (size_t n = 0; n <= LONGEST; n++)
                for (uint64_t offset = 0; offset < 4; offset++) {
                    uint32_t turned;
                    uint8_t m[4];
                    memcpy(want, plain, ROOM);
                    memcpy(got, plain, ROOM);
                    for (size_t i = 0; i < n; i++)
                        want[align + i] ^= mask[(offset + i) % 4];
                    for (size_t i = 0; i < 4; i++)
                        m[i] = mask[(offset + i) % 4];
                    memcpy(&turned, m, 4);
                    if (way == n_ways)
                        wire_unmask(got + align, n, mask, offset + (UINT64_C(1) << 40));
                    else
                        ways[way].unmask(got + align, n, turned);
                    assert_int_equal(memcmp(want, got, ROOM), 0);
                }
}

/* A payload unmasked in two parts is the payload unmasked at once; the example of §5.7.
 */
static void test_unmask_parts(void **state)
{
    (void)state;
    uint8_t hello[] = {0x7F, 0x9F, 0x4D, 0x51, 0x58};
    static const uint8_t mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t whole[97], parts[97];
    wire_unmask(hello, sizeof(hello), mask, 0);
    assert_memory_equal(hello, "Hello", 5);
    for (size_t cut = 0; cut <= sizeof(whole); cut++) {
        for (size_t i = 0; i < sizeof(whole); i++)
            whole[i] = parts[i] = (uint8_t)(i * 31);
        wire_unmask(whole, sizeof(whole), mask, 0);
        wire_unmask(parts, cut, mask, 0);
        wire_unmask(parts + cut, sizeof(parts) - cut, mask, cut);
        assert_memory_equal(whole, parts, sizeof(whole));
    }
}

/* §7.4: stated here as the list it is in the text, not as ranges. */
static void test_close_codes(void **state)
{
    (void)state;
    static const unsigned defined[] = {1000, 1001, 1002, 1003, 1007, 1008,
                                       1009, 1010, 1011, 1012, 1013, 1014};
    for (unsigned code = 0; code <= 65536; code++) {
        bool want = code >= 3000 && code < 5000;
        for (size_t i = 0; i < ARRAY_LEN(defined); i++)
            want |= code == defined[i];
        assert_int_equal(wire_close_code_ok(code), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),      cmocka_unit_test(test_fields),
        cmocka_unit_test(test_faults),       cmocka_unit_test(test_unmask),
        cmocka_unit_test(test_unmask_parts), cmocka_unit_test(test_close_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
