// floors: http
/* RFC 7692 §5.1, §7.1: every parameter, with every value, alone and in lists. */
#include "worker/http/extensions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define PD "permessage-deflate"
#define TAKEN                                                                            \
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "         \
    "client_no_context_takeover"

/* The answer to these fields; "" none. */
static void answer_to(const struct str *values, size_t n, struct buf *out)
{
    struct request_field fields[4];
    struct request r = {.fields = fields, .fields_cap = ARRAY_LEN(fields)};
    struct extensions_deflate terms;
    for (size_t i = 0; i < n; i++) {
        assert_true(extensions_are_good(values[i]));
        fields[r.fields_n++] =
            (struct request_field){STR("sec-websocket-extensions"), values[i]};
    }
    buf_clear(out);
    if (extensions_take_deflate(&r, &terms))
        extensions_answer(&terms, out);
}

static const struct {
    const char *offer;
    int bits; /* 0: declined; -1: taken, no limit was asked for */
} offers[] = {
    {PD, -1},
    {" " PD " ", -1},
    {PD "; server_no_context_takeover", -1},
    {PD "; client_no_context_takeover", -1},
    {PD ";server_no_context_takeover;client_no_context_takeover", -1},
    {PD "; client_max_window_bits", -1},
    {PD "; client_max_window_bits=8", -1},
    {PD "; client_max_window_bits=15", -1},
    {PD "; client_max_window_bits=\"12\"", -1},
    {PD "; server_max_window_bits=8", 8},
    {PD "; server_max_window_bits=9", 9},
    {PD "; server_max_window_bits=10", 10},
    {PD "; server_max_window_bits=14", 14},
    {PD "; server_max_window_bits=15", 15},
    {PD "; server_max_window_bits = 10", 10},
    {PD "; server_max_window_bits=\"10\"", 10},
    {PD "; server_max_window_bits=\"\\1\\0\"", 10},
    {PD "; client_max_window_bits; server_max_window_bits=9; server_no_context_takeover; "
        "client_no_context_takeover",
     9},
    /* unknown, or not in these letters */
    {"x-webkit-deflate-frame", 0},
    {"PerMessage-Deflate", 0},
    {"permessage-deflat", 0},
    {"permessage-deflatex", 0},
    {PD "; x", 0},
    {PD "; x=1", 0},
    {PD "; Server_No_Context_Takeover", 0},
    {PD "; server_max_window_bit=9", 0},
    {PD "; mem_level=8", 0},
    /* values */
    {PD "; server_no_context_takeover=1", 0},
    {PD "; server_no_context_takeover=true", 0},
    {PD "; client_no_context_takeover=\"8\"", 0},
    {PD "; client_no_context_takeover=10", 0},
    {PD "; server_max_window_bits", 0},
    {PD "; server_max_window_bits=7", 0},
    {PD "; server_max_window_bits=16", 0},
    {PD "; server_max_window_bits=0", 0},
    {PD "; server_max_window_bits=1", 0},
    {PD "; server_max_window_bits=08", 0},
    {PD "; server_max_window_bits=010", 0},
    {PD "; server_max_window_bits=100", 0},
    {PD "; server_max_window_bits=1000000000000000000000", 0},
    {PD "; server_max_window_bits=+9", 0},
    {PD "; server_max_window_bits=-9", 0},
    {PD "; server_max_window_bits=9.0", 0},
    {PD "; server_max_window_bits=0x9", 0},
    {PD "; server_max_window_bits=a", 0},
    {PD "; client_max_window_bits=7", 0},
    {PD "; client_max_window_bits=16", 0},
    {PD "; client_max_window_bits=08", 0},
    {PD "; client_max_window_bits=x", 0},
    {PD "; client_max_window_bits=\"150\"", 0},
    /* twice */
    {PD "; server_no_context_takeover; server_no_context_takeover", 0},
    {PD "; client_no_context_takeover; client_no_context_takeover", 0},
    {PD "; server_max_window_bits=9; server_max_window_bits=9", 0},
    {PD "; client_max_window_bits; client_max_window_bits=9", 0},
    /* the next one is tried */
    {PD "; server_max_window_bits=7, " PD, -1},
    {PD "; server_max_window_bits=7, " PD "; server_max_window_bits=11", 11},
    {PD "; server_max_window_bits=12, " PD, 12},
    {PD ", " PD "; server_max_window_bits=12", -1},
    {"a; b=c, ,, " PD "; x, " PD "; client_max_window_bits, " PD, -1},
    {"a;server_max_window_bits=9, " PD "; server_max_window_bits=10", 10},
    {"a, b; c=\"d\"", 0},
};

static void expect(struct buf *got, int bits, const char *offer)
{
    struct buf want = {0};
    if (bits)
        buf_str(&want, STR(TAKEN));
    if (bits > 0)
        buf_printf(&want, "; server_max_window_bits=%d", bits);
    if (bits)
        buf_str(&want, STR("\r\n"));
    if (!str_eq(buf_view(got), buf_view(&want)))
        fail_msg("%s: answered \"%s\"", offer, buf_cstr(got));
    buf_free(&want);
}

static void every_offer(void **state)
{
    (void)state;
    struct buf out = {0};
    for (size_t i = 0; i < ARRAY_LEN(offers); i++) {
        struct str value = str_of(offers[i].offer);
        answer_to(&value, 1, &out);
        expect(&out, offers[i].bits, offers[i].offer);
    }
    buf_free(&out);
}

static void several_fields(void **state)
{
    (void)state;
    struct buf out = {0};
    struct str fields[] = {STR("a; b"), STR(PD "; x"),
                           STR(PD "; server_max_window_bits=9, " PD), STR(PD)};
    answer_to(fields, 2, &out);
    expect(&out, 0, "two fields");
    answer_to(fields, 3, &out);
    expect(&out, 9, "three fields");
    answer_to(fields + 1, 3, &out);
    expect(&out, 9, "the other three");
    answer_to(fields, 0, &out);
    expect(&out, 0, "no field");
    buf_free(&out);
}

/* What is no list is refused, whichever extensions it names. */
static void bad_lists(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           ",",          " ",           PD ";",  PD "; ;x",
        ";",          PD "; x=",    PD "; x=\"\"", PD " x", PD "; x=\"a b\"",
        PD "; x=\"a", PD "; =1",    PD "; x=,",    PD "=1", PD "; x=\"a\\\"",
        PD "; x=a=b", "\"" PD "\"", PD ",;",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (extensions_are_good(str_of(bad[i])))
            fail_msg("taken for good: %s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_offer),
        cmocka_unit_test(several_fields),
        cmocka_unit_test(bad_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
