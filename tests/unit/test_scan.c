// floors: common
#include "common/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <ctype.h>

/* A text may hold NUL, so each vector carries its length. The copy has no byte behind it:
 * ASan sees any overrun. */
struct vector {
    struct str text;
    enum scan_type type;
};
#define V(text, type)                                                                    \
    {                                                                                    \
        STR(text), type                                                                  \
    }

static enum scan_type judge(struct str text)
{
    char *copy = malloc(text.n ? text.n : 1);
    memcpy(copy, text.p, text.n);
    enum scan_type type = scan_text((struct str){copy, text.n}, NULL, 0);
    free(copy);
    return type;
}

static void check(const struct vector *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum scan_type type = judge(v[i].text);
        if (type != v[i].type)
            fail_msg("%zu: «" STR_FMT "»: %d, not %d", i, STR_ARG(v[i].text), type,
                     v[i].type);
    }
}

static const struct vector values[] = {
    V("null", SCAN_NULL),
    V("true", SCAN_TRUE),
    V("false", SCAN_FALSE),
    V(" \t\r\n true \t\r\n ", SCAN_TRUE),
    V("[]", SCAN_ARRAY),
    V("[ ]", SCAN_ARRAY),
    V("[\n\r\t ]", SCAN_ARRAY),
    V("{}", SCAN_OBJECT),
    V("{ \n}", SCAN_OBJECT),
    V("[[],[[]],{},[{}]]", SCAN_ARRAY),
    V("[1,2 , 3 ,4]", SCAN_ARRAY),
    V("[null, 1, \"1\", {}]", SCAN_ARRAY),
    V("{\"a\":1}", SCAN_OBJECT),
    V("{ \"a\" : 1 , \"b\" : [ ] }", SCAN_OBJECT),
    V("{\"\":0}", SCAN_OBJECT),
    V("{\"a\":1,\"a\":2}", SCAN_OBJECT),
    V("{\"a\":{\"b\":{\"c\":[{\"d\":null}]}}}", SCAN_OBJECT),
    V("{\"a\\u0000b\":\"\\u0000\"}", SCAN_OBJECT),
    V("[false,true,null]", SCAN_ARRAY),
    V("[{},{\"a\":[]},[]]", SCAN_ARRAY),
};

static const struct vector numbers[] = {
    V("0", SCAN_NUMBER),
    V("-0", SCAN_NUMBER),
    V("-0.0", SCAN_NUMBER),
    V("1", SCAN_NUMBER),
    V("10", SCAN_NUMBER),
    V("-123", SCAN_NUMBER),
    V("0.1", SCAN_NUMBER),
    V("0e1", SCAN_NUMBER),
    V("0E0", SCAN_NUMBER),
    V("1e5", SCAN_NUMBER),
    V("1E+5", SCAN_NUMBER),
    V("1e-05", SCAN_NUMBER),
    V("123.456e78", SCAN_NUMBER),
    V("-1.5E-300", SCAN_NUMBER),
    V("1e400", SCAN_NUMBER),
    V("9007199254740993", SCAN_NUMBER),
    V("-0.000000000000000000000000000000000000000000000000000000000000000000000001",
      SCAN_NUMBER),
    V("[1]", SCAN_ARRAY),
    V("", SCAN_BAD),
    V("-", SCAN_BAD),
    V("+1", SCAN_BAD),
    V("01", SCAN_BAD),
    V("00", SCAN_BAD),
    V("-01", SCAN_BAD),
    V("-00", SCAN_BAD),
    V("--1", SCAN_BAD),
    V("+-1", SCAN_BAD),
    V("-+1", SCAN_BAD),
    V("- 1", SCAN_BAD),
    V("1.", SCAN_BAD),
    V(".1", SCAN_BAD),
    V("-.1", SCAN_BAD),
    V("1..2", SCAN_BAD),
    V("1.2.3", SCAN_BAD),
    V("1.e1", SCAN_BAD),
    V("1e", SCAN_BAD),
    V("1e+", SCAN_BAD),
    V("1e-", SCAN_BAD),
    V("1e+-1", SCAN_BAD),
    V("1ee1", SCAN_BAD),
    V("1e1.5", SCAN_BAD),
    V("1e1e1", SCAN_BAD),
    V("0e", SCAN_BAD),
    V("0x1", SCAN_BAD),
    V("0x", SCAN_BAD),
    V("1a", SCAN_BAD),
    V("1_000", SCAN_BAD),
    V("1 000", SCAN_BAD),
    V("1,000", SCAN_BAD),
    V("NaN", SCAN_BAD),
    V("-NaN", SCAN_BAD),
    V("nan", SCAN_BAD),
    V("Infinity", SCAN_BAD),
    V("-Infinity", SCAN_BAD),
    V("Inf", SCAN_BAD),
    V("1f", SCAN_BAD),
    V("\xEF\xBC\x91", SCAN_BAD), /* full-width digit */
    V("[1.]", SCAN_BAD),
    V("[-]", SCAN_BAD),
    V("[0 1]", SCAN_BAD),
    V("[-a]", SCAN_BAD),
    V("1\0", SCAN_BAD),
};

