// floors: hub
#include "worker/hub/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define UUID "11111111-2222-4333-8444-555555555555"
#define OTHER "99999999-2222-4333-8444-555555555555"

static void check(const struct buf *b, const char *expected)
{
    assert_int_equal(b->n, strlen(expected));
    assert_memory_equal(b->p, expected, b->n);
}

/* PROTOCOL A8, row by row. */
static const struct {
    const char *server_id, *channel, *payload;
    struct hub_event ev;
} rows[] = {
    {"emitter",
     "ws:client:c1",
     "{\"serverId\":\"emitter\",\"type\":\"client\",\"target\":\"c1\",\"event\":\"x\","
     "\"data\":null}",
     {HUB_CLIENT, STR("c1"), STR("\"x\""), STR("null")}},
    {"emitter",
     "ws:user:u1",
     "{\"serverId\":\"emitter\",\"type\":\"user\",\"target\":\"u1\",\"event\":\"x\"}",
     {HUB_USER, STR("u1"), STR("\"x\"")}},
    {"emitter",
     "ws:room:ws-default",
     "{\"serverId\":\"emitter\",\"type\":\"room\",\"target\":\"ws-default\",\"event\":"
     "\"x\","
     "\"data\":{\"a\":1},\"exclude\":[\"z\"]}",
     {HUB_ROOM, STR("ws-default"), STR("\"x\""), STR("{\"a\":1}"), STR("[\"z\"]")}},
    {"emitter",
     "ws:broadcast",
     "{\"serverId\":\"emitter\",\"type\":\"broadcast\",\"event\":\"x\",\"data\":\"é\"}",
     {HUB_BROADCAST, {0}, STR("\"x\""), STR("\"é\"")}},
    {UUID,
     "ws:room:public-rr",
     "{\"serverId\":\"" UUID
     "\",\"type\":\"room\",\"target\":\"public-rr\",\"event\":\"news\","
     "\"data\":\"text\"}",
     {HUB_ROOM, STR("public-rr"), STR("\"news\""), STR("\"text\"")}},
    {UUID,
     "ws:broadcast",
     "{\"serverId\":\"" UUID
     "\",\"type\":\"broadcast\",\"event\":\"news\",\"data\":{\"n\":1}}",
     {HUB_BROADCAST, {0}, STR("\"news\""), STR("{\"n\":1}")}},
    /* names are escaped, raw parts are not touched */
    {UUID,
     "ws:room:a\"\\\n",
     "{\"serverId\":\"" UUID
     "\",\"type\":\"room\",\"target\":\"a\\\"\\\\\\n\",\"event\":\"\\u0061\","
     "\"data\": [1e400 ,9007199254740993] }",
     {HUB_ROOM, STR("a\"\\\n"), STR("\"\\u0061\""), STR(" [1e400 ,9007199254740993] ")}},
};

static void writes_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        envelope_channel(&b, rows[i].ev.kind, rows[i].ev.target);
        check(&b, rows[i].channel);
        buf_clear(&b);
        envelope_write(&b, str_of(rows[i].server_id), &rows[i].ev);
        check(&b, rows[i].payload);
        buf_free(&b);
    }
}

static void reads_what_it_writes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf scratch = {0};
        struct envelope e;
        const char *why = NULL;
        struct str payload = str_of(rows[i].payload), own = str_of(rows[i].server_id);
        assert_int_equal(envelope_read(payload, STR(OTHER), &scratch, &e, &why),
                         ENVELOPE_OK);
        assert_int_equal(e.kind, rows[i].ev.kind);
        assert_true(str_eq(e.target, rows[i].ev.target));
        assert_true(str_eq(e.event_json, rows[i].ev.event_json));
        assert_true(str_eq(e.data_json, str_trim(rows[i].ev.data_json)));
        assert_true(!e.data_json.p == !rows[i].ev.data_json.p);
        assert_true(str_eq(e.exclude_json, rows[i].ev.exclude_json));
        assert_int_equal(envelope_read(payload, own, &scratch, &e, &why), ENVELOPE_OWN);
        buf_free(&scratch);
    }
}

