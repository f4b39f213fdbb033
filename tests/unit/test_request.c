// floors: common net ws http
#include "worker/http/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MAX_BYTES 8192
#define MAX_FIELDS 20

static struct request_field fields[MAX_FIELDS];

/* Parses a copy with nothing behind it, so that ASan sees any look beyond. The views live
 * until the next call. */
static enum request_verdict parse(struct str text, size_t max, struct request *out,
                                  const char **why)
{
    static char *copy;
    free(copy); /* the last one stays for the views */
    copy = malloc(text.n ? text.n : 1);
    memcpy(copy, text.n ? text.p : "", text.n);
    *out = (struct request){.fields = fields, .fields_cap = MAX_FIELDS};
    return request_parse((struct str){copy, text.n}, max, out, why);
}

static const char *const good[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ws?a=b HTTP/1.1\r\nhost:a\r\n\r\n",
    "GET /ws?a={b}|c^d`e\\f\"<> HTTP/1.1\r\nHOST: \t a \t \r\n\r\n",
    "GET //x/../%zz?? HTTP/1.1\r\nHost: a\r\n\r\n",
    "M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n",
    "get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET HTTPS://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ws://[::1]:8000/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:8000\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:65535\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [2001:db8::192.0.2.1]:8000\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: xn--b-cher.example_1~!$&'()*+,;=\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a%20b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nEmpty:\r\nEmpty2: \t \r\nX:a b\tc\r\nY: "
    "\x80\xFF\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5,005\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , CHUNKED,\r\n\r\n",
};

static void test_good(void **state)
{
    (void)state;
    struct request r;
    const char *why;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct str text = str_of(good[i]);
        if (parse(text, MAX_BYTES, &r, &why) != REQUEST_OK)
            fail_msg("row %zu: %s", i, why);
        assert_null(why);
        assert_int_equal(r.size, text.n);
        assert_int_equal(parse(text, text.n, &r, &why), REQUEST_OK);
        for (size_t n = 0; n < text.n; n++) { /* in any chopping */
            assert_int_equal(parse((struct str){text.p, n}, MAX_BYTES, &r, &why),
                             REQUEST_MORE);
            assert_null(why);
        }
        bool in_line = true; /* over every limit */
        for (size_t max = 0; max < text.n; max++) {
            enum request_verdict v = parse(text, max, &r, &why);
            assert_true(v == REQUEST_TOO_LARGE || (in_line && v == REQUEST_URI_LONG));
            assert_non_null(why);
            in_line = v == REQUEST_URI_LONG;
        }
    }
}

static const struct {
    const char *text;
    enum request_verdict verdict;
    const char *why; /* must be in the sentence */
} refused[] = {
    {" GET / HTTP/1.1\r\n", REQUEST_BAD, "method"},
    {"\r\n\r\nGET / HTTP/1.1\r\n", REQUEST_BAD, "method"},
    {"\nGET / HTTP/1.1\r\n", REQUEST_BAD, "method"},
    {"\rGET", REQUEST_BAD, "CR"},
    {"GE\x01T / HTTP/1.1\r\n", REQUEST_BAD, "method"},
    {"G\x80T / HTTP/1.1\r\n", REQUEST_BAD, "method"},
    {"G(T / HTTP/1.1\r\n", REQUEST_BAD, "method"},
    {"GET\t/ HTTP/1.1\r\n", REQUEST_BAD, "method"},
    {"GET\r\n", REQUEST_BAD, "method"},
    {"\x16\x03\x01\x02\x00\x01", REQUEST_TLS, "TLS"},
    {"GET  / HTTP/1.1\r\n", REQUEST_BAD, "blank"},
    {"GET /\r\n", REQUEST_BAD, "no HTTP version"},
    {"GET /\n", REQUEST_BAD, "no HTTP version"},
    {"GET / \r\n", REQUEST_BAD, "version"},
    {"GET /  HTTP/1.1\r\n", REQUEST_BAD, "version"},
    {"GET /a b HTTP/1.1\r\n", REQUEST_BAD, "version"},
    {"GET /a\tb HTTP/1.1\r\n", REQUEST_BAD, "control"},
    {"GET /\x01 HTTP/1.1\r\n", REQUEST_BAD, "control"},
    {"GET /\x7F HTTP/1.1\r\n", REQUEST_BAD, "control"},
    {"GET /\xC3\xA9 HTTP/1.1\r\n", REQUEST_BAD, "non-ASCII"},
    {"GET /#x HTTP/1.1\r\n", REQUEST_BAD, "fragment"},
    {"GET / http/1.1\r\n", REQUEST_BAD, "version"},
    {"GET / HTTP/1.1 \r\n", REQUEST_BAD, "line should end"},
    {"GET / HTTP/1.10\r\n", REQUEST_BAD, "line should end"},
    {"GET / HTTP/11\r\n", REQUEST_BAD, "version"},
    {"GET / HTTP/1,1\r\n", REQUEST_BAD, "version"},
    {"GET / HTTP/1.x\r\n", REQUEST_BAD, "version"},
    {"GET / HTTP/x.1\r\n", REQUEST_BAD, "version"},
    {"GET / HTTPS/1.1\r\n", REQUEST_BAD, "version"},
    {"GET / ICY/1.1\r\n", REQUEST_BAD, "version"},
    {"GET / HTTP/1.1\n", REQUEST_BAD, "bare LF"},
    {"GET / HTTP/1.1\r\r\n", REQUEST_BAD, "CR"},
    {"GET / HTTP/1.1\rH", REQUEST_BAD, "CR"},
    {"GET / HTTP/2.0\r\n", REQUEST_VERSION, "HTTP/1.1"},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REQUEST_VERSION, "HTTP/1.1"},
    {"GET / HTTP/0.9\r\n", REQUEST_VERSION, "HTTP/1.1"},
    {"GET / HTTP/3.1\r\n", REQUEST_VERSION, "HTTP/1.1"},

