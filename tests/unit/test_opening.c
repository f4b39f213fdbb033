// floors: common net ws http
#include "worker/http/opening.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const struct conf_endpoint bell = {.protocol = PROTOCOL_NOTIFICATIONS};
static const struct conf_endpoint call = {.protocol = PROTOCOL_SIGNALING};
static const struct conf_endpoint events = {.protocol = PROTOCOL_EVENTS};

static struct request_field fields[32];
static char head[4096];

static struct request read_request(const char *target, const char *more)
{
    struct request r = {.fields = fields, .fields_cap = ARRAY_LEN(fields)};
    const char *why = "";
    snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", target, more);
    assert_int_equal(request_parse(str_of(head), sizeof(head), &r, &why), REQUEST_OK);
    return r;
}

static bool open_at(const struct conf_endpoint *conf, const char *target,
                    const char *more, struct opening *o, struct refusal *why)
{
    struct request r = read_request(target, more);
    struct route route = {conf, NULL};
    struct route_match m = {.route = &route, .room = STR("r"), .role = STR("x")};
    return opening_init(o, &r, &m, why);
}

#define HEADER "Authorization: Bearer in-header\r\n"
#define PROTOCOLS "Sec-WebSocket-Protocol: chat, token.in-protocol\r\n"

static void tokens_are_found_in_order(UNUSED void **state)
{
    static const struct {
        const char *target, *more, *token;
    } v[] = {
        {"/b?token=in-query", HEADER PROTOCOLS, "in-query"},
        {"/b?x=1&token=a%2Bb+c", "", "a+b+c"},
        {"/b", HEADER PROTOCOLS, "in-header"},
        {"/b?token=", HEADER PROTOCOLS, "in-header"},
        {"/b?token", PROTOCOLS, "in-protocol"},
        {"/b", "Authorization: bearer   spaced \r\n", "spaced"},
        {"/b", "Authorization: Basic eDp5\r\n" PROTOCOLS, "in-protocol"},
        {"/b?tokens=x&notoken=y", "", NULL},
        {"/b?token=%zz", "", NULL},
        {"/b", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct opening o;
        struct refusal why;
        assert_true(open_at(&bell, v[i].target, v[i].more, &o, &why));
        if (v[i].token ? !str_is(o.how.token, v[i].token) : o.how.token.p != NULL)
            fail_msg("%zu: " STR_FMT, i, STR_ARG(o.how.token));
        opening_fini(&o);
    }
}

static void only_who_needs_it_gets_it(UNUSED void **state)
{
    struct opening o;
    struct refusal why;
    assert_true(open_at(&events, "/e?token=t&session=12345678", HEADER, &o, &why));
    assert_null(o.how.token.p);
    assert_null(o.how.session.p);
    opening_fini(&o);
    assert_true(open_at(&bell, "/e?session=bad", "", &o, &why));
    assert_null(o.how.session.p);
    opening_fini(&o);
}

static void sessions_are_judged(UNUSED void **state)
{
    static const struct {
        const char *target, *session;
        bool good;
    } v[] = {
        {"/c?session=12345678", "12345678", true},
        {"/c?token=x&session=A.b_c~d-%39", "A.b_c~d-9", true},
        {"/c?session=", NULL, true},
        {"/c", NULL, true},
        {"/c?session=1234567", NULL, false},
        {"/c?session=1234567%208", NULL, false},
        {"/c?session=1234567/", NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct opening o;
        struct refusal why = {0};
        assert_int_equal(open_at(&call, v[i].target, "", &o, &why), v[i].good);
        if (!v[i].good)
            assert_int_equal(why.status, 400);
        else if (v[i].session ? !str_is(o.how.session, v[i].session) : !!o.how.session.p)
            fail_msg("%s", v[i].target);
        assert_true(str_is(o.how.room, "r") && str_is(o.how.role, "x"));
        opening_fini(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_found_in_order),
        cmocka_unit_test(only_who_needs_it_gets_it),
        cmocka_unit_test(sessions_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
