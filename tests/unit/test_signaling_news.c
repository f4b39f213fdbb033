// floors: protocols
#include "worker/protocols/signaling_news.h"
#include "worker/protocols/signaling_roster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define A "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
#define B "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
#define W "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
#define PEER_A A "/doctor/" W "/0"
#define PEER_B B "/patient/" W "/1006"

static enum news_type type_of(const char *line)
{
    struct news n;
    return news_read(str_of(line), &n);
}

static void assert_id(const struct uuid *id, const char *want)
{
    char text[UUID_TEXT + 1];
    uuid_text(id, text);
    assert_string_equal(text, want);
}

static void good_lines(UNUSED void **state)
{
    struct news n;
    struct news_peer p;
    assert_int_equal(news_read(STR("in " A " - " PEER_A " " PEER_B), &n), NEWS_IN);
    assert_id(&n.id, A);
    assert_false(n.has_was);
    assert_true(news_next_peer(&n.peers, &p));
    assert_id(&p.id, A);
    assert_id(&p.worker, W);
    assert_true(str_is(p.role, "doctor"));
    assert_int_equal(p.code, 0);
    assert_true(news_next_peer(&n.peers, &p));
    assert_true(str_is(p.role, "patient"));
    assert_int_equal(p.code, 1006);
    assert_false(news_next_peer(&n.peers, &p));

    assert_int_equal(news_read(STR("in " A " " B " " PEER_A), &n), NEWS_IN);
    assert_true(n.has_was);
    assert_id(&n.was, B);
    assert_int_equal(news_read(STR("all "), &n), NEWS_ALL);
    assert_false(news_next_peer(&n.peers, &p));
    assert_int_equal(type_of("all " PEER_B), NEWS_ALL);
    assert_int_equal(news_read(STR("out " A " 4410 replaced"), &n), NEWS_OUT);
    assert_int_equal(n.code, 4410);
    assert_true(str_is(n.reason, "replaced"));
    assert_int_equal(news_read(STR("away " A " 30000"), &n), NEWS_AWAY);
    assert_int_equal(n.ms, 30000);
    assert_int_equal(news_read(STR("say " W " " A " -\n{\"type\":\"x\"}"), &n), NEWS_SAY);
    assert_false(n.has_to);
    assert_true(str_is(n.json, "{\"type\":\"x\"}"));
    assert_int_equal(news_read(STR("probe r1 " A " " W " " B), &n), NEWS_PROBE);
    assert_true(str_is(n.room, "r1"));
    assert_id(&n.id, A);
    assert_id(&n.worker, W);
    assert_id(&n.to, B);
}

static void bad_lines(UNUSED void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "x",
        "in",
        "in ",
        "in " A,
        "in " A " -",
        "in " A " - ",
        "in " A " - " PEER_B, /* not in its own list */
        "in " A " - " PEER_A " ",
        "in " A " x " PEER_A,
        "in AAAAAAAA-aaaa-4aaa-8aaa-aaaaaaaaaaaa - " PEER_A,
        "all",
        "all  " PEER_A,
        "all " A "/doctor/" W,
        "all " A "/doctor/" W "/",
        "all " A "/doctor/" W "/5000",
        "all " A "/doctor/" W "/-1",
        "all " A "/doc:tor/" W "/0",
        "all " A "//" W "/0",
        "all " A "/doctor/x/0",
        "out " A,
        "out " A " 1000",
        "out " A " 1000 ",
        "out " A " 1000 bored",
        "out " A " 1000 left ",
        "out " A " x left",
        "away " A,
        "away " A " ",
        "away " A " 86400001",
        "say " W " " A " -",
        "say " W " " A " -\n",
        "say " W " " A " -\n[]",
        "say " W " " A " -\n{\"a\":NaN}",
        "say " W " " A " -\n{}",
        "say " W " " A " -\n{\"type\":\"user-left\"}",
        "say " W " " A " -\n{\"type\":\"ping\"}",
        "say " W " " A " - \n{\"type\":\"x\"}",
        "say " W " " A "\n{\"type\":\"x\"}",
        "say " W " -\n{\"type\":\"x\"}",
        "probe r1 " A " " W,
        "probe r:1 " A " " W " " B,
        "probe  " A " " W " " B,
        "alive r1 " A,
        "gone r1 " A " " B " ",
        "IN " A " - " PEER_A,
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (type_of(bad[i]) != NEWS_BAD)
            fail_msg("taken for good: %s", bad[i]);
    }
}

static void too_many_peers(UNUSED void **state)
{
    struct buf b = {0};
    buf_str(&b, STR("all"));
    for (size_t i = 0; i < 256; i++)
        buf_str(&b, STR(" " PEER_A));
    assert_int_equal(type_of(buf_cstr(&b)), NEWS_ALL);
    buf_str(&b, STR(" " PEER_A));
    assert_int_equal(type_of(buf_cstr(&b)), NEWS_BAD);
    buf_free(&b);
}

static void what_is_written_is_read(UNUSED void **state)
{
    struct uuid id, to;
    struct news n;
    struct buf b = {0};
    uuid_make(&id);
    uuid_make(&to);
    news_write_say(&b, STR(W), &id, &to, STR("{\"type\":\"a\\nb\"}"));
    assert_int_equal(news_read(buf_view(&b), &n), NEWS_SAY);
    assert_id(&n.worker, W);
    assert_memory_equal(n.id.b, id.b, sizeof(id.b));
    assert_true(n.has_to);
    assert_memory_equal(n.to.b, to.b, sizeof(to.b));
    buf_clear(&b);
    news_write_say(&b, STR(W), &id, NULL, STR("{\"type\":\"x\"}"));
    assert_int_equal(news_read(buf_view(&b), &n), NEWS_SAY);
    assert_false(n.has_to);
    static const enum news_type answers[] = {NEWS_ALIVE, NEWS_GONE};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        buf_clear(&b);
        news_write_answer(&b, answers[i], STR("r.1~_-"), &id, &to);
        assert_int_equal(news_read(buf_view(&b), &n), answers[i]);
        assert_true(str_is(n.room, "r.1~_-"));
        assert_memory_equal(n.id.b, id.b, sizeof(id.b));
        assert_memory_equal(n.to.b, to.b, sizeof(to.b));
    }
    buf_free(&b);
}

static void the_roster(UNUSED void **state)
{
    struct roster r = {0};
    struct uuid id[20], worker;
    uuid_make(&worker);
    for (size_t i = 0; i < ARRAY_LEN(id); i++) {
        uuid_make(&id[i]);
        assert_null(roster_find(&r, &id[i]));
        roster_put(&r, &id[i], &worker, STR("any"))->code = (uint16_t)i;
    }
    assert_int_equal(r.n, ARRAY_LEN(id));
    assert_int_equal(roster_put(&r, &id[3], &worker, STR("other"))->code, 3);
    assert_string_equal(roster_find(&r, &id[3])->role, "any"); /* it stays what it was */
    for (size_t i = 0; i < ARRAY_LEN(id); i += 2)
        roster_remove(&r, roster_find(&r, &id[i]));
    assert_int_equal(r.n, ARRAY_LEN(id) / 2);
    for (size_t i = 0; i < r.n; i++) /* in order */
        assert_int_equal(r.v[i].code, 2 * i + 1);
    r.v[4].is_marked = true;
    roster_unmark(&r);
    assert_false(r.v[4].is_marked);
    roster_free(&r);
    assert_null(roster_find(&r, &id[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines),     cmocka_unit_test(bad_lines),
        cmocka_unit_test(too_many_peers), cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_roster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