static const struct vector strings[] = {
    V("\"\"", SCAN_STRING),
    V("\"a\"", SCAN_STRING),
    V("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", SCAN_STRING),
    V("\"\\u0061\\u00E9\\uABCD\\uabcd\"", SCAN_STRING),
    V("\"\\uD83D\\uDE00\"", SCAN_STRING),
    V("\"\\ud800\"", SCAN_STRING), /* lone surrogates are legal */
    V("\"\\udc00\"", SCAN_STRING),
    V("\"\\ud800\\ud800\"", SCAN_STRING),
    V("\"\\udc00\\ud800\"", SCAN_STRING),
    V("\"\\ud800x\"", SCAN_STRING),
    V("\"\\u0000\"", SCAN_STRING),
    V("\"\\\\u0000\"", SCAN_STRING),
    V("\"/*comment*/\"", SCAN_STRING),
    V("\"\x7F\"", SCAN_STRING), /* DEL is no control character here */
    V("\"\xC2\x80\"", SCAN_STRING),
    V("\"\xE2\x80\xA8\xE2\x80\xA9\"", SCAN_STRING),
    V("\"\xEF\xBF\xBF\"", SCAN_STRING), /* non-characters are characters */
    V("\"\xF4\x8F\xBF\xBF\"", SCAN_STRING),
    V("\"\xEF\xBB\xBF\"", SCAN_STRING), /* U+FEFF inside is text */
    V("\"\xE6\xBC\xA2\xE5\xAD\x97 and \xD0\xBA\xD0\xB8\xD1\x80, long enough for "
      "vectors\"",
      SCAN_STRING),
    V("\"", SCAN_BAD),
    V("\"a", SCAN_BAD),
    V("a\"", SCAN_BAD),
    V("'a'", SCAN_BAD),
    V("a", SCAN_BAD),
    V("\"\"\"", SCAN_BAD),
    V("\"\" \"\"", SCAN_BAD),
    V("\"\\\"", SCAN_BAD),
    V("\"\\", SCAN_BAD),
    V("\"\\\\\\\"", SCAN_BAD),
    V("\"\\x00\"", SCAN_BAD),
    V("\"\\a\"", SCAN_BAD),
    V("\"\\v\"", SCAN_BAD),
    V("\"\\'\"", SCAN_BAD),
    V("\"\\0\"", SCAN_BAD),
    V("\"\\U0041\"", SCAN_BAD),
    V("\"\\ \"", SCAN_BAD),
    V("\"\\\n\"", SCAN_BAD),
    V("\"\\\0\"", SCAN_BAD),
    V("\"\\u\"", SCAN_BAD),
    V("\"\\u1\"", SCAN_BAD),
    V("\"\\u12\"", SCAN_BAD),
    V("\"\\u123\"", SCAN_BAD),
    V("\"\\u", SCAN_BAD),
    V("\"\\u123", SCAN_BAD),
    V("\"\\u1234", SCAN_BAD),
    V("\"\\u12G4\"", SCAN_BAD),
    V("\"\\u 123\"", SCAN_BAD),
    V("\"\\u-123\"", SCAN_BAD),
    V("\"\\u{41}\"", SCAN_BAD),
    V("\"\\uD83D\\u\"", SCAN_BAD),
    V("\"\\uD83D\\uDE0\"", SCAN_BAD),
    V("\"\n\"", SCAN_BAD),
    V("\"\t\"", SCAN_BAD),
    V("\"\0\"", SCAN_BAD),
    V("\"\x1F\"", SCAN_BAD),
    V("\"fifteen bytes..\x1F\"", SCAN_BAD),
    V("\"sixteen bytes...\x01sixteen bytes...\"", SCAN_BAD),
    V("\"\x80\"", SCAN_BAD), /* UTF-8: stray, cut, overlong, surrogate, too high */
    V("\"\xBF\"", SCAN_BAD),
    V("\"\xC0\xAF\"", SCAN_BAD),
    V("\"\xC1\xBF\"", SCAN_BAD),
    V("\"\xC3\"", SCAN_BAD),
    V("\"\xC3", SCAN_BAD),
    V("\"\xE0\x80\x80\"", SCAN_BAD),
    V("\"\xE0\x9F\xBF\"", SCAN_BAD),
    V("\"\xE2\x82\"", SCAN_BAD),
    V("\"\xE2\x82", SCAN_BAD),
    V("\"\xED\xA0\x80\"", SCAN_BAD),
    V("\"\xED\xBF\xBF\"", SCAN_BAD),
    V("\"\xF0\x80\x80\x80\"", SCAN_BAD),
    V("\"\xF0\x8F\xBF\xBF\"", SCAN_BAD),
    V("\"\xF0\x9F\x98\"", SCAN_BAD),
    V("\"\xF4\x90\x80\x80\"", SCAN_BAD),
    V("\"\xF5\x80\x80\x80\"", SCAN_BAD),
    V("\"\xFE\"", SCAN_BAD),
    V("\"\xFF\"", SCAN_BAD),
    V("\"\xE9\"", SCAN_BAD), /* Latin-1 */
    V("\"\\\xC3\xA9\"", SCAN_BAD),
    V("\"\\u\xC3\xA9"
      "12\"",
      SCAN_BAD),
};

