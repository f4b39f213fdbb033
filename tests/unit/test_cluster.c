// floors: hub
#include "worker/hub/cluster.h"

#include "common/clock.h"
#include "tests/unit/bus_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define OTHER "11111111-1111-4111-8111-111111111111"
#define THIRD "22222222-2222-4222-8222-222222222222"

static struct counters counters;
static struct net net;
static struct hub *hub;
static struct bus_fake bus;
static struct cluster *cluster;
static struct err e;
static struct buf asked; /* what this worker was asked */
static struct buf heard; /* what came back: "<id> <answer>" lines, or "why N" */
static unsigned ends;

static void answer(UNUSED void *ctx, const struct cluster_question *q, struct buf *json)
{
    buf_printf(&asked, "%d " STR_FMT " " STR_FMT " %u;", q->what, STR_ARG(q->name),
               STR_ARG(q->after), q->limit);
    buf_str(json, STR("{\"closed\":7}"));
}

static void on_answered(UNUSED void *ctx, const struct cluster_member *v, size_t n,
                        const struct bus_reply *why)
{
    ends++;
    if (why)
        buf_printf(&heard, "why %d", why->type);
    for (size_t i = 0; i < n; i++)
        buf_printf(&heard, "%s %s " STR_FMT "\n", v[i].id,
                   v[i].is_registered ? "registered" : "stranger",
                   STR_ARG(buf_view(&v[i].answer)));
}

/* Until nothing happens at once. */
static void spin(void)
{
    for (int i = 0; i < 5; i++) {
        bus_fake_confirm(&bus, bus.marked);
        event_base_loop(net.base, EVLOOP_NONBLOCK);
    }
}

static void redis_says(enum bus_reply_type type, const char *text)
{
    bus_fake_answer(&bus, (struct bus_reply){type, str_of(text), 0});
}

static int setup(UNUSED void **state)
{
    struct event_base *base = event_base_new();
    memset(&counters, 0, sizeof(counters));
    assert_int_equal(net_init(&net, base, &counters, &e), 0);
    hub = hub_new(&net, NULL);
    bus_fake_init(&bus, &hub_bus_events, hub);
    bus.prefix = STR("site:");
    hub_set_bus(hub, &bus.bus, 1000);
    cluster = cluster_new(
        hub, &net,
        &(struct cluster_self){.node = STR("n\"1"), .slot = 3, .answer = answer});
    bus_fake_up(&bus);
    spin();
    return 0;
}

static int teardown(UNUSED void **state)
{
    struct event_base *base = net.base;
    hub_set_bus(hub, NULL, 0);
    while (bus.calls_n > 0)
        redis_says(BUS_DOWN, "");
    cluster_free(cluster);
    net_fini(&net);
    hub_free(hub);
    buf_free(&bus.log);
    buf_free(&asked);
    buf_free(&heard);
    ends = 0;
    event_base_free(base);
    return 0;
}

static const char *id(void)
{
    return hub_server_id(hub);
}

static bool log_has(const char *text)
{
    return strstr(buf_cstr(&bus.log), text) != NULL;
}

/* The worker is in the register when both its channels are heard. */
static void test_registers_behind_its_subscriptions(UNUSED void **state)
{
    char own[64];
    snprintf(own, sizeof(own), "+heliod:w:%s", id());
    assert_int_equal(bus_fake_did(&bus, "+heliod:w"), 1);
    assert_int_equal(bus_fake_did(&bus, own), 1);
    assert_int_equal(bus.calls_n, 1);
    const char *log = buf_cstr(&bus.log);
    const char *call = strstr(log, "C EVALSHA ");
    assert_non_null(call);
    assert_true(call > strstr(log, own));
    assert_non_null(strstr(call, " site:heliod:{workers} site:heliod:{workers}:about "));
    assert_non_null(strstr(call, ",\"node\":\"n\\\"1\",\"slot\":3,"));
    bus_fake_down(&bus);
    buf_clear(&bus.log);
    while (bus.calls_n > 0)
        redis_says(BUS_UNCERTAIN, "");
    bus_fake_up(&bus);
    spin();
    assert_int_equal(bus_fake_did(&bus, own), 1);
    assert_true(log_has("C EVALSHA ") && bus.calls_n == 1);
}