/* except: its id joins the list, for the kinds that know one. */
static void excludes_by_id(void **state)
{
    static const struct {
        enum hub_kind kind;
        const char *given, *expected;
    } cases[] = {
        {HUB_ROOM, NULL, ",\"exclude\":[\"" UUID "\"]}"},
        {HUB_ROOM, "[]", ",\"exclude\":[\"" UUID "\"]}"},
        {HUB_ROOM, "[ \"a\" , 1]", ",\"exclude\":[\"" UUID "\",\"a\",1]}"},
        {HUB_BROADCAST, "{\"length\":3}", ",\"exclude\":[\"" UUID "\"]}"},
        {HUB_USER, NULL, "\"event\":\"x\"}"},
        {HUB_CLIENT, "[\"a\"]", ",\"exclude\":[\"a\"]}"},
    };
    struct conn *c = calloc(1, sizeof(*c));
    (void)state;
    assert_true(uuid_parse(STR(UUID), &c->st.uuid));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = {0};
        struct hub_event ev = {cases[i].kind,          STR("t"), STR("\"x\""), STR_NONE,
                               str_of(cases[i].given), c};
        envelope_write(&b, STR("s"), &ev);
        assert_true(str_ends(buf_view(&b), str_of(cases[i].expected)));
        buf_free(&b);
    }
    free(c);
}

static void delivers_event_and_data_only(void **state)
{
    static const struct {
        const char *event, *data, *expected;
    } cases[] = {
        {"\"x\"", NULL, "{\"event\":\"x\"}"},
        {"\"\"", "null", "{\"event\":\"\",\"data\":null}"},
        {"\"x\"", "false", "{\"event\":\"x\",\"data\":false}"},
        {"\"x\"", "{ \"a\" : 1.0 }", "{\"event\":\"x\",\"data\":{ \"a\" : 1.0 }}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = {0};
        envelope_delivery(&b, str_of(cases[i].event), str_of(cases[i].data));
        check(&b, cases[i].expected);
        buf_free(&b);
    }
}

/* What a receiver takes. */
static void accepts(void **state)
{
    static const struct {
        const char *payload, *target, *data, *exclude;
        enum hub_kind kind;
    } cases[] = {
        {" {\"exclude\" : null, \"data\" :\t0 , "
         "\"event\":\"\",\"type\":\"user\",\"x\":[1],"
         "\"target\":\"u\\u00e9\\/\" ,\"serverId\":\"s\"} \n",
         "ué/", "0", "null", HUB_USER},
        {"{\"serverId\":\"\",\"type\":\"broadcast\",\"target\":5,\"event\":\"e\"}", "",
         NULL, NULL, HUB_BROADCAST},
        {"{\"serverId\":\"s\",\"type\":\"room\",\"target\":\"a\",\"target\":\"b\","
         "\"event\":\"e\","
         "\"exclude\":{\"length\":1}}",
         "b", NULL, "{\"length\":1}", HUB_ROOM},
        {"{\"serverId\":\"s\",\"t\\u0079pe\":\"cl\\u0069ent\",\"target\":\"c\",\"event\":"
         "\"e\"}",
         "c", NULL, NULL, HUB_CLIENT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf scratch = {0};
        struct envelope e;
        const char *why = NULL;
        assert_int_equal(
            envelope_read(str_of(cases[i].payload), STR(UUID), &scratch, &e, &why),
            ENVELOPE_OK);
        assert_int_equal(e.kind, cases[i].kind);
        assert_true(str_is(e.target, cases[i].target));
        assert_true(str_eq(e.data_json, str_of(cases[i].data)));
        assert_true(str_eq(e.exclude_json, str_of(cases[i].exclude)));
        buf_free(&scratch);
    }
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "nonsense",
        "null",
        "[]",
        "\"x\"",
        "{}",
        "{\"serverId\":\"s\"}",
        "{\"event\":\"e\",\"type\":\"broadcast\"}",
        "{\"serverId\":5,\"event\":\"e\",\"type\":\"broadcast\"}",
        "{\"serverId\":\"s\",\"event\":null,\"type\":\"broadcast\"}",
        "{\"serverId\":\"s\",\"event\":\"e\"}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":\"Broadcast\"}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":\"rooms\",\"target\":\"r\"}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":3,\"target\":\"r\"}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":\"room\"}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":\"room\",\"target\":\"\"}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":\"room\",\"target\":[\"r\"]}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":\"user\",\"target\":7}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":\"broadcast\",\"data\":NaN}",
        "{\"serverId\":\"s\",\"event\":\"e\",\"type\":\"broadcast\"} x",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf scratch = {0};
        struct envelope e;
        const char *why = NULL;
        assert_int_equal(envelope_read(str_of(bad[i]), STR(UUID), &scratch, &e, &why),
                         ENVELOPE_BAD);
        assert_non_null(why);
        buf_free(&scratch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_table),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(excludes_by_id),
        cmocka_unit_test(delivers_event_and_data_only),
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
