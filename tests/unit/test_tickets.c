// floors: hub
#include "worker/hub/tickets.h"

#include "common/digest.h"
#include "tests/unit/bus_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct counters counters;
static struct net net;
static struct hub *hub;
static struct bus_fake bus;
static struct conf *conf;
static struct err e;
static struct buf said; /* ticket or user; "-": none */
static enum bus_reply_type why;
static unsigned told;

static const struct bus_reply ok = {.type = BUS_TEXT, .text = STR("OK")};

static void tell(struct str text, const struct bus_reply *r)
{
    buf_clear(&said);
    buf_str(&said, text.p ? text : STR("-"));
    why = r->type;
    told++;
}

static void on_minted(UNUSED void *ctx, struct str ticket, const struct bus_reply *r)
{
    tell(ticket, r);
}

static void on_redeemed(UNUSED void *ctx, struct str user, const struct bus_reply *r)
{
    tell(user, r);
}

static void endpoint(unsigned i, const char *path, const char *protocol)
{
    char key[64];
    snprintf(key, sizeof(key), "endpoints[%u].path", i);
    assert_int_equal(conf_set(conf, key, str_of(path), 0, &e), 0);
    snprintf(key, sizeof(key), "endpoints[%u].protocol", i);
    assert_int_equal(conf_set(conf, key, str_of(protocol), 0, &e), 0);
}

static int setup(UNUSED void **state)
{
    struct event_base *base = event_base_new();
    assert_int_equal(net_init(&net, base, &counters, &e), 0);
    hub = hub_new(&net, NULL);
    bus_fake_init(&bus, &hub_bus_events, hub);
    bus.prefix = STR("site:");
    hub_set_bus(hub, &bus.bus, 1000);
    bus_fake_up(&bus);
    conf = conf_new();
    endpoint(0, "/ws", "events");
    endpoint(1, "/call/{room}/{role}", "signaling");
    endpoint(2, "/bell/", "notifications");
    endpoint(3, "/echo", "echo");
    return 0;
}

static int teardown(UNUSED void **state)
{
    struct event_base *base = net.base;
    net_fini(&net);
    hub_free(hub);
    buf_free(&bus.log);
    buf_free(&said);
    conf_unref(conf);
    event_base_free(base);
    return 0;
}

static int mint(const char *text)
{
    told = 0;
    e.text[0] = 0;
    buf_clear(&bus.log);
    return ticket_mint(hub, &conf->main, str_of(text), on_minted, NULL, &e);
}

static void redeem(struct str ticket, const char *at)
{
    told = 0;
    buf_clear(&bus.log);
    ticket_redeem(hub, ticket, str_of(at), on_redeemed, NULL);
}

/* As Redis may know it. */
static void key_of(struct str ticket, struct buf *out)
{
    uint8_t hash[DIGEST_SHA256];
    digest_sha256(ticket, hash);
    buf_clear(out);
    buf_str(out, STR("site:heliod:ticket:"));
    buf_hex(out, hash, sizeof(hash));
}

static void test_good_orders(UNUSED void **state)
{
    static const struct {
        const char *text, *value_and_ttl;
    } rows[] = {
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\"}",
         "{\"user\":\"u\",\"endpoint\":\"/bell/\"} 30000"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell\",\"ttl\":1}",
         "{\"user\":\"u\",\"endpoint\":\"/bell/\"} 1000"},
        {" {\"ttl\":3600,\"endpoint\":\"/call/{room}/"
         "{role}\",\"\\u0075ser\":\"\\u00e9\\\"\"}",
         "{\"user\":\"é\\\"\",\"endpoint\":\"/call/{room}/{role}\"} 3600000"},
    };
    struct buf key = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (mint(rows[i].text) != 0)
            fail_msg("%s: %s", rows[i].text, e.text);
        assert_int_equal(told, 0);
        bus_fake_answer(&bus, ok);
        assert_int_equal(told, 1);
        assert_true(ticket_is(buf_view(&said)) && said.n == 46);
        key_of(buf_view(&said), &key);
        const char *log = buf_cstr(&bus.log);
        if (!strstr(log, buf_cstr(&key)) || !strstr(log, rows[i].value_and_ttl))
            fail_msg("%s: %s", rows[i].text, log);
        if (strstr(log, buf_cstr(&said)))
            fail_msg("the ticket itself went to Redis: %s", log);
    }
    buf_free(&key);
}

