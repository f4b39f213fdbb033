// floors: common net ws http
#include "worker/http/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct request_field fields[200];
static char head[16384];

/* Reads a head; the views stay until the next call. */
static struct request request_of(const char *fmt, const char *a, const char *b)
{
    struct request r = {.fields = fields, .fields_cap = ARRAY_LEN(fields)};
    const char *why;
    snprintf(head, sizeof(head), fmt, a, b);
    if (request_parse(str_of(head), sizeof(head), &r, &why) != REQUEST_OK)
        fail_msg("%s: %s", head, why ? why : "incomplete");
    return r;
}

#define LINE "GET /ws HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define GOOD LINE HOST UPGRADE CONNECTION KEY VERSION
#define PROTOCOL "Sec-WebSocket-Protocol: "
#define EXTENSIONS "Sec-WebSocket-Extensions: "

static const struct {
    const char *head;
    unsigned status; /* 0: accepted */
    const char *message;
} checks[] = {
    {GOOD, 0, NULL},
    {"GET /ws HTTP/1.2\r\n" HOST UPGRADE CONNECTION KEY VERSION, 0, NULL},
    {"GET http://a/ws HTTP/1.1\r\n" HOST UPGRADE CONNECTION KEY VERSION, 0, NULL},
    {LINE HOST "UPGRADE: WebSocket\r\nCONNECTION: keep-alive, uPGRADE\r\n" KEY VERSION, 0,
     NULL},
    {LINE HOST "Upgrade: h2c, WEBSOCKET\r\n" CONNECTION KEY VERSION, 0, NULL},
    {LINE HOST "Connection: keep-alive\r\n" UPGRADE CONNECTION KEY VERSION, 0, NULL},
    {GOOD "Origin: http://x\r\nCookie: a=b\r\nX-Unknown: y\r\n", 0, NULL},
    {GOOD "Content-Length: 0\r\n", 0, NULL},
    {GOOD "Origin: http://x\r\nOrigin: http://x\r\n", 400, "more than one Origin"},

    {"POST /ws HTTP/1.1\r\n" HOST UPGRADE CONNECTION KEY VERSION, 405,
     "the method is POST, not GET."},
    {"get /ws HTTP/1.1\r\n" HOST UPGRADE CONNECTION KEY VERSION, 405,
     "the method is get"},
    {"HEAD /ws HTTP/1.1\r\n" HOST, 405, "HEAD"},
    {"GET /ws HTTP/1.0\r\n" HOST UPGRADE CONNECTION KEY VERSION, 505, "HTTP/1.0"},
    {LINE HOST, 426, "does not ask for an upgrade"},
    {LINE HOST CONNECTION KEY VERSION, 426, "does not ask"},
    {LINE HOST "Upgrade: websockets\r\n" CONNECTION KEY VERSION, 426, "does not ask"},
    {LINE HOST "Upgrade: websocket/13\r\n" CONNECTION KEY VERSION, 426, "does not ask"},
    {LINE HOST "Upgrade: h2c\r\n" CONNECTION KEY VERSION, 426, "does not ask"},
    {LINE HOST "Upgrade:\r\n" CONNECTION KEY VERSION, 426, "does not ask"},
    {LINE HOST UPGRADE KEY VERSION, 400, "Connection header"},
    {LINE HOST UPGRADE "Connection: keep-alive\r\n" KEY VERSION, 400,
     "Connection header"},
    {LINE HOST UPGRADE "Connection: Upgrades\r\n" KEY VERSION, 400, "Connection header"},
    {GOOD "Content-Length: 5\r\n", 400, "body"},
    {GOOD "Transfer-Encoding: chunked\r\n", 400, "body"},

    {LINE HOST UPGRADE CONNECTION KEY, 426, "Version header is missing"},
    {LINE HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version:\r\n", 426,
     "Version is \"\""},
    {LINE HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 8\r\n", 426,
     "Version is \"8\""},
    {LINE HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 013\r\n", 426,
     "Version is \"013\""},
    {LINE HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 13, 8\r\n", 426,
     "Version is \"13, 8\""},
    {LINE HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: \xC3\xA9\r\n", 426,
     "Version is \"??\""},
    {GOOD VERSION, 400, "more than one Sec-WebSocket-Version"},
    {GOOD "Sec-WebSocket-Version: 8\r\n", 400, "more than one Sec-WebSocket-Version"},

#define BAD_KEY(key)                                                                     \
    {                                                                                    \
        LINE HOST UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: " key "\r\n", 400,      \
            "not 16 bytes"                                                               \
    }
    {LINE HOST UPGRADE CONNECTION VERSION, 400, "Key header is missing"},
    {GOOD KEY, 400, "more than one Sec-WebSocket-Key"},
    BAD_KEY(""),
    BAD_KEY("dGhlIHNhbXBsZSBub25jZQ="),
    BAD_KEY("dGhlIHNhbXBsZSBub25jZQ"),
    BAD_KEY("dGhlIHNhbXBsZSBub25jZQ==="),
    BAD_KEY("dGhlIHNhbXBsZSBub25jZQAA"),
    BAD_KEY("dGhlIHNhbXBsZSBub25jZQA="),
    BAD_KEY("dGhlIHNhbXBsZSBub25j"),
    BAD_KEY("dGhlIHNhbXBsZSBub25jZSBub25jZQ=="),
    BAD_KEY("dGhlIHNhbXBsZSBub25j-Q=="),
    BAD_KEY("dGhlIHNhbXBsZSBub25j_Q=="),
    BAD_KEY("dGhlIHNhbXBsZSBub25=ZQ=="),
    BAD_KEY("dGhlIHNhbXBs ZSBub25jZQ="),
    BAD_KEY("====================dGhl"),
    {LINE HOST UPGRADE CONNECTION VERSION
     "Sec-WebSocket-Key: \t dGhlIHNhbXBsZSBub25jZQ== \r\n",
     0, NULL},
    {LINE HOST UPGRADE CONNECTION VERSION
     "Sec-WebSocket-Key: ++++++++++//////////AA==\r\n",
     0, NULL},

    {GOOD PROTOCOL "chat\r\n", 0, NULL},
    {GOOD PROTOCOL "chat, superchat ,x.y+z!\r\n", 0, NULL},
    {GOOD PROTOCOL "chat\r\n" PROTOCOL "Chat\r\n", 0, NULL},
    {GOOD PROTOCOL ",chat,,\r\n", 0, NULL},
    {GOOD PROTOCOL "\r\n", 400, "list is empty"},
    {GOOD PROTOCOL ", ,\r\n", 400, "list is empty"},
    {GOOD PROTOCOL "chat, chat\r\n", 400, "twice"},
    {GOOD PROTOCOL "chat\r\n" PROTOCOL "x,chat\r\n", 400, "twice"},
    {GOOD PROTOCOL "a b\r\n", 400, "not a token"},
    {GOOD PROTOCOL "a;b\r\n", 400, "not a token"},
    {GOOD PROTOCOL "a/b\r\n", 400, "not a token"},
    {GOOD PROTOCOL "\"a\"\r\n", 400, "not a token"},
    {GOOD PROTOCOL "a, b=c\r\n", 400, "not a token"},
    {GOOD PROTOCOL "\xC3\xA9\r\n", 400, "not a token"},
    {GOOD PROTOCOL "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D,E,F,G,H,"
                   "I,J,K,L,M,N,O,P,Q,R,S,T,U,V,"
                   "W,X,Y,Z,0,1,2,3,4,5,6,7,8,9,!,#\r\n",
     0, NULL},
    {GOOD PROTOCOL "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D,E,F,G,H,"
                   "I,J,K,L,M,N,O,P,Q,R,S,T,U,V,"
                   "W,X,Y,Z,0,1,2,3,4,5,6,7,8,9,!,#,$\r\n",
     400, "more than 64"},

    {GOOD EXTENSIONS "permessage-deflate\r\n", 0, NULL},
    {GOOD EXTENSIONS "permessage-deflate; client_max_window_bits\r\n", 0, NULL},
    {GOOD EXTENSIONS "permessage-deflate;server_max_window_bits=10 ; "
                     "client_max_window_bits = \"15\", x\r\n",
     0, NULL},
    {GOOD EXTENSIONS "a\r\n" EXTENSIONS "b; c=\"\\d\\e\"\r\n", 0, NULL},
    {GOOD EXTENSIONS ",a,, b ,\r\n", 0, NULL},
#define BAD_EXTENSION(value)                                                             \
    {                                                                                    \
        GOOD EXTENSIONS value "\r\n", 400, "Extensions header"                           \
    }
    BAD_EXTENSION(""),
    BAD_EXTENSION(","),
    BAD_EXTENSION(";"),
    BAD_EXTENSION("a;"),
    BAD_EXTENSION("a;;b"),
    BAD_EXTENSION("a;b="),
    BAD_EXTENSION("a;b=,c"),
    BAD_EXTENSION("a;=b"),
    BAD_EXTENSION("a=b"),
    BAD_EXTENSION("a b"),
    BAD_EXTENSION("a;b c"),
    BAD_EXTENSION("a;b=\"c"),
    BAD_EXTENSION("a;b=\""),
    BAD_EXTENSION("a;b=\"\""),
    BAD_EXTENSION("a;b=\"c d\""),
    BAD_EXTENSION("a;b=\"c\"d"),
    BAD_EXTENSION("a;b=\"c,d\""),
    BAD_EXTENSION("a;b=\"\\"),
    BAD_EXTENSION("a;b=\",c"),
    BAD_EXTENSION("a;b=\";c"),
    BAD_EXTENSION("a;b=\"\\\"\""),
    BAD_EXTENSION("\"a\""),
    BAD_EXTENSION("a/b"),
    BAD_EXTENSION("\xC3\xA9"),
    {GOOD EXTENSIONS "a\r\n" EXTENSIONS "a;\r\n", 400, "Extensions header"},
};

static void check_refusal(const struct refusal *why, size_t row)
{
    static const char prefix[] = "WebSocket upgrade failed: ";
    size_t n = strlen(why->message), hint = strlen(why->hint);
    bool good = n > 30 && n < 255 && why->message[n - 1] == '.';
    good = good && hint > 10 && hint < 255 && why->hint[hint - 1] == '.';
    good = good &&
           (why->status == 403 || strncmp(why->message, prefix, sizeof(prefix) - 1) == 0);
    if (!good)
        fail_msg("row %zu: %s | %s", row, why->message, why->hint);
    for (const char *p = why->message; *p; p++)
        assert_in_range(*p, ' ', '~');
}

static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        struct refusal why = {0};
        struct request r = request_of("%s%s\r\n", checks[i].head, "");
        bool ok = upgrade_check(&r, &why);
        if (ok != (checks[i].status == 0) || why.status != checks[i].status)
            fail_msg("row %zu: %u %s", i, why.status, why.message);
        if (ok)
            continue;
        if (!strstr(why.message, checks[i].message))
            fail_msg("row %zu: %s", i, why.message);
        check_refusal(&why, i);
        assert_string_equal(why.error, why.status == 405   ? "method-not-allowed"
                                       : why.status == 426 ? "upgrade-required"
                                       : why.status == 505 ? "http-version"
                                                           : "bad-handshake");
    }
}