static const struct vector broken[] = {
    V("", SCAN_BAD),
    V(" ", SCAN_BAD),
    V("\n", SCAN_BAD),
    V("\0", SCAN_BAD),
    V("\xEF\xBB\xBF{}", SCAN_BAD), /* BOM */
    V("\xEF\xBB\xBF", SCAN_BAD),
    V("\xFE\xFF\0{", SCAN_BAD),
    V("\f{}", SCAN_BAD), /* not white space */
    V("\v{}", SCAN_BAD),
    V("\xC2\xA0{}", SCAN_BAD),
    V("\xE2\x80\xA8{}", SCAN_BAD),
    V("[\f]", SCAN_BAD),
    V("[\xE2\x81\xA0]", SCAN_BAD),
    V("nul", SCAN_BAD),
    V("nulll", SCAN_BAD),
    V("Null", SCAN_BAD),
    V("NULL", SCAN_BAD),
    V("True", SCAN_BAD),
    V("TRUE", SCAN_BAD),
    V("tru", SCAN_BAD),
    V("truee", SCAN_BAD),
    V("fals", SCAN_BAD),
    V("undefined", SCAN_BAD),
    V("true false", SCAN_BAD),
    V("null,", SCAN_BAD),
    V("1]", SCAN_BAD),
    V("[", SCAN_BAD),
    V("]", SCAN_BAD),
    V("{", SCAN_BAD),
    V("}", SCAN_BAD),
    V("[[", SCAN_BAD),
    V("[]]", SCAN_BAD),
    V("{}}", SCAN_BAD),
    V("[}", SCAN_BAD),
    V("{]", SCAN_BAD),
    V("[[}]", SCAN_BAD),
    V("[{]}", SCAN_BAD),
    V("[1", SCAN_BAD),
    V("[1,", SCAN_BAD),
    V("[1,]", SCAN_BAD),
    V("[,1]", SCAN_BAD),
    V("[,]", SCAN_BAD),
    V("[1,,2]", SCAN_BAD),
    V("[1 2]", SCAN_BAD),
    V("[\"a\" \"b\"]", SCAN_BAD),
    V("[1:2]", SCAN_BAD),
    V("[\"a\":1]", SCAN_BAD),
    V("[a]", SCAN_BAD),
    V("[1]x", SCAN_BAD),
    V("[] []", SCAN_BAD),
    V("[]#", SCAN_BAD),
    V("[]\0", SCAN_BAD),
    V("{}\0", SCAN_BAD),
    V("{} {}", SCAN_BAD),
    V("{}//", SCAN_BAD),
    V("{}/**/", SCAN_BAD),
    V("/**/{}", SCAN_BAD),
    V("{/**/}", SCAN_BAD),
    V("[/*c*/1]", SCAN_BAD),
    V("{,}", SCAN_BAD),
    V("{\"a\"}", SCAN_BAD),
    V("{\"a\":}", SCAN_BAD),
    V("{\"a\":1,}", SCAN_BAD),
    V("{\"a\":1,,\"b\":2}", SCAN_BAD),
    V("{,\"a\":1}", SCAN_BAD),
    V("{\"a\":1 \"b\":2}", SCAN_BAD),
    V("{\"a\":1;\"b\":2}", SCAN_BAD),
    V("{\"a\" 1}", SCAN_BAD),
    V("{\"a\"::1}", SCAN_BAD),
    V("{\"a\",1}", SCAN_BAD),
    V("{:1}", SCAN_BAD),
    V("{a:1}", SCAN_BAD),
    V("{'a':1}", SCAN_BAD),
    V("{1:1}", SCAN_BAD),
    V("{null:1}", SCAN_BAD),
    V("{1}", SCAN_BAD),
    V("{null}", SCAN_BAD),
    V("{[]}", SCAN_BAD),
    V("{{}}", SCAN_BAD),
    V("{\"a\":1,2}", SCAN_BAD),
    V("{\"a\":1,[]}", SCAN_BAD),
    V("[{1}]", SCAN_BAD),
    V("[{\"a\":1,null}]", SCAN_BAD),
    V("{\"a\":1", SCAN_BAD),
    V("{\"a\":", SCAN_BAD),
    V("{\"a\"", SCAN_BAD),
    V("{\"a", SCAN_BAD),
    V("{\"a\":1]", SCAN_BAD),
    V("{\"a\":[1}", SCAN_BAD),
    V("{\"a\":{}", SCAN_BAD),
    V("{\"a\":1}}", SCAN_BAD),
    V("{\"a\":01}", SCAN_BAD),
    V("{\"a\":NaN}", SCAN_BAD),
    V("{\"a\":\"\n\"}", SCAN_BAD),
    V("{\"a\n\":1}", SCAN_BAD),
    V("{\"\xFF\":1}", SCAN_BAD),
    V("[{\"a\":1,}]", SCAN_BAD),
    V("[{\"a\"}]", SCAN_BAD),
    V("[{1:1}]", SCAN_BAD),
    V("[{\"a\":}]", SCAN_BAD),
    V("<html>", SCAN_BAD),
    V("*", SCAN_BAD),
    V("\\u0022a\"", SCAN_BAD),
    V("[\\n]", SCAN_BAD),
};