static void on_tick(UNUSED evutil_socket_t fd, UNUSED short what, UNUSED void *arg) {}

static void pass_time(int64_t ms)
{
    struct event tick;
    struct timeval often = {.tv_usec = 20000};
    event_assign(&tick, net.base, -1, EV_PERSIST, on_tick, NULL);
    event_add(&tick, &often);
    for (int64_t end = clock_now_ms() + ms; clock_now_ms() < end;)
        event_base_loop(net.base, EVLOOP_ONCE);
    event_del(&tick);
}

/* A bus whose queue is full for a while is not lost: no `up` follows, and the place has
 * to be renewed all the same. */
static void test_renews_after_a_full_queue(UNUSED void **state)
{
    redis_says(BUS_TEXT, "");
    bus.is_up = false;
    pass_time(CLUSTER_RENEW_MS + 100);
    assert_int_equal(bus.calls_n, 0);
    bus.is_up = true;
    pass_time(CLUSTER_RENEW_MS + 100);
    assert_int_equal(bus.calls_n, 1);
}

static void test_leaves(UNUSED void **state)
{
    redis_says(BUS_TEXT, "");
    buf_clear(&bus.log);
    cluster_leave(cluster);
    cluster_leave(cluster);
    assert_int_equal(bus.calls_n, 1);
    assert_false(log_has("node")); /* nothing about it: it is struck off */
    assert_true(log_has(id()));
    cluster_lost(cluster, STR(OTHER));
    assert_int_equal(bus.calls_n, 2);
    assert_true(log_has(OTHER));
}

static void ask(void)
{
    static const struct cluster_question q = {CLUSTER_KICK_USER, STR("é\""), STR("a"), 9};
    while (bus.calls_n > 0)
        redis_says(BUS_TEXT, "");
    buf_clear(&bus.log);
    buf_clear(&heard);
    ends = 0;
    assert_true(cluster_ask(cluster, &q, on_answered, NULL));
}

static void say(const char *from, unsigned ask_id, const char *text)
{
    char channel[64], payload[512];
    snprintf(channel, sizeof(channel), "heliod:w:%s", id());
    snprintf(payload, sizeof(payload),
             "{\"ask\":%u,\"from\":\"%s\",\"about\":{\"node\":\"x\"},\"answer\":%s}",
             ask_id, from, text);
    bus_fake_receive(&bus, channel, payload);
}

static void test_ends_when_all_have_answered(UNUSED void **state)
{
    ask();
    assert_true(log_has("\"what\":\"kick-user\",\"name\":\"é\\\"\",\"after\":\"a\","
                        "\"limit\":9}"));
    say(OTHER, 1, "{\"closed\":1}"); /* before the register came */
    assert_int_equal(ends, 0);
    redis_says(BUS_TEXT, OTHER " {\"a\":1}\nnonsense\n" THIRD " nonsense\n\n");
    assert_int_equal(ends, 0);
    say(OTHER, 1, "{\"closed\":99}"); /* the first counts */
    say(THIRD, 9, "{\"closed\":99}"); /* to another question */
    assert_int_equal(ends, 0);
    say(THIRD, 1, "{\"closed\":2}");
    assert_int_equal(ends, 1);
    assert_string_equal(buf_cstr(&heard), OTHER " registered {\"closed\":1}\n" THIRD
                                                " registered {\"closed\":2}\n");
    say(THIRD, 1, "{\"closed\":2}"); /* too late */
    assert_int_equal(ends, 1);
}