static void test_bad_orders(UNUSED void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "it is not JSON"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\",\"ttl\":01}", "it is not JSON"},
        {"[]", "it is not a JSON object"},
        {"{}", "`user` is not a text"},
        {"{\"user\":5,\"endpoint\":\"/bell/\"}", "`user` is not a text"},
        {"{\"user\":\"\",\"endpoint\":\"/bell/\"}", "`user` is not a text"},
        {"{\"user\":\"u\"}", "`endpoint` is not a text"},
        {"{\"user\":\"u\",\"endpoint\":null}", "`endpoint` is not a text"},
        {"{\"user\":\"u\",\"endpoint\":\"/b\\u001b[2J\"}",
         "no endpoint is configured at /b\\x1b[2J"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell//\"}", "no endpoint is configured at"},
        {"{\"user\":\"u\",\"endpoint\":\"/call/a/b\"}", "no endpoint is configured at"},
        {"{\"user\":\"u\",\"endpoint\":\"/ws\"}", "takes no token in its handshake"},
        {"{\"user\":\"u\",\"endpoint\":\"/echo\"}", "takes no token in its handshake"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\",\"ttl\":0}", "from 1 to 3600"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\",\"ttl\":3601}", "from 1 to 3600"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\",\"ttl\":1.0}", "from 1 to 3600"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\",\"ttl\":-1}", "from 1 to 3600"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\",\"ttl\":\"30s\"}", "from 1 to 3600"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\",\"ttl\":null}", "from 1 to 3600"},
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\",\"TTL\":1}", "it has `TTL`"},
    };
    struct buf text = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(mint(rows[i].text), -1);
        if (!strstr(e.text, rows[i].why))
            fail_msg("%s: %s", rows[i].text, e.text);
        assert_int_equal(bus.log.n + bus.calls_n + told, 0);
    }
    buf_printf(&text, "{\"endpoint\":\"/bell/\",\"user\":\"%0*d\"}", TICKET_USER_MAX + 1,
               0);
    assert_int_equal(mint(buf_cstr(&text)), -1);
    assert_non_null(strstr(e.text, "`user` is longer than 512 bytes"));
    buf_free(&text);
}

static void test_no_two_alike(UNUSED void **state)
{
    struct buf first = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mint("{\"user\":\"u\",\"endpoint\":\"/bell/\"}"), 0);
        bus_fake_answer(&bus, ok);
        assert_false(str_eq(buf_view(&said), buf_view(&first)));
        buf_str(&first, buf_view(&said));
    }
    buf_free(&first);
}

static void test_redis_away(UNUSED void **state)
{
    static const struct bus_reply replies[] = {
        {.type = BUS_ERROR, .text = STR("OOM")},
        {.type = BUS_UNCERTAIN},
        {.type = BUS_DOWN},
        {.type = BUS_NIL},
    };
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        assert_int_equal(mint("{\"user\":\"u\",\"endpoint\":\"/bell/\"}"), 0);
        bus_fake_answer(&bus, replies[i]);
        assert_true(told == 1 && str_is(buf_view(&said), "-"));
        assert_int_equal(why, replies[i].type);
        redeem(STR("tk_0000000000000000000000000000000000000000000"), "/bell/");
        bus_fake_answer(&bus, replies[i]);
        assert_true(told == 1 && str_is(buf_view(&said), "-"));
        assert_int_equal(why, replies[i].type);
    }
    bus.refuses = true;
    assert_int_equal(mint("{\"user\":\"u\",\"endpoint\":\"/bell/\"}"), 0);
    bus.refuses = false;
    assert_true(told == 1 && str_is(buf_view(&said), "-") && why == BUS_DOWN);
}

static void test_redeem(UNUSED void **state)
{
    static const struct {
        const char *kept, *user;
    } rows[] = {
        {"{\"user\":\"u\",\"endpoint\":\"/bell/\"}", "u"},
        {"{\"user\":\"\\u00e9\\\"\",\"endpoint\":\"\\/bell\\/\"}", "é\""},
        {"{\"user\":\"u\",\"endpoint\":\"/bell\"}", "-"},
        {"{\"user\":\"u\",\"endpoint\":\"/call/{room}/{role}\"}", "-"},
        {"{\"user\":\"\",\"endpoint\":\"/bell/\"}", "-"},
        {"{\"user\":7,\"endpoint\":\"/bell/\"}", "-"},
        {"{\"endpoint\":\"/bell/\"}", "-"},
        {"[]", "-"},
        {"garbage", "-"},
        {"", "-"},
    };
    struct buf key = {0};
    struct str ticket = STR("tk_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop-");
    assert_int_equal(ticket.n, 46);
    key_of(ticket, &key);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        redeem(ticket, "/bell/");
        assert_int_equal(told, 0);
        assert_non_null(strstr(buf_cstr(&bus.log), buf_cstr(&key)));
        bus_fake_answer(&bus, (struct bus_reply){BUS_TEXT, str_of(rows[i].kept), 0});
        assert_int_equal(told, 1);
        if (!str_is(buf_view(&said), rows[i].user))
            fail_msg("%s: %s", rows[i].kept, buf_cstr(&said));
        assert_int_equal(why, str_is(buf_view(&said), "-") ? BUS_NIL : BUS_TEXT);
    }
    buf_free(&key);
}

/* What cannot be one is no question for Redis. */
static void test_none_of_ours(UNUSED void **state)
{
    static const char *const tokens[] = {
        "", "tk_", "tk_short", "TK_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop-",
        "tk_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop-x"};
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        redeem(str_of(tokens[i]), "/bell/");
        assert_true(told == 1 && str_is(buf_view(&said), "-") && why == BUS_NIL);
        assert_int_equal(bus.log.n + bus.calls_n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_orders),  cmocka_unit_test(test_bad_orders),
        cmocka_unit_test(test_no_two_alike), cmocka_unit_test(test_redis_away),
        cmocka_unit_test(test_redeem),       cmocka_unit_test(test_none_of_ours),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