static void test_asked(void **state)
{
    (void)state;
    struct request r = request_of(LINE HOST "%s%s\r\n", "Upgrade: x, WebSocket\r\n", "");
    assert_true(upgrade_is_asked(&r));
    r = request_of(LINE HOST "%s%s\r\n", "Upgrade: h2c\r\n", "");
    assert_false(upgrade_is_asked(&r));
    r = request_of(LINE HOST "%s%s\r\n", "", "");
    assert_false(upgrade_is_asked(&r));
}

static void test_accept(void **state)
{
    (void)state;
    static const char *const v[][2] = {
        {"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, /* RFC 6455 §1.3 */
        {"AQIDBAUGBwgJCgsMDQ4PEA==",
         "C/0nmHhBztSRGR1CwL6Tf4ZjwpY="}, /* computed with Python's hashlib */
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        char out[29];
        upgrade_accept(str_of(v[i][0]), out);
        assert_string_equal(out, v[i][1]);
    }
}

static void test_answer(void **state)
{
    (void)state;
    static const struct {
        const char *offer, *selected;
    } v[] = {
        {"", NULL},
        {PROTOCOL "chat\r\n", "chat"},
        {PROTOCOL "a, b\r\n", "a"},
        {PROTOCOL "token.abc\r\n", "token.abc"},
        {PROTOCOL "token.abc, chat\r\n", "chat"},
        {PROTOCOL "token.abc\r\n" PROTOCOL "token.d,v2\r\n", "v2"},
        {PROTOCOL "token.a, token.b\r\n", "token.a"},
        {PROTOCOL "token\r\n", "token"},
        {PROTOCOL "tokens.a\r\n", "tokens.a"},
    };
    static const char start[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "
                                "websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        char want[512];
        struct buf out = {0};
        struct request r = request_of(GOOD "%s%s\r\n", v[i].offer, "");
        snprintf(want, sizeof(want), "%s%s%s%s\r\n", start, v[i].selected ? PROTOCOL : "",
                 v[i].selected ? v[i].selected : "", v[i].selected ? "\r\n" : "");
        upgrade_answer(&r, NULL, &out);
        assert_string_equal(buf_cstr(&out), want);
        buf_free(&out);
    }
}

static const struct {
    const char *host, *origin, *allowed; /* one rule */
    bool ok;
} origins[] = {
    {"a", "https://example.com", "https://example.com", true},
    {"a", "HTTPS://Example.COM", "https://example.com", true},
    {"a", "https://example.com", "HTTPS://EXAMPLE.com", true},
    {"a", "https://example.com:443", "https://example.com", true},
    {"a", "https://example.com", "https://example.com:443", true},
    {"a", "http://example.com:80", "http://example.com", true},
    {"a", "http://[::1]:8080", "http://[::1]:8080", true},
    {"a", "chrome-extension://abcdef", "chrome-extension://abcdef", true},
    {"a", "http://example.com", "https://example.com", false},
    {"a", "https://example.com", "http://example.com", false},
    {"a", "https://example.com:444", "https://example.com", false},
    {"a", "https://example.com:80", "https://example.com", false},
    {"a", "https://example.com", "https://example.com:444", false},
    {"a", "https://example.com.evil.org", "https://example.com", false},
    {"a", "https://evilexample.com", "https://example.com", false},
    {"a", "https://www.example.com", "https://example.com", false},
    {"a", "https://example.co", "https://example.com", false},
    {"a", "https://example.com.", "https://example.com", false},
    {"a", "https://example.com/", "https://example.com", false},
    {"a", "https://example.com/x", "https://example.com", false},
    {"a", "https://example.com@evil.org", "https://example.com", false},
    {"a", "https://evil.org#https://example.com", "https://example.com", false},
    {"a", "https://example.com https://evil.org", "https://example.com", false},
    {"a", "https:example.com", "https://example.com", false},
    {"a", "//example.com", "https://example.com", false},
    {"a", "example.com", "https://example.com", false},
    {"a", "example.com", "example.com", false},
    {"a", "", "https://example.com", false},

    {"a", "https://www.example.com", "https://*.example.com", true},
    {"a", "https://a.b.c.example.com", "https://*.example.com", true},
    {"a", "https://WWW.Example.com", "https://*.EXAMPLE.com", true},
    {"a", "https://www.example.com:443", "https://*.example.com", true},
    {"a", "https://www.example.com:8443", "https://*.example.com:8443", true},
    {"a", "https://example.com", "https://*.example.com", false},
    {"a", "https://.example.com", "https://*.example.com", false},
    {"a", "https://a..example.com", "https://*.example.com", false},
    {"a", "https://.a.example.com", "https://*.example.com", false},
    {"a", "https://a..b.example.com", "https://*.example.com", false},
    {"a", "https://wwwexample.com", "https://*.example.com", false},
    {"a", "https://www.example.com.evil.org", "https://*.example.com", false},
    {"a", "https://www.example.com:8443", "https://*.example.com", false},
    {"a", "http://www.example.com", "https://*.example.com", false},
    {"a", "https://evil.org/.example.com", "https://*.example.com", false},
    {"a", "https://evil.org?.example.com", "https://*.example.com", false},
    {"a", "https://*.example.com", "https://www.example.com",
     false}, /* a pattern is not an origin */

    {"example.com", "https://example.com", "same", true},
    {"example.com", "http://example.com", "same", true},
    {"Example.com", "http://eXample.com", "same", true},
    {"example.com:443", "https://example.com", "same", true},
    {"example.com:80", "http://example.com", "same", true},
    {"example.com", "https://example.com:443", "same", true},
    {"127.0.0.1:8000", "http://127.0.0.1:8000", "same", true},
    {"[::1]:8000", "http://[::1]:8000", "same", true},
    {"example.com:", "https://example.com", "same", true},
    {"example.com:443", "http://example.com", "same", false},
    {"example.com:80", "https://example.com", "same", false},
    {"example.com:8000", "http://example.com", "same", false},
    {"example.com", "http://example.com:8000", "same", false},
    {"example.com", "http://www.example.com", "same", false},
    {"example.com", "null", "same", false},
    {"null", "null", "same", false},
    {"same", "same", "same", false},

    {"a", "null", "*", true},
    {"a", "null", "null", false},
    {"a", "https://example.com", "*", true},
    {"a", "anything at all", "*", true},
    {"a", "https://example.com", "https://*", false},
    {"a", "https://example.com", "", false},
};

static void test_origins(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(origins); i++) {
        struct refusal why = {0};
        struct str allowed = str_of(origins[i].allowed);
        struct request r = request_of(LINE "Host: %s\r\nOrigin: %s\r\n\r\n",
                                      origins[i].host, origins[i].origin);
        if (upgrade_origin_ok(&r, &allowed, 1, true, &why) != origins[i].ok)
            fail_msg("row %zu: %s against %s", i, origins[i].origin, origins[i].allowed);
        if (origins[i].ok)
            continue;
        assert_int_equal(why.status, 403);
        assert_string_equal(why.error, "origin-not-allowed");
        assert_non_null(strstr(why.message, origins[i].origin));
        check_refusal(&why, i);
    }
}

