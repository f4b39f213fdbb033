// floors: hub
#include "worker/hub/publication.h"

#include "common/scan.h"
#include "tests/unit/bus_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct counters counters;
static struct net net;
static struct hub *hub;
static struct bus_fake bus;
static struct err e;
static int answers;

static void on_answer(UNUSED void *ctx, UNUSED bool ok, UNUSED const char *why)
{
    answers++;
}

static int setup(UNUSED void **state)
{
    struct event_base *base = event_base_new();
    assert_int_equal(net_init(&net, base, &counters, &e), 0);
    hub = hub_new(&net, NULL);
    bus_fake_init(&bus, &hub_bus_events, hub);
    hub_set_bus(hub, &bus.bus, 1000);
    bus_fake_up(&bus);
    return 0;
}

static int teardown(UNUSED void **state)
{
    struct event_base *base = net.base;
    net_fini(&net);
    hub_free(hub);
    buf_free(&bus.log);
    event_base_free(base);
    return 0;
}

static int try(const char *text)
{
    answers = 0;
    e.text[0] = 0;
    buf_clear(&bus.log);
    return publication_send(hub, str_of(text), on_answer, NULL, &e);
}

static void test_good(UNUSED void **state)
{
    static const struct {
        const char *text, *envelope;
    } rows[] = {
        {"{\"to\":{\"room\":\"a\"},\"event\":\"x\"}",
         "{\"serverId\":\"heliod\",\"type\":\"room\",\"target\":\"a\",\"event\":\"x\"}"},
        {" {\"data\" : [1, 2] ,\"event\":\"x\",\"to\":{\"user\":\"\\u0061\"}}",
         "{\"serverId\":\"heliod\",\"type\":\"user\",\"target\":\"a\",\"event\":\"x\","
         "\"data\":[1, 2]}"},
        {"{\"to\":{\"client\":\"c\"},\"event\":\"x\",\"data\":null}",
         "{\"serverId\":\"heliod\",\"type\":\"client\",\"target\":\"c\",\"event\":\"x\","
         "\"data\":null}"},
        {"{\"\\u0074o\":{\"broadcast\":true},\"event\":\"x\",\"exclude\":[\"i\"]}",
         "{\"serverId\":\"heliod\",\"type\":\"broadcast\",\"event\":\"x\",\"exclude\":["
         "\"i\"]}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (try(rows[i].text) != 0)
            fail_msg("%s: %s", rows[i].text, e.text);
        if (!strstr(buf_cstr(&bus.log), rows[i].envelope))
            fail_msg("%s: %s", rows[i].text, buf_cstr(&bus.log));
        assert_int_equal(answers, 0);
    }
}

static void test_bad(UNUSED void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "it is not JSON"},
        {"{", "it is not JSON"},
        {"[]", "it is not a JSON object"},
        {"{}", "`to` is not an object"},
        {"{\"to\":\"a\",\"event\":\"x\"}", "`to` is not an object"},
        {"{\"to\":{\"room\":\"a\"}}", "`event` is not a text"},
        {"{\"to\":{\"room\":\"a\"},\"event\":\"\"}", "`event` is not a text"},
        {"{\"to\":{\"room\":\"a\"},\"event\":1}", "`event` is not a text"},
        {"{\"to\":{},\"event\":\"x\"}", "must name one of"},
        {"{\"to\":{\"room\":\"\"},\"event\":\"x\"}", "must name one of"},
        {"{\"to\":{\"room\":1},\"event\":\"x\"}", "must name one of"},
        {"{\"to\":{\"broadcast\":false},\"event\":\"x\"}", "must name one of"},
        {"{\"to\":{\"room\":\"a\",\"user\":\"b\"},\"event\":\"x\"}", "must name one of"},
        {"{\"to\":{\"room\":\"a\",\"rooms\":1},\"event\":\"x\"}", "it has `to.rooms`"},
        {"{\"to\":{\"room\":\"a\"},\"evnt\":1,\"event\":\"x\",\"ID\":2}",
         "it has `evnt`, `ID`, which"},
        {"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1}", "`a`, `b`, `c` and 2 more, which"},
        {"{\"\\u001b[2J\":1}", "`\\x1b[2J`"},
        {"{\"to\":{\"room\":\"a\"},\"event\":\"x\",\"exclude\":\"i\"}",
         "`exclude` is not a list"},
        {"{\"to\":{\"room\":\"a\"},\"event\":\"x\",\"exclude\":null}",
         "`exclude` is not a list"},
        {"{\"to\":{\"room\":\"a\"},\"event\":\"x\",\"exclude\":[\"i\",1]}",
         "`exclude` holds something"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(try(rows[i].text), -1);
        if (!strstr(e.text, rows[i].why))
            fail_msg("%s: %s", rows[i].text, e.text);
        assert_int_equal(bus.log.n + (size_t)answers, 0);
    }
}

/* What a back end's answer says besides is no business of ours. */
static void test_read_is_lenient(UNUSED void **state)
{
    struct hub_event ev;
    struct buf scratch = {0};
    struct str text = STR("{\"to\":{\"room\":\"a\",\"n\":1},\"event\":\"x\",\"id\":5,"
                          "\"exclude\":7}");
    assert_int_equal(scan_text(text, NULL, 0), SCAN_OBJECT);
    assert_int_equal(publication_read(text, &ev, &scratch, &e), 0);
    assert_int_equal(ev.kind, HUB_ROOM);
    assert_true(str_is(ev.target, "a") && str_is(ev.event_json, "\"x\"") &&
                !ev.data_json.p && str_is(ev.exclude_json, "7"));
    buf_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_read_is_lenient),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
