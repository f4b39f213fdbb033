// floors: common
#include "common/addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void the_book_is_read(void **state UNUSED)
{
    static const struct {
        const char *host, *ips; /* NULL: unknown */
    } rows[] = {
        {"redis.example", "10.0.0.1 10.0.0.2"},
        {"REDIS.Example", "10.0.0.1 10.0.0.2"},
        {"hooks", "::1"},
        {"last", "192.0.2.7"},
        {"redis", NULL},
        {"redis.example.org", NULL},
        {"empty", NULL},
        {"", NULL},
        {"127.0.0.1", "127.0.0.1"},
        {"fe80::1", "fe80::1"},
    };
    struct addresses a = {0};
    assert_null(addresses_find(&a, STR("hooks")).p);
    assert_true(str_is(addresses_find(&a, STR("::1")), "::1"));
    addresses_set(&a, STR("old 10.9.9.9\n"));
    addresses_set(&a, STR("redis.example 10.0.0.1 10.0.0.2\nempty\nhooks ::1\n"
                          "last 192.0.2.7"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str ips = addresses_find(&a, str_of(rows[i].host));
        assert_int_equal(ips.p == NULL, rows[i].ips == NULL);
        assert_true(str_eq(ips, str_of(rows[i].ips)));
    }
    assert_null(addresses_find(&a, STR("old")).p);
    addresses_fini(&a);
}

static void numeric_addresses(void **state UNUSED)
{
    static const struct {
        const char *text;
        int family; /* 0: not numeric */
    } rows[] = {
        {"127.0.0.1", AF_INET},
        {"0.0.0.0", AF_INET},
        {"::", AF_INET6},
        {"::1", AF_INET6},
        {"::ffff:1.2.3.4", AF_INET6},
        {"", 0},
        {"localhost", 0},
        {"1.2.3", 0},
        {"1.2.3.256", 0},
        {"01.2.3.4", 0},
        {"[::1]", 0},
        {"::1%lo", 0},
        {"1.2.3.4 ", 0},
        {"1:2:3:4:5:6:7:8:9", 0},
        {"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sockaddr_storage out;
        socklen_t n = address_parse(str_of(rows[i].text), 8000, &out);
        assert_int_equal(n, rows[i].family == AF_INET    ? sizeof(struct sockaddr_in)
                            : rows[i].family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                         : 0);
        if (n == 0)
            continue;
        char back[INET6_ADDRSTRLEN];
        assert_int_equal(out.ss_family, rows[i].family);
        bool is_v4 = out.ss_family == AF_INET;
        struct sockaddr_in *v4 = (void *)&out;
        struct sockaddr_in6 *v6 = (void *)&out;
        inet_ntop(out.ss_family, is_v4 ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr,
                  back, sizeof(back));
        assert_string_equal(back, rows[i].text);
        assert_int_equal(ntohs(is_v4 ? v4->sin_port : v6->sin6_port), 8000);
    }
    struct sockaddr_storage out;
    assert_int_equal(address_parse((struct str){"::1\0x", 5}, 1, &out), 0);
}

static void urls_are_split(void **state UNUSED)
{
    static const struct {
        const char *url, *host;
        uint16_t port;
        bool is_https;
    } rows[] = {
        {"http://127.0.0.1:9000/hook", "127.0.0.1", 9000, false},
        {"http://example.com", "example.com", 80, false},
        {"HTTPS://Example.com/", "Example.com", 443, true},
        {"https://[::1]:8443/x?y", "::1", 8443, true},
        {"http://[::1]", "::1", 80, false},
        {"http://h?q=http://other:1/", "h", 80, false},
        {"http://h#f", "h", 80, false},
        {"http://h:/x", "h", 80, false},
        {"http://h/@x:1", "h", 80, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str host;
        uint16_t port;
        bool is_https;
        assert_true(url_host(str_of(rows[i].url), &host, &port, &is_https));
        assert_true(str_is(host, rows[i].host));
        assert_int_equal(port, rows[i].port);
        assert_int_equal(is_https, rows[i].is_https);
    }
}

static void what_is_no_url_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "http",
        "http:/h",
        "http://",
        "http:///x",
        "ftp://h",
        "h:80",
        "//h/x",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://h:80:80",
        "http://[::1",
        "http://[::1]x",
        "http://[1.2.3.4]",
        "http://u:p@h",
        "http://u@h",
        "http://h /",
        " http://h",
        "http://h/\n",
        "http://h/é",
        "http://a,b",
        "http://[]",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct str host = STR("kept");
        uint16_t port = 1;
        bool is_https = false;
        if (url_host(str_of(bad[i]), &host, &port, &is_https))
            fail_msg("`%s` is taken", bad[i]);
        assert_true(str_is(host, "kept") && port == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_book_is_read),
        cmocka_unit_test(numeric_addresses),
        cmocka_unit_test(urls_are_split),
        cmocka_unit_test(what_is_no_url_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