static void test_values(void **state)
{
    (void)state;
    check(values, ARRAY_LEN(values));
    check(numbers, ARRAY_LEN(numbers));
    check(strings, ARRAY_LEN(strings));
    check(broken, ARRAY_LEN(broken));
    assert_int_equal(scan_text(STR_NONE, NULL, 0), SCAN_BAD);
}

/* Every cut of a good text is bad (but for numbers, where it need not be), and so is
 * every one inside an array. */
static void test_every_cut(void **state)
{
    (void)state;
    static const struct vector *const tables[] = {values, strings};
    static const size_t sizes[] = {ARRAY_LEN(values), ARRAY_LEN(strings)};
    for (size_t t = 0; t < ARRAY_LEN(tables); t++)
        for (size_t i = 0; i < sizes[t]; i++) {
            struct buf b = {0};
            if (tables[t][i].type == SCAN_BAD)
                continue;
            buf_printf(&b, "[");
            buf_str(&b, tables[t][i].text);
            for (size_t n = 0; n <= b.n; n++)
                assert_int_equal(judge((struct str){b.p, n}), SCAN_BAD);
            buf_char(&b, ']');
            assert_int_equal(judge(buf_view(&b)), SCAN_ARRAY);
            buf_free(&b);
        }
}

/* The special bytes at every place of strings of every length up to several vectors. */
static void test_every_place(void **state)
{
    (void)state;
    char text[80];
    for (size_t n = 3; n < sizeof(text); n++)
        for (size_t at = 1; at < n - 1; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                memset(text, 'x', n);
                text[0] = text[n - 1] = '"';
                text[at] = (char)byte;
                bool good = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
                assert_int_equal(judge((struct str){text, n}),
                                 good ? SCAN_STRING : SCAN_BAD);
            }
}

