// floors: ctl
#include "supervisor/ctl/doctor_url.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
    const char *url, *host, *target, *shown;
    unsigned port;
    bool tls, has_port;
} good[] = {
    {"ws://localhost:8000/ws", "localhost", "/ws", "ws://localhost:8000/ws", 8000, false,
     true},
    {"WS://Example.com", "Example.com", "/", "ws://Example.com/", 80, false, false},
    {"wss://example.com/a/b?token=secret&x", "example.com", "/a/b?token=secret&x",
     "wss://example.com/a/b?…", 443, true, false},
    {"wss://[::1]:8443/ws", "::1", "/ws", "wss://[::1]:8443/ws", 8443, true, true},
    {"ws://[fe80::1]", "fe80::1", "/", "ws://[fe80::1]/", 80, false, false},
    {"ws://127.0.0.1:1?x", "127.0.0.1", "/?x", "ws://127.0.0.1:1/?…", 1, false, true},
    {"ws://h:65535/undefined-behaviour/nullable?q=NaNa", "h",
     "/undefined-behaviour/nullable?q=NaNa",
     "ws://h:65535/undefined-behaviour/nullable?…", 65535, false, true},
    {"ws://h/ws/", "h", "/ws/", "ws://h/ws/", 80, false, false},
    {"ws://h/a%20b//c", "h", "/a%20b//c", "ws://h/a%20b//c", 80, false, false},
};

static const struct {
    const char *url, *why, *fixed;
} bad[] = {
    {"http://localhost:8000/ws", "the scheme is http", "ws://localhost:8000/ws"},
    {"https://example.com/ws", "the scheme is https", "wss://example.com/ws"},
    {"ftp://example.com/ws", "the scheme is ftp", "ws://example.com/ws"},
    {"localhost:8000/ws", "no scheme", "ws://localhost:8000/ws"},
    {"", "names no host", "ws://localhost:8000/"},
    {"undefined", "the host of the URL holds undefined", "ws://localhost:8000/"},
    {"undefined/ws", "the host of the URL holds undefined", "ws://localhost:8000/ws"},
    {"undefined://h:1/ws", "the scheme of the URL holds undefined", "ws://h:1/ws"},
    {"ws:///ws", "names no host", "ws://localhost:8000/ws"},
    {"ws://:9000/ws", "names no host", "ws://localhost:9000/ws"},
    {"ws://localhost:/ws", "the port is missing", "ws://localhost:8000/ws"},
    {"ws://localhost:0/ws", "0 is no port", "ws://localhost:8000/ws"},
    {"ws://localhost:65536/ws", "65536 is no port", "ws://localhost:8000/ws"},
    {"ws://localhost:undefined/ws", "the port of the URL holds undefined",
     "ws://localhost:8000/ws"},
    {"ws://localhost:NaN/ws", "the port of the URL holds NaN", "ws://localhost:8000/ws"},
    {"ws://undefined/ws", "the host of the URL holds undefined",
     "ws://localhost:8000/ws"},
    {"wss://api.undefined/ws", "the host of the URL holds undefined",
     "wss://localhost:8000/ws"},
    {"ws://null:9000/ws", "the host of the URL holds null", "ws://localhost:9000/ws"},
    {"ws://${HOST}/ws", "the host of the URL holds {…}", "ws://localhost:8000/ws"},
    {"ws://[object Object]/ws", "the host of the URL holds [object Object]",
     "ws://localhost:8000/ws"},
    {"ws://h/ws/{room}/doctor", "the path of the URL holds {…}",
     "ws://h/ws/VALUE/doctor"},
    {"ws://h/ws/%7Broom%7D", "the path of the URL holds {…}", "ws://h/ws/VALUE"},
    {"ws://h/ws/${id}/", "the path of the URL holds {…}", "ws://h/ws/VALUE/"},
    {"ws://h/ws/undefined/null", "the path of the URL holds undefined",
     "ws://h/ws/VALUE/VALUE"},
    {"ws://h/ws/[object%20Object]", "the path of the URL holds [object Object]",
     "ws://h/ws/VALUE"},
    {"ws://h/ws?token=undefined", "the query of the URL holds undefined", "ws://h/ws?…"},
    {"ws://h/ws?a=1&b={b}", "the query of the URL holds {…}", "ws://h/ws?…"},
    {"ws://user:secret@h/ws", "a user name or password", "ws://h/ws"},
    {"ws://h/ws#part", "behind #", "ws://h/ws"},
    {"ws://h/a b", "a blank", ""},
    {"ws://h/\x1b[31m", "control character", ""},
    {"ws://h_\"/ws", "no host name has", "ws://localhost:8000/ws"},
    {"ws://[::1/ws", "no address in brackets", "ws://localhost:1/ws"},
};

static void good_ones_come_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct doctor_url u;
        struct buf fixed = {0};
        struct err e = {0};

        assert_int_equal(doctor_url_judge(str_of(good[i].url), &u, &fixed, &e), 0);
        assert_string_equal(buf_cstr(&u.host), good[i].host);
        assert_string_equal(buf_cstr(&u.target), good[i].target);
        assert_string_equal(buf_cstr(&u.shown), good[i].shown);
        assert_int_equal(u.port, good[i].port);
        assert_int_equal(u.tls, good[i].tls);
        assert_int_equal(u.has_port, good[i].has_port);
        assert_int_equal(fixed.n, 0);
        buf_free(&fixed);
        doctor_url_fini(&u);
    }
}

/* What is offered instead is judged good itself. */
static void bad_ones_are_corrected(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct doctor_url u, again;
        struct buf fixed = {0}, none = {0};
        struct err e = {0};

        assert_int_equal(doctor_url_judge(str_of(bad[i].url), &u, &fixed, &e), -1);
        if (!strstr(e.text, bad[i].why))
            fail_msg("%s: %s", bad[i].url, e.text);
        assert_string_equal(buf_cstr(&fixed), bad[i].fixed);
        assert_null(strstr(buf_cstr(&fixed), "secret"));
        if (fixed.n > 0) {
            assert_int_equal(doctor_url_judge(buf_view(&fixed), &again, &none, &e), 0);
            doctor_url_fini(&again);
        }
        doctor_url_fini(&u);
        buf_free(&fixed);
        buf_free(&none);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_come_apart),
        cmocka_unit_test(bad_ones_are_corrected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