static void test_time_is_up(UNUSED void **state)
{
    ask();
    redis_says(BUS_TEXT, OTHER " {}\n" THIRD " {}");
    say(OTHER, 1, "{}");
    int64_t before = clock_now_ms();
    while (ends == 0)
        event_base_loop(net.base, EVLOOP_ONCE);
    int64_t took = clock_now_ms() - before;
    assert_true(took >= CLUSTER_ANSWER_MS - 20 && took < 10 * CLUSTER_ANSWER_MS);
    assert_string_equal(buf_cstr(&heard),
                        OTHER " registered {}\n" THIRD " registered \n");
}

static void test_strangers_count_but_nobody_waits_for_them(UNUSED void **state)
{
    ask();
    say(THIRD, 1, "{}");
    redis_says(BUS_TEXT, OTHER " {}");
    say(OTHER, 1, "{}");
    assert_int_equal(ends, 1);
    assert_string_equal(buf_cstr(&heard),
                        THIRD " stranger {}\n" OTHER " registered {}\n");
}

static void test_redis_does_not_do_it(UNUSED void **state)
{
    ask();
    redis_says(BUS_ERROR, "NOPERM");
    assert_true(ends == 1 && str_is(buf_view(&heard), "why 3"));
    ask();
    while (ends == 0) /* no word at all */
        event_base_loop(net.base, EVLOOP_ONCE);
    assert_int_equal(ends, 1);
    assert_string_equal(buf_cstr(&heard), "why 5");
    while (bus.calls_n > 0)
        redis_says(BUS_TEXT, OTHER " {}"); /* it comes after all */
    assert_int_equal(ends, 1);
    bus_fake_down(&bus);
    ask();
    assert_int_equal(ends, 1);
    assert_string_equal(buf_cstr(&heard), "why 4");
}

static void test_not_too_many(UNUSED void **state)
{
    static const struct cluster_question q = {CLUSTER_STATS, STR_NONE, STR_NONE, 1};
    while (bus.calls_n > 0)
        redis_says(BUS_TEXT, "");
    for (unsigned i = 0; i < CLUSTER_ASKS_MAX; i++)
        assert_true(cluster_ask(cluster, &q, on_answered, NULL));
    assert_false(cluster_ask(cluster, &q, on_answered, NULL));
    assert_int_equal(ends, 0);
    redis_says(BUS_TEXT, ""); /* nobody is there: that is an answer */
    assert_int_equal(ends, 1);
    assert_int_equal(heard.n, 0);
    assert_true(cluster_ask(cluster, &q, on_answered, NULL));
}

/* Answers are kept until the last one is there: not more than there is room for. */
static void test_answers_have_a_limit(UNUSED void **state)
{
    enum { BIG = 1 << 20 };
    unsigned most = CLUSTER_HELD_MAX / BIG, taken = 0;
    struct buf payload = {0};
    char own[64];
    snprintf(own, sizeof(own), "heliod:w:%s", id());
    for (int round = 0; round < 2; round++) { /* what was held is given back */
        ask();
        redis_says(BUS_TEXT, OTHER " {}");
        for (unsigned i = 0; i < most + 5; i++) {
            buf_clear(&payload);
            buf_printf(&payload,
                       "{\"ask\":%d,\"from\":\"33333333-3333-4333-8333-%012u\","
                       "\"about\":{},\"answer\":{\"x\":\"%0*d\"}}",
                       round + 1, i, BIG - 8, 0);
            bus_fake_receive(&bus, own, buf_cstr(&payload));
        }
        while (ends == 0)
            event_base_loop(net.base, EVLOOP_ONCE);
        taken = 0;
        for (const char *p = buf_cstr(&heard); (p = strstr(p, " stranger {")); p++)
            taken++;
        assert_int_equal(taken, most);
    }
    buf_free(&payload);
}

static void test_end_with_questions_under_way(UNUSED void **state)
{
    ask();
    ask();
    redis_says(BUS_TEXT, OTHER " {}");
    cluster_free(cluster);
    cluster = NULL;
    assert_int_equal(ends, 1);
    assert_string_equal(buf_cstr(&heard), "why 4");
}