static void test_utf8_all(void **state)
{
    (void)state;
    for (uint32_t ch = 0x80; ch <= 0x10FFFF; ch++) {
        char t[16] = "\"", *p = t + 1;
        if (ch < 0x800)
            p += sprintf(p, "%c%c", (int)(0xC0 | ch >> 6), (int)(0x80 | (ch & 63)));
        else if (ch < 0x10000)
            p += sprintf(p, "%c%c%c", (int)(0xE0 | ch >> 12),
                         (int)(0x80 | (ch >> 6 & 63)), (int)(0x80 | (ch & 63)));
        else
            p += sprintf(p, "%c%c%c%c", (int)(0xF0 | ch >> 18),
                         (int)(0x80 | (ch >> 12 & 63)), (int)(0x80 | (ch >> 6 & 63)),
                         (int)(0x80 | (ch & 63)));
        *p++ = '"';
        bool surrogate = ch >= 0xD800 && ch <= 0xDFFF;
        struct str text = {t, (size_t)(p - t)};
        assert_int_equal(scan_text(text, NULL, 0), surrogate ? SCAN_BAD : SCAN_STRING);
    }
}

/* A wrong byte in any string, name or value, long or short, makes the whole bad; an é is
 * good in any. */
static void test_utf8_anywhere(void **state)
{
    (void)state;
    char text[] =
        "{\"a first name and not short\":[\"x\",\"sixteen and some more bytes\","
        "{\"kk\":\"a b and then a long way to the end of this one\"}],\"zz\":\"yy\"}";
    size_t n = sizeof(text) - 1;
    assert_int_equal(judge((struct str){text, n}), SCAN_OBJECT);
    for (size_t at = 0; at + 1 < n; at++) {
        char was[2] = {text[at], text[at + 1]};
        bool inside =
            (isalpha(was[0]) || was[0] == ' ') && (isalpha(was[1]) || was[1] == ' ');
        text[at] = (char)0xE9;
        assert_int_equal(judge((struct str){text, n}), SCAN_BAD);
        text[at] = (char)0xC3;
        text[at + 1] = (char)0xA9;
        assert_int_equal(judge((struct str){text, n}), inside ? SCAN_OBJECT : SCAN_BAD);
        memcpy(text + at, was, 2);
    }
}

static void nest(struct buf *b, const char *open, const char *inner, const char *close,
                 int n)
{
    buf_clear(b);
    for (int i = 0; i < n; i++)
        buf_str(b, str_of(open));
    buf_str(b, str_of(inner));
    for (int i = 0; i < n; i++)
        buf_str(b, str_of(close));
}

