// floors: common
#include "common/redis_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void good(void **state UNUSED)
{
    static const struct {
        const char *text;
        struct redis_url u;
    } rows[] = {
        {"managed", {REDIS_MANAGED}},
        {"redis://localhost", {REDIS_TCP, "localhost", 6379}},
        {"redis://localhost/", {REDIS_TCP, "localhost", 6379}},
        {"redis://127.0.0.1:6380/3", {REDIS_TCP, "127.0.0.1", 6380, .db = 3}},
        {"redis://[::1]:6380/15", {REDIS_TCP, "::1", 6380, .db = 15}},
        {"redis://[fe80::2]", {REDIS_TCP, "fe80::2", 6379}},
        {"redis://:pw@h", {REDIS_TCP, "h", 6379, .password = "pw"}},
        {"redis://me:pw@h:1/0", {REDIS_TCP, "h", 1, .user = "me", .password = "pw"}},
        {"redis://me@h", {REDIS_TCP, "h", 6379, .user = "me"}},
        {"redis://:@h", {REDIS_TCP, "h", 6379}},
        {"redis://:a:b@h", {REDIS_TCP, "h", 6379, .password = "a:b"}},
        {"redis://m%65:%40%2f%3A%25%3f@h:65535",
         {REDIS_TCP, "h", 65535, .user = "me", .password = "@/:%?"}},
        {"redis://my-redis_1.example.com", {REDIS_TCP, "my-redis_1.example.com", 6379}},
        {"unix:///run/redis.sock", {REDIS_UNIX, .path = "/run/redis.sock"}},
        {"unix:///a%20b?db=7", {REDIS_UNIX, .path = "/a b", .db = 7}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct redis_url u;
        struct err e = {""};
        if (redis_url_parse(str_of(rows[i].text), &u, &e) < 0)
            fail_msg("`%s` is refused: %s", rows[i].text, e.text);
        assert_int_equal(u.kind, rows[i].u.kind);
        assert_string_equal(u.host, rows[i].u.host);
        assert_int_equal(u.port, rows[i].u.port);
        assert_string_equal(u.path, rows[i].u.path);
        assert_string_equal(u.user, rows[i].u.user);
        assert_string_equal(u.password, rows[i].u.password);
        assert_int_equal(u.db, rows[i].u.db);
    }
}

static void bad(void **state UNUSED)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "is empty"},
        {" ", "blank"},
        {" managed", "blank"},
        {"redis://h\n", "control"},
        {"Managed", "must be managed"},
        {"s3cret", "must be managed"},
        {"localhost:6379", "must be managed"},
        {"http://h", "must be managed"},
        {"redis:h", "must be managed"},
        {"rediss://h", "TLS"},
        {"redis://", "host is missing"},
        {"redis:///1", "host is missing"},
        {"redis://:6379", "host is missing"},
        {"redis://:s3cret@", "host is missing"},
        {"redis://h:0", "port"},
        {"redis://h:65536", "port"},
        {"redis://h:", "port"},
        {"redis://h:s3cret", "port"},
        {"redis://h:6379:1", "port"},
        {"redis://h/x", "database"},
        {"redis://h/-1", "database"},
        {"redis://h/1/2", "database"},
        {"redis://h/99999999999", "database"},
        {"redis://h?db=1", "nothing may follow"},
        {"redis://h/1#x", "nothing may follow"},
        {"redis://:s3c#ret@h", "%23"},
        {"redis://:s3cret/x@h", "%2F"},
        {"redis://:s3cret@x@h", "%40"},
        {"redis://:s3cret%@h", "malformed"},
        {"redis://:s3cret%4@h", "malformed"},
        {"redis://:s3cret%zz@h", "malformed"},
        {"redis://:s3cret%00@h", "malformed"},
        {"redis://%:s3cret@h", "malformed"},
        {"redis://a,b", "character"},
        {"redis://[::1", "bracket"},
        {"redis://[1.2.3.4]", "IPv6"},
        {"redis://[::1]x", "behind the bracket"},
        {"redis://[s3cret]", "IPv6"},
        {"redis://::1", "host is missing"},
        {"unix://", "absolute path"},
        {"unix://run/x", "absolute path"},
        {"unix:/run/x", "must be managed"},
        {"unix:///x?db=", "database"},
        {"unix:///x?db=a", "database"},
        {"unix:///x?password=s3cret", "?db=N"},
        {"unix:///x%", "malformed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct redis_url u, before;
        struct err e = {""};
        memset(&u, 0x55, sizeof(u));
        before = u;
        if (redis_url_parse(str_of(rows[i].text), &u, &e) != -1)
            fail_msg("`%s` is taken", rows[i].text);
        assert_memory_equal(e.text, "Invalid redis connection! ", 26);
        if (!strstr(e.text, rows[i].why))
            fail_msg("`%s`: `%s` does not say `%s`", rows[i].text, e.text, rows[i].why);
        assert_null(strstr(e.text, "s3c"));
        assert_memory_equal(&u, &before, sizeof(u));
    }
}

static void assert_length(const char *head, size_t n, const char *tail, bool is_good)
{
    char text[1200], fill[1000];
    struct redis_url u;
    struct err e;
    memset(fill, 'a', sizeof(fill));
    snprintf(text, sizeof(text), "%s%.*s%s", head, (int)n, fill, tail);
    assert_int_equal(redis_url_parse(str_of(text), &u, &e), is_good ? 0 : -1);
    if (!is_good)
        assert_non_null(strstr(e.text, "long"));
}

static void lengths_are_bounded(void **state UNUSED)
{
    assert_length("redis://", 255, "", true);
    assert_length("redis://", 256, "", false);
    assert_length("redis://:", 511, "@h", true);
    assert_length("redis://:", 512, "@h", false);
    assert_length("redis://", 127, ":@h", true);
    assert_length("redis://", 128, ":@h", false);
    assert_length("unix:///", 106, "", true);
    assert_length("unix:///", 107, "", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad),
        cmocka_unit_test(lengths_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