static void test_origin_lists(void **state)
{
    (void)state;
    struct refusal why = {0};
    const struct str list[] = {STR("https://a.com"), STR("same"), STR("https://*.b.com")};
    static const struct {
        const char *origin;
        bool ok;
    } v[] = {{"https://a.com", true},
             {"http://h", true},
             {"https://x.b.com", true},
             {"https://b.com", false}};
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct request r =
            request_of(LINE "Host: h\r\nOrigin: %s%s\r\n\r\n", v[i].origin, "");
        assert_int_equal(upgrade_origin_ok(&r, list, ARRAY_LEN(list), false, &why),
                         v[i].ok);
        assert_false(upgrade_origin_ok(&r, list, 0, false, &why));
    }
    struct request r = request_of(LINE HOST "%s%s\r\n", "", "");
    assert_true(upgrade_origin_ok(&r, list, ARRAY_LEN(list), false, &why));
    assert_true(upgrade_origin_ok(&r, list, 0, false, &why));
    assert_false(upgrade_origin_ok(&r, list, ARRAY_LEN(list), true, &why));
    assert_int_equal(why.status, 403);
    check_refusal(&why, 0);
    const struct str all = STR("*");
    assert_false(upgrade_origin_ok(&r, &all, 1, true, &why));
}

/* Text from outside is cut and harmless in the message, however long and odd. */
static void test_outside_text(void **state)
{
    (void)state;
    static char odd[3000];
    struct refusal why = {0};
    const struct str allowed = STR("same");
    for (size_t i = 0; i + 1 < sizeof(odd); i++)
        odd[i] = i % 3 ? (char)0xE2 : '"';
    struct request r = request_of(LINE HOST "Origin: %s%s\r\n\r\n", odd, "");
    assert_false(upgrade_origin_ok(&r, &allowed, 1, false, &why));
    check_refusal(&why, 0);
    assert_non_null(strstr(why.message, "..."));
    memset(odd, 'M', sizeof(odd) - 1);
    r = request_of("%s%s / HTTP/1.1\r\nHost: a\r\n\r\n", odd, "");
    assert_false(upgrade_check(&r, &why));
    check_refusal(&why, 0);
    r = request_of(LINE HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: %s%s\r\n\r\n",
                   odd, "");
    assert_false(upgrade_check(&r, &why));
    check_refusal(&why, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),        cmocka_unit_test(test_asked),
        cmocka_unit_test(test_accept),       cmocka_unit_test(test_answer),
        cmocka_unit_test(test_origins),      cmocka_unit_test(test_origin_lists),
        cmocka_unit_test(test_outside_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