static void test_depth(void **state)
{
    (void)state;
    static const struct {
        const char *open, *inner, *close;
        enum scan_type type;
    } kinds[] = {
        {"[", "", "]", SCAN_ARRAY},
        {"[", "1", "]", SCAN_ARRAY},
        {" [ ", "\"\"", " ] ", SCAN_ARRAY},
        {"{\"a\":", "1", "}", SCAN_OBJECT},
        {"{\"b\":[],\"a\":", "1", ",\"c\":{}}", SCAN_OBJECT},
        {"[[],{},", "null", "]", SCAN_ARRAY},
    };
    struct buf b = {0};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        int spare = i >= 4; /* these nest one deeper at the bottom */
        for (int n = 1; n <= SCAN_DEPTH + 3; n++) {
            nest(&b, kinds[i].open, kinds[i].inner, kinds[i].close, n);
            enum scan_type want = n <= SCAN_DEPTH - spare ? kinds[i].type : SCAN_BAD;
            assert_int_equal(judge(buf_view(&b)), want);
        }
    }
    nest(&b, "[", "", "", 1000000);
    assert_int_equal(judge(buf_view(&b)), SCAN_BAD);
    nest(&b, "[{\"a\":", "1", "}]",
         SCAN_DEPTH / 2); /* which bracket is which, at every depth */
    assert_int_equal(judge(buf_view(&b)), SCAN_ARRAY);
    for (size_t i = b.n - SCAN_DEPTH; i < b.n; i++) {
        b.p[i] ^= ']' ^ '}';
        assert_int_equal(judge(buf_view(&b)), SCAN_BAD);
        b.p[i] ^= ']' ^ '}';
    }
    buf_free(&b);
}

static void assert_str(struct str got, const char *want)
{
    if (!str_is(got, want))
        fail_msg("«" STR_FMT "», not «%s»", STR_ARG(got), want);
}

static void test_members(void **state)
{
    (void)state;
    struct str text = STR(" { \"x\" : [ {\"event\":\"inner\"} ], \"event\" : \"a\\\"b\" "
                          ",\"data\": { \"event\" : 1 } , "
                          "\"\\u0069d\":-1.50e2,\"event \":3, \"n\" : null } \n");
    struct scan_member m[] = {{"event"}, {"data"}, {"id"}, {"n"}, {"absent"}, {"x"}};
    for (int way = 0; way < 2; way++) {
        enum scan_type t =
            way ? scan_object(text, m, ARRAY_LEN(m)) : scan_text(text, m, ARRAY_LEN(m));
        assert_int_equal(t, SCAN_OBJECT);
        assert_str(m[0].value.raw, "\"a\\\"b\"");
        assert_int_equal(m[0].value.type, SCAN_STRING);
        assert_false(m[0].value.plain);
        assert_int_equal(m[0].seen, 1);
        assert_str(m[1].value.raw, "{ \"event\" : 1 }");
        assert_int_equal(m[1].value.type, SCAN_OBJECT);
        assert_str(m[2].value.raw, "-1.50e2");
        assert_int_equal(m[2].value.type, SCAN_NUMBER);
        assert_int_equal(m[3].value.type, SCAN_NULL);
        assert_int_equal(m[4].value.type, SCAN_BAD);
        assert_int_equal(m[4].seen, 0);
        assert_null(m[4].value.raw.p);
        assert_str(m[5].value.raw, "[ {\"event\":\"inner\"} ]");
    }
}

static void test_duplicates(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        unsigned seen;
        const char *raw; /* NULL: absent */
    } v[] = {
        {STR("{\"a\":1,\"a\":2}"), 2, "2"},
        {STR("{\"a\":1,\"\\u0061\":\"x\"}"), 2, "\"x\""},
        {STR("{\"\\u0061\":[],\"a\":{},\"\\u0061\":3}"), 3, "3"},
        {STR("{\"A\":1}"), 0, NULL},
        {STR("{\"a\\u0000\":1}"), 0, NULL},
        {STR("{\"\":1,\"aa\":2,\" a\":3}"), 0, NULL},
        {STR("{}"), 0, NULL},
        {STR("[{\"a\":1}]"), 0, NULL},
        {STR("\"a\""), 0, NULL},
        {STR("{\"a\":1,}"), 0, NULL}, /* not JSON: nothing is shown */
        {STR("{\"a\":1} x"), 0, NULL},
        {STR("{\"b\":{\"a\":1}}"), 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct scan_member m = {"a", {SCAN_TRUE, STR("old"), true}, 7};
        scan_text(v[i].text, &m, 1);
        assert_int_equal(m.seen, v[i].seen);
        assert_int_equal(m.value.type == SCAN_BAD, v[i].raw == NULL);
        if (v[i].raw)
            assert_str(m.value.raw, v[i].raw);
    }
}

