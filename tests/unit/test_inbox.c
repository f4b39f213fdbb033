// floors: hub
/* What is to be notified is read strictly and forwarded as it came; what Redis says is
 * judged; entries of the stream. */
#include "bus_fake.h"
#include "worker/hub/inbox_notice.h"
#include "worker/hub/inbox_post.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- notices ---- */

static const struct {
    const char *text, *users, *id, *members; /* users: joined by blanks */
} good[] = {
    {"{\"user\":\"a\",\"notification\":{\"id\":\"i\"}}", "a", "i", ""},
    {"{\"notification\":{\"id\":\"i\",\"n\":1.0e+2},\"user\":\"a\"}", "a", "i",
     ",\"n\":1.0e+2"},
    {" {\"users\":[\"a\",\"b\",\"\\u0061\"] , \"notification\": { \"x\" : [ 1, 2 ] , "
     "\"id\":\"\\u0069\" , \"y\":null } } ",
     "a b", "i", ",\"x\":[ 1, 2 ],\"y\":null"},
    {"{\"broadcast\":true,\"notification\":{\"id\":\"x\",\"id\":\"i\"}}", "", "i", ""},
    {"{\"user\":\"a\",\"notification\":{\"read\":1,\"cre\\u0061ted_at\":2,\"\\u0069d\":"
     "\"i\",\"Read\":3}}",
     "a", "i", ",\"Read\":3"},
    {"{\"user\":\"a\",\"notification\":{\"a\":1,\"id\":\"i\",\"a\":2}}", "a", "i",
     ",\"a\":1,\"a\":2"},
};

static void reads_what_is_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct notice n;
        struct err e = {0};
        struct buf users = {0};
        assert_int_equal(notice_read(&n, str_of(good[i].text), STR_NONE, &e), 0);
        for (size_t u = 0; u < n.users_n; u++)
            buf_printf(&users, "%s" STR_FMT, u ? " " : "", STR_ARG(n.users[u]));
        assert_string_equal(buf_cstr(&users), good[i].users);
        assert_string_equal(buf_cstr(&n.id), good[i].id);
        assert_string_equal(buf_cstr(&n.members), good[i].members);
        buf_free(&users);
        notice_fini(&n);
    }
}

static const struct {
    const char *text, *why;
} bad[] = {
    {"", "it is not JSON"},
    {"[]", "it is not a JSON object"},
    {"{}", "it must have exactly one of `user`, `users`, `broadcast`"},
    {"{\"user\":\"a\",\"broadcast\":false,\"notification\":{}}",
     "it must have exactly one of `user`, `users`, `broadcast`"},
    {"{\"user\":null,\"notification\":{}}", "`user` is not a text"},
    {"{\"user\":\"\",\"notification\":{}}", "`user` is an empty text"},
    {"{\"users\":[\"a\",\"\"],\"notification\":{}}",
     "an element of `users` is an empty text"},
    {"{\"users\":{},\"notification\":{}}", "`users` is not a list of texts"},
    {"{\"broadcast\":\"true\",\"notification\":{}}", "`broadcast` is not true"},
    {"{\"user\":\"a\"}", "`notification` is not an object"},
    {"{\"user\":\"a\",\"notification\":{\"id\":null}}",
     "`notification.id` is not a text"},
    {"{\"user\":\"a\",\"notification\":{\"id\":\"\"}}",
     "`notification.id` has 0 characters; it takes 1 to 64"},
    {"{\"user\":\"a\",\"notification\":{},\"x\":1}",
     "it has `x`, which nobody knows here"},
};

static void refuses_what_is_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct notice n;
        struct err e = {0};
        assert_int_equal(notice_read(&n, str_of(bad[i].text), STR_NONE, &e), -1);
        assert_string_equal(e.text, bad[i].why);
        assert_null(n.users);
    }
}

static void ids(void **state)
{
    (void)state;
    static const char text[] = "{\"broadcast\":true,\"notification\":{}}";
    static const char own[] = "{\"broadcast\":true,\"notification\":{\"id\":\"mine\"}}";
    struct notice n;
    struct err e;
    assert_int_equal(notice_read(&n, STR(text), STR_NONE, &e), 0);
    assert_int_equal(n.id.n, 36);
    notice_fini(&n);
    assert_int_equal(notice_read(&n, STR(text), STR("given"), &e), 0);
    assert_string_equal(buf_cstr(&n.id), "given");
    notice_fini(&n);
    assert_int_equal(notice_read(&n, STR(own), STR("given"), &e), 0);
    assert_string_equal(buf_cstr(&n.id), "mine");
    notice_fini(&n);
    assert_int_equal(notice_read(&n, STR(text), STR("\xff"), &e), -1);
    assert_string_equal(e.text, "`id` is not UTF-8");
    char long_id[66] = {0};
    memset(long_id, 'x', 65);
    assert_int_equal(notice_read(&n, STR(text), str_of(long_id), &e), -1);
    assert_string_equal(e.text, "`id` has 65 characters; it takes 1 to 64");
}

/* ---- what Redis says ---- */