static void test_questions_are_answered(UNUSED void **state)
{
    char want[128];
    while (bus.calls_n > 0)
        redis_says(BUS_TEXT, "");
    buf_clear(&bus.log);
    bus_fake_receive(&bus, "heliod:w",
                     "{\"limit\":1000,\"from\":\"" OTHER "\",\"ask\":5,\"what\":\"room\","
                     "\"name\":\"\\u00e9\",\"after\":\"x\",\"later\":1}");
    assert_string_equal(buf_cstr(&asked), "1 é x 1000;");
    snprintf(want, sizeof(want), "P heliod:w:" OTHER " {\"ask\":5,\"from\":\"%s\"", id());
    assert_true(log_has(want) && log_has("\"answer\":{\"closed\":7}}"));
    assert_int_equal(counters.bus_malformed, 0);
}

#define FROM "\"from\":\"" OTHER "\""
static void test_nonsense(UNUSED void **state)
{
    static const char *const questions[] = {
        "",
        "[]",
        "{}",
        "{\"from\":\"x\",\"ask\":5,\"what\":\"room\",\"name\":\"\",\"after\":\"\","
        "\"limit\":1}",
        "{" FROM
        ",\"ask\":-5,\"what\":\"room\",\"name\":\"\",\"after\":\"\",\"limit\":1}",
        "{" FROM ",\"ask\":5,\"what\":\"fire\",\"name\":\"\",\"after\":\"\",\"limit\":1}",
        "{" FROM ",\"ask\":5,\"what\":1,\"name\":\"\",\"after\":\"\",\"limit\":1}",
        "{" FROM ",\"ask\":5,\"what\":\"room\",\"name\":1,\"after\":\"\",\"limit\":1}",
        "{" FROM ",\"ask\":5,\"what\":\"room\",\"name\":\"\",\"limit\":1}",
        "{" FROM ",\"ask\":5,\"what\":\"room\",\"name\":\"\",\"after\":\"\",\"limit\":0}",
        "{" FROM ",\"ask\":5,\"what\":\"room\",\"name\":\"\",\"after\":\"\",\"limit\":"
        "1001}",
        "{\"from\":\"" OTHER "\\u0000\",\"ask\":5,\"what\":\"room\",\"name\":\"\","
        "\"after\":\"\",\"limit\":1}",
    };
    static const char *const answers[] = {
        "",
        "5",
        "{\"ask\":1}",
        "{\"ask\":1," FROM ",\"about\":{},\"answer\":5}",
        "{\"ask\":1," FROM ",\"about\":[],\"answer\":{}}",
        "{\"ask\":\"1\"," FROM ",\"about\":{},\"answer\":{}}",
        "{\"ask\":1,\"from\":\"..\",\"about\":{},\"answer\":{}}",
        "{\"ask\":99999999999999999999," FROM ",\"about\":{},\"answer\":{}}",
    };
    char own[64];
    ask();
    redis_says(BUS_TEXT, OTHER " {}");
    buf_clear(&bus.log);
    for (size_t i = 0; i < ARRAY_LEN(questions); i++)
        bus_fake_receive(&bus, "heliod:w", questions[i]);
    snprintf(own, sizeof(own), "heliod:w:%s", id());
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        bus_fake_receive(&bus, own, answers[i]);
    assert_int_equal(counters.bus_malformed, ARRAY_LEN(questions) + ARRAY_LEN(answers));
    assert_int_equal(asked.n + bus.log.n + ends, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_registers_behind_its_subscriptions),
        TEST(test_renews_after_a_full_queue),
        TEST(test_leaves),
        TEST(test_ends_when_all_have_answered),
        TEST(test_time_is_up),
        TEST(test_strangers_count_but_nobody_waits_for_them),
        TEST(test_redis_does_not_do_it),
        TEST(test_not_too_many),
        TEST(test_answers_have_a_limit),
        TEST(test_end_with_questions_under_way),
        TEST(test_questions_are_answered),
        TEST(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