static void test_value_of(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_int_equal(scan_value_of(values[i].text).type, values[i].type);
    struct scan_value v = scan_value_of(STR(" \"a\" "));
    assert_str(v.raw, "\"a\"");
    assert_true(v.plain);
    v = scan_value_of(STR("\"\\\\\" "));
    assert_str(v.raw, "\"\\\\\"");
    assert_false(v.plain);
    assert_int_equal(scan_value_of(STR("")).type, SCAN_BAD);
    assert_int_equal(scan_value_of(STR_NONE).type, SCAN_BAD);
}

static void test_next(void **state)
{
    (void)state;
    static const char *const want[] = {"1",    "\"]\\\"[\"", "[2,[3]]", "{\"a\":[\"}\"]}",
                                       "null", "-0.5"};
    struct str array = STR("[ 1 ,\"]\\\"[\",[2,[3]] , {\"a\":[\"}\"]},null, -0.5 ]");
    struct scan_value v;
    size_t pos = 0, n = 0;
    for (; scan_next(array, &pos, &v); n++)
        assert_str(v.raw, want[n]);
    assert_int_equal(n, ARRAY_LEN(want));
    assert_false(scan_next(array, &pos, &v));
    static const struct str none[] = {STR("[]"), STR("[ ]"), STR("{}"),
                                      STR("1"),  STR(""),    STR("{\"a\":1}")};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        pos = 0;
        assert_false(scan_next(none[i], &pos, &v));
        assert_false(scan_next(none[i], &pos, &v));
    }
}

static void test_next_member(void **state)
{
    (void)state;
    struct str object = STR("{ \"a\" : 1,\"b\\n\":{\"x\":\"}\\\\\"} , \"\":[ ] }");
    static const char *const names[] = {"\"a\"", "\"b\\n\"", "\"\""};
    static const char *const wants[] = {"1", "{\"x\":\"}\\\\\"}", "[ ]"};
    struct scan_value name, v;
    size_t pos = 0, n = 0;
    for (; scan_next_member(object, &pos, &name, &v); n++) {
        assert_str(name.raw, names[n]);
        assert_str(v.raw, wants[n]);
    }
    assert_int_equal(n, 3);
    pos = 0;
    assert_false(scan_next_member(STR("{}"), &pos, &name, &v));
    pos = 0;
    assert_false(scan_next_member(STR("[\"a\",1]"), &pos, &name, &v));
}

static void test_string(void **state)
{
    (void)state;
    static const struct {
        struct str json, text;
    } v[] = {
        {STR("\"\""), STR("")},
        {STR("\"plain\""), STR("plain")},
        {STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), STR("\"\\/\b\f\n\r\t")},
        {STR("\"\\u0068eartbeat\""), STR("heartbeat")},
        {STR("\"\\u0000\""), STR("\0")},
        {STR("\"\\u007f\\u0080\\u07FF\\u0800\\uffff\""),
         STR("\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF")},
        {STR("\"\\uD83D\\uDE00\""), STR("\xF0\x9F\x98\x80")},
        {STR("\"\\uD800\\uDC00\\udbff\\udfff\""),
         STR("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF")},
        {STR("\"\\ud800\""), STR("\xEF\xBF\xBD")},
        {STR("\"\\udc00\\ud800\""), STR("\xEF\xBF\xBD\xEF\xBF\xBD")},
        {STR("\"\\ud83d\\ud83d\\ude00\""), STR("\xEF\xBF\xBD\xF0\x9F\x98\x80")},
        {STR("\"\\ud83d\\n\\u0041x\""), STR("\xEF\xBF\xBD\nAx")},
        {STR("\"\\ud83dzudc00\""), STR("\xEF\xBF\xBDzudc00")},
        {STR("\"\\ud83d\\ndc00x\""), STR("\xEF\xBF\xBD\ndc00x")},
        {STR("\"\\ud83d\\u0041\""), STR("\xEF\xBF\xBD"
                                        "A")},
        {STR("\"\xC3\xA9\\u00e9\xC3\xA9\""), STR("\xC3\xA9\xC3\xA9\xC3\xA9")},
        {STR("\"\\\\u0041\""), STR("\\u0041")},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct buf scratch = {0};
        assert_int_equal(judge(v[i].json), SCAN_STRING);
        struct scan_value value = scan_value_of(v[i].json);
        struct str text = scan_string(&value, &scratch);
        assert_int_equal(text.n, v[i].text.n);
        assert_memory_equal(text.p, v[i].text.p, text.n);
        if (!memchr(v[i].text.p, 0, v[i].text.n))
            assert_true(scan_string_is(&value, v[i].text.p));
        assert_false(scan_string_is(&value, "something else"));
        buf_free(&scratch);
    }
}

