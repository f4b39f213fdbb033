// floors: http
#include "worker/http/api_routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_paths(UNUSED void **state)
{
    static const struct {
        const char *path, *route; /* NULL: none */
    } rows[] = {
        {"/api/events", "/api/events"},
        {"/api/rooms", "/api/rooms"},
        {"/api/rooms/", "/api/rooms/{room}"}, /* refused: empty */
        {"/api/rooms/x", "/api/rooms/{room}"},
        {"/api/rooms/%2F", "/api/rooms/{room}"},
        {"/api/rooms/{room}", "/api/rooms/{room}"},
        {"/api/users/x", "/api/users/{user}"},
        {"/api/users/x/connections", "/api/users/{user}/connections"},
        {"/api/users/connections", "/api/users/{user}"},
        {"/api/clients/x", "/api/clients/{id}"},
        {"/api/stats", "/api/stats"},
        {"/metrics", "/metrics"},
        {"/api", NULL},
        {"/api/", NULL},
        {"/api/rooms/x/", NULL},
        {"/api/rooms/x/y", NULL},
        {"/api/users", NULL},
        {"/api/users/x/connections/", NULL},
        {"/api/users/x/Connections", NULL},
        {"/api/stats/", NULL},
        {"/API/stats", NULL},
        {"/api/{x}", NULL},
        {"//api/stats", NULL},
        {"api/stats", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct api_route *r = api_routes_find(str_of(rows[i].path));
        if (!r != !rows[i].route || (r && strcmp(r->path, rows[i].route) != 0))
            fail_msg("%s: %s", rows[i].path, r ? r->path : "none");
    }
}

static void test_methods(UNUSED void **state)
{
    const struct api_route *r = api_routes_find(STR("/api/rooms"));
    assert_true(api_routes_allow(r, STR("GET")) && api_routes_allow(r, STR("HEAD")) &&
                api_routes_allow(r, STR("OPTIONS")));
    assert_false(api_routes_allow(r, STR("get")) || api_routes_allow(r, STR("")) ||
                 api_routes_allow(r, STR("GET, HEAD")) ||
                 api_routes_allow(r, STR("DELETE")));
}

static void test_names_and_parameters(UNUSED void **state)
{
    static const struct {
        const char *path, *query, *name, *after;
        unsigned limit;
        const char *why;
    } rows[] = {
        {"/api/rooms", NULL, "", "", 100, NULL},
        {"/api/rooms", "", "", "", 100, NULL},
        {"/api/rooms", "&&", "", "", 100, NULL},
        {"/api/rooms", "limit=1", "", "", 1, NULL},
        {"/api/rooms", "limit=%31000&after=", "", "", 1000, NULL},
        {"/api/rooms", "after=a+b%2Bc%20%C3%A9=&limit=7", "", "a b+c é=", 7, NULL},
        {"/api/rooms", "after=x&after=y", "", "y", 100, NULL},
        {"/api/rooms/a+b%2F%25%7B", NULL, "a+b/%{", "", 100, NULL},
        {"/api/rooms/%C3%A9", "limit=2", "é", "", 2, NULL},
        {"/api/users/x/connections", NULL, "x", "", 100, NULL},
        {"/metrics", "anything=%zz", "", "", 100, NULL},
        {"/api/rooms/", NULL, NULL, NULL, 0, "{room} has an empty segment"},
        {"/api/users//connections", NULL, NULL, NULL, 0, "has an empty segment"},
        {"/api/rooms/%", NULL, NULL, NULL, 0, "percent-encoding"},
        {"/api/rooms/%2", NULL, NULL, NULL, 0, "percent-encoding"},
        {"/api/rooms/%zz", NULL, NULL, NULL, 0, "percent-encoding"},
        {"/api/rooms/a%00", NULL, NULL, NULL, 0, "percent-encoding"},
        {"/api/rooms/%C3", NULL, NULL, NULL, 0, "percent-encoding"},
        {"/api/rooms/%ED%A0%80", NULL, NULL, NULL, 0, "percent-encoding"},
        {"/api/rooms", "limit", NULL, NULL, 0, "`limit` is not a number"},
        {"/api/rooms", "limit=", NULL, NULL, 0, "`limit` is not a number"},
        {"/api/rooms", "limit=0", NULL, NULL, 0, "`limit` is not a number"},
        {"/api/rooms", "limit=1001", NULL, NULL, 0, "`limit` is not a number"},
        {"/api/rooms", "limit=-1", NULL, NULL, 0, "`limit` is not a number"},
        {"/api/rooms", "limit=1&limit=x", NULL, NULL, 0, "`limit` is not a number"},
        {"/api/rooms", "limit=99999999999999999999", NULL, NULL, 0, "`limit`"},
        {"/api/rooms", "after=%C3", NULL, NULL, 0, "percent-encoding"},
        {"/api/rooms", "after=%00", NULL, NULL, 0, "percent-encoding"},
        {"/api/rooms", "Limit=1", NULL, NULL, 0, "`Limit`, which nobody knows"},
        {"/api/rooms", "=1", NULL, NULL, 0, "``, which nobody knows"},
        {"/api/rooms", "limit,=1", NULL, NULL, 0, "`limit,`, which nobody knows"},
        {"/api/stats", "limit=1", NULL, NULL, 0, "`limit`, which nobody knows"},
        {"/api/events", "key=secret", NULL, NULL, 0, "`key`, which nobody knows"},
        {"/api/stats", "\x1b[2J=1", NULL, NULL, 0, "`\\x1b[2J`"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request r = {.path = str_of(rows[i].path), .query = str_of(rows[i].query)};
        struct api_call call = {.route = api_routes_find(r.path)};
        struct err e = {0};
        assert_non_null(call.route);
        int rc = api_routes_read(&call, &r, &e);
        if (rc != (rows[i].why ? -1 : 0) || (rc && !strstr(e.text, rows[i].why)))
            fail_msg("%s?%s: %d %s", rows[i].path, rows[i].query, rc, e.text);
        if (rc == 0) {
            assert_string_equal(buf_cstr(&call.name), rows[i].name);
            assert_string_equal(buf_cstr(&call.after), rows[i].after);
            assert_int_equal(call.limit, rows[i].limit);
        }
        assert_null(strstr(e.text, "secret"));
        buf_free(&call.name);
        buf_free(&call.after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_names_and_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
