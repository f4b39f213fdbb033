// floors: common net ws http
#include "worker/http/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LONG_NAME                                                                        \
    "/a-path-of-more-than-sixty-four-bytes-that-str_distance-does-not-count-through"

static struct conf_endpoint endpoints[] = {
    {.path = STR("/ws")}, {.path = STR("/echo")},   {.path = STR("/ws/notifications/")},
    {.path = STR("/")},   {.path = STR(LONG_NAME)},
};
static struct route table[ARRAY_LEN(endpoints)];
static struct routes routes = {table, ARRAY_LEN(table)};

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        table[i].conf = &endpoints[i];
    return 0;
}

static void test_find(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
        assert_ptr_equal(route_find(&routes, endpoints[i].path), &table[i]);
    static const char *const none[] = {
        "",   "/ws/",  "/w",    "/wss",  "/WS",   "ws", "/ws/notifications",
        "//", "/%77s", "/ws?x", "/ws#x", "/./ws", "*",  "/echo "};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (route_find(&routes, str_of(none[i])))
            fail_msg("%s", none[i]);
    assert_null(route_find(&routes, STR_NONE));
    assert_null(route_find(&(struct routes){NULL, 0}, STR("/ws")));
}

static void test_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *path, *nearest;
    } v[] = {
        {"/ws/", "/ws"},
        {"/wss", "/ws"},
        {"/w", "/ws"},
        {"/WS", "/ws"},
        {"/Echo", "/echo"},
        {"/ecoh", "/echo"},
        {"/ws/notifications", "/ws/notifications/"},
        {"/ws/notification", "/ws/notifications/"},
        {"/ws/room/1", "/ws"},
        {"/api/ws", "/ws"},
        {"/proxied/deeply/echo", "/echo"},
        {LONG_NAME "/", LONG_NAME},
        {"/A-path-of-more-than-sixty-four-bytes-that-str_distance-does-not-count-through",
         LONG_NAME},
        {"/chat", NULL},
        {"/socket.io/", NULL},
        {"/wsroom", NULL},
        {"/favicon.ico", NULL},
        {"/something/of/more/than/sixty-four/bytes/that/no/endpoint/is/anything/like/at/"
         "all/whatsoever",
         NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct str got = route_nearest(&routes, str_of(v[i].path));
        if (v[i].nearest ? !str_is(got, v[i].nearest) : got.p != NULL)
            fail_msg("%s: " STR_FMT, v[i].path, STR_ARG(got));
    }
    assert_null(route_nearest(&(struct routes){NULL, 0}, STR("/ws")).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