static void test_string_is(void **state)
{
    (void)state;
    static const struct {
        struct str json;
        const char *text;
        bool is;
    } v[] = {
        {STR("\"a\""), "a", true},
        {STR("\"a\""), "ab", false},
        {STR("\"ab\""), "a", false},
        {STR("\"\\u0061\""), "ab", false},
        {STR("\"\\u0061b\""), "a", false},
        {STR("\"\\u00e9\""), "\xC3", false},
        {STR("\"\\u0061\""), "b", false},
        {STR("\"a\\u0062c\""), "abd", false},
        {STR("\"\\u00e9\""), "\xC3\xA9", true},
        {STR("\"\\u0000\""), "", false},
        {STR("\"a\\u0000\""), "a", false},
        {STR("\"\""), "", true},
        {STR("1"), "1", false},
        {STR("null"), "", false},
        {STR("[]"), "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct scan_value value = scan_value_of(v[i].json);
        assert_int_equal(scan_string_is(&value, v[i].text), v[i].is);
    }
    struct scan_value bad = {.type = SCAN_BAD};
    struct buf scratch = {0};
    assert_false(scan_string_is(&bad, ""));
    assert_int_equal(scan_string(&bad, &scratch).n, 0);
}

static void test_utf16(void **state)
{
    (void)state;
    assert_int_equal(scan_utf16_length(STR("")), 0);
    assert_int_equal(scan_utf16_length(STR_NONE), 0);
    assert_int_equal(scan_utf16_length(STR("abc")), 3);
    assert_int_equal(scan_utf16_length(STR("\xC3\xA9\xE2\x82\xAC")), 2);
    assert_int_equal(scan_utf16_length(STR("\xF0\x9F\x98\x80x")), 3);
}

static void test_truthy(void **state)
{
    (void)state;
    static const char *const truthy[] = {
        "true", "1",  "-1",    "0.1",    "\"0\"",     "\" \"",  "\"\\u0000\"",
        "[]",   "{}", "1e400", "5e-324", "0.0000001", "1e-300", "10e-2"};
    static const char *const falsy[] = {
        "false",           "null", "0",     "-0",   "0.0",
        "-0.00",           "0e5",  "0E400", "\"\"", "1e-400",
        "-1e-999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(truthy); i++) {
        struct scan_value v = scan_value_of(str_of(truthy[i]));
        if (!scan_is_truthy(&v))
            fail_msg("%s", truthy[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(falsy); i++) {
        struct scan_value v = scan_value_of(str_of(falsy[i]));
        if (scan_is_truthy(&v))
            fail_msg("%s", falsy[i]);
    }
    struct scan_value bad = {.type = SCAN_BAD};
    assert_false(scan_is_truthy(&bad));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_place),   cmocka_unit_test(test_utf8_all),
        cmocka_unit_test(test_utf8_anywhere), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_members),       cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_value_of),      cmocka_unit_test(test_next),
        cmocka_unit_test(test_next_member),   cmocka_unit_test(test_string),
        cmocka_unit_test(test_string_is),     cmocka_unit_test(test_utf16),
        cmocka_unit_test(test_truthy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