#define LINE "GET / HTTP/1.1\r\n"
    {LINE "Host : a\r\n", REQUEST_BAD, "blank stands between"},
    {LINE "Host\t: a\r\n", REQUEST_BAD, "blank stands between"},
    {LINE " Host: a\r\n", REQUEST_BAD, "folded"},
    {LINE "Host: a\r\n b\r\n", REQUEST_BAD, "folded"},
    {LINE "Host: a\r\n\tb\r\n", REQUEST_BAD, "folded"},
    {LINE "Host: a\r\n \r\n", REQUEST_BAD, "folded"},
    {LINE ": a\r\n", REQUEST_BAD, "field name"},
    {LINE "Host\r\n", REQUEST_BAD, "colon"},
    {LINE "Host a\r\n", REQUEST_BAD, "blank"},
    {LINE "H(st: a\r\n", REQUEST_BAD, "not allowed"},
    {LINE "H\xC3\xB6st: a\r\n", REQUEST_BAD, "not allowed"},
    {LINE "Host: a\n", REQUEST_BAD, "bare LF"},
    {LINE "Host: a\rX", REQUEST_BAD, "CR"},
    {LINE "Host: a\r\r\n", REQUEST_BAD, "CR"},
    {LINE "Host: a\r\n\n", REQUEST_BAD, "field name"},
    {LINE "Host: a\r\n\rX", REQUEST_BAD, "CR"},
    {LINE "X: a\x01\r\n", REQUEST_BAD, "control"},
    {LINE "X: a\x7F\r\n", REQUEST_BAD, "control"},
    {LINE "X: a\v\r\n", REQUEST_BAD, "control"},

    {LINE "\r\n", REQUEST_BAD, "no Host"},
    {LINE "X: a\r\n\r\n", REQUEST_BAD, "no Host"},
    {LINE "Host: a\r\nHost: a\r\n\r\n", REQUEST_BAD, "more than one Host"},
    {LINE "Host: a\r\nhOST: b\r\n\r\n", REQUEST_BAD, "more than one Host"},
    {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", REQUEST_BAD, "more than one Host"},
    {"GET / HTTP/1.2\r\n\r\n", REQUEST_BAD, "no Host"},
    {LINE "Host:\r\n\r\n", REQUEST_BAD, "empty"},
    {LINE "Host: a b\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a/b\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a?b\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a#b\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: u@a\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: http://a\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a:b\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a:-1\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a:65536\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a:1:2\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: :80\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a%2\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a%g0\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a|b\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: a\\b\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: \xC3\xA9\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: [::1\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: [::1]x\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: [::g]\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: []\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: [\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: [1.2.3.4]\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: ::1\r\n\r\n", REQUEST_BAD, "Host field"},
    {LINE "Host: [0000:0000:0000:0000:0000:0000:255.255.255.2555]\r\n\r\n", REQUEST_BAD,
     "Host field"},
    {LINE "Host: [0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]\r\n\r\n",
     REQUEST_BAD, "Host field"},

#define HOST "Host: a\r\n"
    {"GET x HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "begin with '/'"},
    {"GET ?x HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "begin with '/'"},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "OPTIONS only"},
    {"GET a:80 HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "begin with '/'"},
    {"CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "CONNECT"},
    {"CONNECT / HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "CONNECT"},
    {"GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "begin with '/'"},
    {"GET http:/a HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "begin with '/'"},
    {"GET http: HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "begin with '/'"},
    {"GET http:// HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "valid host"},
    {"GET http:///x HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "valid host"},
    {"GET http://u:p@a/ HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "valid host"},
    {"GET http://a:99999/ HTTP/1.1\r\n" HOST "\r\n", REQUEST_BAD, "valid host"},
    {"GET http://a/ HTTP/1.1\r\n\r\n", REQUEST_BAD, "no Host"},

#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
    {POST "Content-Length:\r\n\r\n", REQUEST_BAD, "empty"},
    {POST "Content-Length: -1\r\n\r\n", REQUEST_BAD, "not a number"},
    {POST "Content-Length: +1\r\n\r\n", REQUEST_BAD, "not a number"},
    {POST "Content-Length: 0x1\r\n\r\n", REQUEST_BAD, "not a number"},
    {POST "Content-Length: 1 2\r\n\r\n", REQUEST_BAD, "not a number"},
    {POST "Content-Length: 9223372036854775808\r\n\r\n", REQUEST_BAD, "too large"},
    {POST "Content-Length: 99999999999999999999999\r\n\r\n", REQUEST_BAD, "too large"},
    {POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", REQUEST_BAD, "differ"},
    {POST "Content-Length: 1, 2\r\n\r\n", REQUEST_BAD, "differ"},
    {POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", REQUEST_BAD, "both"},
    {POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", REQUEST_BAD, "both"},
    {POST "Transfer-Encoding: gzip, chunked\r\n\r\n", REQUEST_BAD,
     "only Transfer-Encoding"},
    {POST "Transfer-Encoding: chunked, gzip\r\n\r\n", REQUEST_BAD,
     "only Transfer-Encoding"},
    {POST "Transfer-Encoding: identity\r\n\r\n", REQUEST_BAD, "only Transfer-Encoding"},
    {POST "Transfer-Encoding: chunked;q=1\r\n\r\n", REQUEST_BAD,
     "only Transfer-Encoding"},
    {POST "Transfer-Encoding: xchunked\r\n\r\n", REQUEST_BAD, "only Transfer-Encoding"},
    {POST "Transfer-Encoding: chunked, chunked\r\n\r\n", REQUEST_BAD, "once"},
    {POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", REQUEST_BAD,
     "once"},
    {POST "Transfer-Encoding:\r\n\r\n", REQUEST_BAD, "once"},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", REQUEST_BAD, "HTTP/1.0"},
};

static void test_refused(void **state)
{
    (void)state;
    struct request r;
    const char *why;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct str text = str_of(refused[i].text);
        enum request_verdict v = parse(text, MAX_BYTES, &r, &why);
        if (v != refused[i].verdict || !why || !strstr(why, refused[i].why))
            fail_msg("row %zu: %d, %s", i, v, why ? why : "no reason");
        assert_true(why[strlen(why) - 1] == '.');
        /* Chopped, it is refused no later and never otherwise. */
        bool decided = false;
        for (size_t n = 0; n <= text.n; n++) {
            v = parse((struct str){text.p, n}, MAX_BYTES, &r, &why);
            assert_true(v == refused[i].verdict || (!decided && v == REQUEST_MORE));
            decided = v != REQUEST_MORE;
        }
    }
    struct str nul[] = {STR("G\0T / HTTP/1.1\r\n"), STR("GET /\0 HTTP/1.1\r\n"),
                        STR(LINE "X\0: a\r\n"),     STR(LINE "X: a\0\r\n"),
                        STR(LINE "Host: a\r\n\0"),  STR("\0")};
    for (size_t i = 0; i < ARRAY_LEN(nul); i++)
        assert_int_equal(parse(nul[i], MAX_BYTES, &r, &why), REQUEST_BAD);
}

static void assert_str(struct str got, const char *want)
{
    if (!str_is(got, want))
        fail_msg("«" STR_FMT "», not «%s»", STR_ARG(got), want);
}

static void test_parts(void **state)
{
    (void)state;
    struct request r;
    const char *why;
    struct str text =
        STR("GET /ws/x?token=a&b HTTP/1.1\r\nHost: Example.com:8000\r\nX-One:  first \r\n"
            "x-one:second\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "
            "WebSocket\r\n\r\n\x81\x80");
    assert_int_equal(parse(text, MAX_BYTES, &r, &why), REQUEST_OK);
    assert_int_equal(r.size, text.n - 2);
    assert_str(r.method, "GET");
    assert_str(r.target, "/ws/x?token=a&b");
    assert_str(r.path, "/ws/x");
    assert_str(r.query, "token=a&b");
    assert_int_equal(r.minor, 1);
    assert_str(r.host, "Example.com:8000");
    assert_int_equal(r.fields_n, 5);
    assert_str(r.fields[2].name, "x-one");
    assert_str(r.fields[1].value, "first");
    assert_str(request_field(&r, "X-ONE"), "first");
    assert_null(request_field(&r, "absent").p);
    assert_int_equal(request_count(&r, "X-One"), 2);
    assert_int_equal(request_count(&r, "absent"), 0);
    assert_true(request_has_token(&r, "connection", "upgrade"));
    assert_true(request_has_token(&r, "Connection", "Keep-Alive"));
    assert_true(request_has_token(&r, "X-One", "SECOND"));
    assert_false(request_has_token(&r, "connection", "up"));
    assert_false(request_has_token(&r, "absent", "x"));
    assert_false(r.has_content_length || r.is_chunked);
    assert_true(r.keep_alive);
    /* parsing anew forgets the old */
    assert_int_equal(request_parse(STR("GET / HTTP/1.0\r\n\r\n"), MAX_BYTES, &r, &why),
                     REQUEST_OK);
    assert_int_equal(r.fields_n, 0);
    assert_null(r.host.p);
    assert_null(r.query.p);
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query, *host;
    } v[] = {
        {"/", "/", NULL, "a"},
        {"/?", "/", "", "a"},
        {"/ws?x?y=/", "/ws", "x?y=/", "a"},
        {"/%77s", "/%77s", NULL, "a"},
        {"//b/c", "//b/c", NULL, "a"},
        {"http://b", "/", NULL, "b"},
        {"http://b:80?q", "/", "q", "b:80"},
        {"https://b/c/d?e", "/c/d", "e", "b"},
        {"WS://[::1]:8000/x", "/x", NULL, "[::1]:8000"},
        {"wss://b/?http://c/", "/", "http://c/", "b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct request r;
        const char *why;
        char text[256];
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", v[i].target);
        assert_int_equal(parse(str_of(text), MAX_BYTES, &r, &why), REQUEST_OK);
        assert_str(r.path, v[i].path);
        assert_str(r.host, v[i].host);
        assert_int_equal(r.query.p == NULL, v[i].query == NULL);
        if (v[i].query)
            assert_str(r.query, v[i].query);
    }
}

static void test_persistence(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool keep_alive, is_chunked, has_length;
        uint64_t length;
    } v[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false, false, 0},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, false, false,
         0},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", false, false, false,
         0},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: "
         "close\r\n\r\n",
         false, false, false, 0},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true, false, false,
         0},
        {"GET / HTTP/1.0\r\n\r\n", false, false, false, 0},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false, false, 0},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, false, false,
         0},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n", true, false, true,
         12},
        {"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\n\r\n", true, false, true, 0},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", true, true,
         false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct request r;
        const char *why;
        assert_int_equal(parse(str_of(v[i].text), MAX_BYTES, &r, &why), REQUEST_OK);
        assert_int_equal(r.keep_alive, v[i].keep_alive);
        assert_int_equal(r.is_chunked, v[i].is_chunked);
        assert_int_equal(r.has_content_length, v[i].has_length);
        assert_int_equal(r.content_length, v[i].length);
    }
}

static void test_too_many_fields(void **state)
{
    (void)state;
    struct request r;
    const char *why;
    char text[1024] = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (size_t n = 1; n <= MAX_FIELDS + 1; n++) {
        char whole[1100];
        snprintf(whole, sizeof(whole), "%s\r\n", text);
        enum request_verdict v = parse(str_of(whole), MAX_BYTES, &r, &why);
        assert_int_equal(v, n <= MAX_FIELDS ? REQUEST_OK : REQUEST_TOO_LARGE);
        strcat(text, "X-Y: z\r\n");
    }
    assert_non_null(strstr(why, "too many"));
}

static void test_endless(void **state)
{
    (void)state;
    static const struct {
        const char *start;
        enum request_verdict verdict;
    } v[] = {
        {"", REQUEST_URI_LONG},
        {"GET /", REQUEST_URI_LONG},
        {"GET / HTTP/1.1\r\n", REQUEST_TOO_LARGE},
        {"GET / HTTP/1.1\r\nHost: a\r\nX:", REQUEST_TOO_LARGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct request r;
        const char *why;
        char text[2048];
        memset(text, 'x', sizeof(text));
        memcpy(text, v[i].start, strlen(v[i].start));
        assert_int_equal(parse((struct str){text, 1023}, 1024, &r, &why), REQUEST_MORE);
        assert_int_equal(parse((struct str){text, 1024}, 1024, &r, &why), v[i].verdict);
        assert_int_equal(parse((struct str){text, 2048}, 1024, &r, &why), v[i].verdict);
        assert_non_null(strstr(why, "too long"));
    }
}

static void test_decode(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; /* NULL: refused */
    } v[] = {
        {"", ""},
        {"abc", "abc"},
        {"a%20b", "a b"},
        {"%41%5a%5A", "AZZ"},
        {"%C3%a9", "\xC3\xA9"},
        {"a+b", "a+b"},
        {"%25", "%"},
        {"%", NULL},
        {"%4", NULL},
        {"a%", NULL},
        {"%g1", NULL},
        {"%1g", NULL},
        {"%00", NULL},
        {"a%00b", NULL},
        {"%%41", NULL},
        {"12345678", "12345678"},
        {"123456789", NULL},
        {"1234567%38", "12345678"},
        {"12345678%39", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        char out[8];
        size_t n = 99;
        bool ok = request_decode(str_of(v[i].in), out, sizeof(out), &n);
        assert_int_equal(ok, v[i].out != NULL);
        if (ok)
            assert_str((struct str){out, n}, v[i].out);
    }
    size_t n;
    char out[8];
    assert_false(request_decode(STR("a\0b"), out, sizeof(out), &n));
}

static void test_query(void **state)
{
    (void)state;
    static const struct {
        const char *query, *key, *value;
    } v[] = {
        {"token=abc", "token", "abc"},
        {"a=1&token=abc&b=2", "token", "abc"},
        {"token=a%2Fb%3D", "token", "a/b="},
        {"token=a=b", "token", "a=b"},
        {"token=a+b", "token", "a+b"},
        {"t%6Fken=x", "token", "x"},
        {"token", "token", ""},
        {"token=", "token", ""},
        {"&&token=x&", "token", "x"},
        {"token=x&token=y", "token", "x"},
        {"", "token", NULL},
        {"tokens=x", "token", NULL},
        {"toke=x", "token", NULL},
        {"xtoken=x", "token", NULL},
        {"Token=x", "token", NULL},
        {"a=token=x", "token", NULL},
        {"token=%zz", "token", NULL},
        {"token=%00", "token", NULL},
        {"tok%65%=x", "token", NULL},
        {"token%00=x", "token", NULL},
        {"token=12345678901234567", "token", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        char out[16];
        size_t n = 99;
        bool ok = request_query(str_of(v[i].query), v[i].key, out, sizeof(out), &n);
        if (ok != (v[i].value != NULL))
            fail_msg("%s", v[i].query);
        if (ok)
            assert_str((struct str){out, n}, v[i].value);
    }
    size_t n;
    assert_false(request_query(STR_NONE, "token", NULL, 0, &n));
}

static void test_lists(void **state)
{
    (void)state;
    struct request r;
    const char *why;
    static const char *const want[] = {"a", "b c", "d"};
    struct str text = STR("GET / HTTP/1.1\r\nHost: a\r\nL: , a,,\t b c ,\r\nL:\r\nM: "
                          "x\r\nl: ,d\r\nL: ,,\r\n\r\n");
    struct request_list at = {0};
    struct str element;
    size_t n = 0;
    assert_int_equal(parse(text, MAX_BYTES, &r, &why), REQUEST_OK);
    for (; request_next(&r, "L", &at, &element); n++)
        assert_str(element, want[n]);
    assert_int_equal(n, ARRAY_LEN(want));
    assert_true(request_is_token(STR("a-z.Z~|")));
    assert_false(request_is_token(STR("")));
    assert_false(request_is_token(STR("a b")));
    assert_false(request_is_token(STR("a\0")));
    assert_false(request_is_token(STR("a\x80")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_parts),       cmocka_unit_test(test_targets),
        cmocka_unit_test(test_persistence), cmocka_unit_test(test_too_many_fields),
        cmocka_unit_test(test_endless),     cmocka_unit_test(test_decode),
        cmocka_unit_test(test_query),       cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
