// floors: common net ws http
#include "worker/http/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LONG_NAME                                                                        \
    "/a-path-of-more-than-sixty-four-bytes-that-str_distance-does-not-count-through"

static struct conf_endpoint endpoints[] = {
    {.path = STR("/ws")},
    {.path = STR("/echo")},
    {.path = STR("/ws/notifications/")},
    {.path = STR("/")},
    {.path = STR(LONG_NAME)},
    {.path = STR("/ws/bell/"), .protocol = PROTOCOL_NOTIFICATIONS},
    {.path = STR("/call/{room}/{role}"), .protocol = PROTOCOL_SIGNALING},
    {.path = STR("/v1/{role}/of/{room}"), .protocol = PROTOCOL_SIGNALING},
};
enum { BELL = 5, CALL, TURNED };
static struct str roles[] = {STR("doctor"), STR("patient")};
static struct route table[ARRAY_LEN(endpoints)];
static struct routes routes = {table, ARRAY_LEN(table)};

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        table[i].conf = &endpoints[i];
    endpoints[TURNED].roles = (struct conf_strs){roles, ARRAY_LEN(roles)};
    return 0;
}

static const struct route *find(const struct routes *r, struct str path)
{
    struct route_match m;
    struct refusal why;
    return route_find(r, path, &m, &why) == ROUTE_FOUND ? m.route : NULL;
}

static void test_find(void **state)
{
    (void)state;
    for (size_t i = 0; i < CALL; i++)
        assert_ptr_equal(find(&routes, endpoints[i].path), &table[i]);
    static const char *const none[] = {
        "",   "/ws/",  "/w",    "/wss",  "/WS",   "ws", "/ws/notifications",
        "//", "/%77s", "/ws?x", "/ws#x", "/./ws", "*",  "/echo "};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (find(&routes, str_of(none[i])))
            fail_msg("%s", none[i]);
    assert_null(find(&routes, STR_NONE));
    assert_null(find(&(struct routes){NULL, 0}, STR("/ws")));
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

static void test_slash(void **state)
{
    (void)state;
    assert_ptr_equal(find(&routes, STR("/ws/bell")), &table[BELL]);
    assert_ptr_equal(find(&routes, STR("/ws/bell/")), &table[BELL]);
    assert_null(find(&routes, STR("/ws/bell//")));
    assert_null(find(&routes, STR("/ws/bel")));
}

static void test_segments(void **state)
{
    (void)state;
    static const struct {
        const char *path, *room, *role;
        unsigned at;
    } v[] = {
        {"/call/r1/doctor", "r1", "doctor", CALL},
        {"/call/A.b_c~d-9/x", "A.b_c~d-9", "x", CALL},
        {"/call/%72%31/d%6fctor", "r1", "doctor", CALL},
        {"/v1/patient/of/r2", "r2", "patient", TURNED},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct route_match m;
        struct refusal why;
        assert_int_equal(route_find(&routes, str_of(v[i].path), &m, &why), ROUTE_FOUND);
        assert_ptr_equal(m.route, &table[v[i].at]);
        assert_true(str_is(m.room, v[i].room) && str_is(m.role, v[i].role));
    }
}

#define X16 "xxxxxxxxxxxxxxxx"
#define X128 X16 X16 X16 X16 X16 X16 X16 X16

static void test_bad_segments(void **state)
{
    (void)state;
    static const struct {
        const char *path, *words;
    } v[] = {
        {"/call//doctor", "The room in the path is empty."},
        {"/call/r1/", "The role in the path is empty."},
        {"/call/undefined/doctor", "`undefined`: a variable of the page is not set"},
        {"/call/r1/null", "The role in the path is `null`"},
        {"/call/NaN/x", "`NaN`"},
        {"/call/%5Bobject%20Object%5D/x", "`[object Object]`"},
        {"/call/{room}/doctor", "`{room}`"},
        {"/call/%7Bid%7D/doctor", "`{id}`"},
        {"/call/${id}/doctor", "`${id}`"},
        {"/call/a b/doctor", "not allowed"},
        {"/call/a%20b/doctor", "not allowed"},
        {"/call/a%00b/doctor", "not allowed"},
        {"/call/a%2/doctor", "not allowed"},
        {"/call/%C3%A4/doctor", "not allowed"},
        {"/call/" X128 "x/doctor", "too long"},
        {"/v1/nurse/of/r2", "The role nurse is not among"},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct route_match m;
        struct refusal why;
        assert_int_equal(route_find(&routes, str_of(v[i].path), &m, &why), ROUTE_BAD);
        assert_non_null(m.route);
        assert_int_equal(why.status, 400);
        if (!strstr(why.message, v[i].words))
            fail_msg("%s: %s", v[i].path, why.message);
    }
    assert_non_null(find(&routes, STR("/call/" X128 "/doctor")));
    static const char *const none[] = {"/call/r1", "/call", "/call/r1/doctor/",
                                       "/call/r1/doctor/x", "/v1/patient/off/r2"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_null(find(&routes, str_of(none[i])));
}

static void test_missing(void **state)
{
    (void)state;
    struct str call = endpoints[CALL].path;
    assert_true(str_is(route_missing(call, STR("/call/r1")), "{role}"));
    assert_true(str_is(route_missing(call, STR("/call")), "{room}"));
    assert_null(route_missing(call, STR("/call/r1/doctor")).p);
    assert_null(route_missing(call, STR("/cal/r1")).p);
    assert_null(route_missing(call, STR("/")).p);
    assert_true(str_eq(route_nearest(&routes, STR("/call/r1")), call));
    assert_true(
        str_eq(route_nearest(&routes, STR("/cal/a-long-room-name/doctor")), call));
    assert_null(route_nearest(&routes, STR("/other/a-long-room-name/doctor")).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),         cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_slash),        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_bad_segments), cmocka_unit_test(test_missing),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