static void reads_states(void **state)
{
    (void)state;
    struct inbox_state s;
    assert_true(inbox_state_read(
        STR("{\"version\":1795307320184449,\"count\":2,\"unread\":[{\"id\":\"a\"}]}"),
        &s));
    assert_int_equal(s.version, 1795307320184449);
    assert_int_equal(s.count, 2);
    assert_true(str_is(s.unread, "[{\"id\":\"a\"}]"));
    static const char *const wrong[] = {"",
                                        "ok",
                                        "[]",
                                        "{}",
                                        "{\"version\":1,\"count\":2}",
                                        "{\"version\":-1,\"count\":2,\"unread\":[]}",
                                        "{\"version\":1,\"count\":2.5,\"unread\":[]}",
                                        "{\"version\":1,\"count\":2,\"unread\":{}}"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_false(inbox_state_read(str_of(wrong[i]), &s));
}

static void reads_news(void **state)
{
    (void)state;
    struct str text;
    int64_t version = 0;
    assert_int_equal(inbox_news_read(STR("n17 {\"a\": 1}"), &version, &text), 'n');
    assert_int_equal(version, 17);
    assert_true(str_is(text, "{\"a\": 1}"));
    assert_int_equal(inbox_news_read(STR("c18 4"), &version, &text), 'c');
    assert_true(str_is(text, "4"));
    static const char *const wrong[] = {"",     "n",  "n ",   "x17 a", "n17",
                                        "n17 ", "17", "n a ", "n-1 a", "n 17 a"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(inbox_news_read(str_of(wrong[i]), &version, &text), 0);
}

/* ---- on the way ---- */

struct world {
    struct net net;
    struct counters *counters;
    struct hub *hub;
    struct bus_fake bus;
    unsigned posted;
    enum bus_reply_type type;
    size_t stored, users;
    struct buf ids;
};

static void on_posted(void *ctx, const struct inbox_posted *p)
{
    struct world *w = ctx;
    w->posted++;
    w->type = p->type;
    w->stored = p->stored;
    w->users = p->users;
    buf_clear(&w->ids);
    buf_str(&w->ids, p->ids);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct err e;
    assert_true(counters_create(&w->counters, &e) >= 0);
    assert_int_equal(net_init(&w->net, event_base_new(), w->counters, &e), 0);
    w->hub = hub_new(&w->net, NULL);
    bus_fake_init(&w->bus, &hub_bus_events, w->hub);
    hub_set_bus(w->hub, &w->bus.bus, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    struct event_base *base = w->net.base;
    hub_set_bus(w->hub, NULL, 0);
    hub_free(w->hub);
    net_fini(&w->net);
    event_base_free(base);
    bus_fake_close(&w->bus.bus);
    buf_free(&w->ids);
    counters_unmap(w->counters);
    free(w);
    return 0;
}

static void post_to(struct world *w, unsigned users)
{
    static const struct conf_inbox limits = {.capacity = 7, .max_age = 60000};
    struct buf text = {0};
    struct err e;
    buf_printf(&text, "{\"users\":[");
    for (unsigned i = 0; i < users; i++)
        buf_printf(&text, "%s\"u%u\"", i ? "," : "", i);
    buf_printf(&text, "],\"notification\":{\"id\":\"x\"}}");
    assert_int_equal(
        inbox_post(w->hub, &limits, buf_view(&text), STR_NONE, on_posted, w, &e), 0);
    buf_free(&text);
}

static const struct bus_reply done = {BUS_TEXT, {"ok", 2}, 0};

static void posts_a_few_at_a_time(void **state)
{
    struct world *w = *state;
    bus_fake_up(&w->bus);
    post_to(w, 40);
    assert_int_equal(w->bus.calls_n, 16);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(w->posted, 0);
        bus_fake_answer(&w->bus, done);
        assert_true(w->bus.calls_n <= 16);
    }
    assert_int_equal(w->posted, 1);
    assert_int_equal(w->type, BUS_TEXT);
    assert_int_equal(w->stored, 40);
    assert_true(
        str_starts(buf_view(&w->ids), STR("{\"ids\":{\"u0\":\"x\",\"u1\":\"x\",")));
    assert_true(str_ends(buf_view(&w->ids), STR("\"u39\":\"x\"}}")));
}

static void stops_at_the_first_failure(void **state)
{
    struct world *w = *state;
    bus_fake_up(&w->bus);
    post_to(w, 40);
    bus_fake_answer(&w->bus, done);
    bus_fake_answer(&w->bus, (struct bus_reply){BUS_ERROR, STR("OOM"), 0});
    while (w->bus.calls_n)
        bus_fake_answer(&w->bus, done);
    assert_int_equal(w->posted, 1);
    assert_int_equal(w->type, BUS_ERROR);
    assert_int_equal(w->stored, 16);
    assert_int_equal(w->users, 40);
}

static void nobody_knows_is_the_worst(void **state)
{
    struct world *w = *state;
    bus_fake_up(&w->bus);
    post_to(w, 3);
    bus_fake_answer(&w->bus, (struct bus_reply){BUS_ERROR, STR("OOM"), 0});
    bus_fake_answer(&w->bus, (struct bus_reply){BUS_UNCERTAIN, STR("lost"), 0});
    bus_fake_answer(&w->bus, (struct bus_reply){BUS_DOWN, STR("lost"), 0});
    assert_int_equal(w->posted, 1);
    assert_int_equal(w->type, BUS_UNCERTAIN);
    assert_true(str_is(buf_view(&w->ids), "{\"ids\":{}}"));
}

static void posts_nothing_while_down(void **state)
{
    struct world *w = *state;
    post_to(w, 40);
    assert_int_equal(w->posted, 1);
    assert_int_equal(w->type, BUS_DOWN);
    assert_int_equal(w->stored, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_good),
        cmocka_unit_test(refuses_what_is_bad),
        cmocka_unit_test(ids),
        cmocka_unit_test(reads_states),
        cmocka_unit_test(reads_news),
        cmocka_unit_test_setup_teardown(posts_a_few_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_at_the_first_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_knows_is_the_worst, setup, teardown),
        cmocka_unit_test_setup_teardown(posts_nothing_while_down, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
