// floors: hub
#include "worker/hub/hub.h"

#include "tests/unit/bus_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

/* A hub without connections and the bus in our hand. */
struct fixture {
    struct event_base *base;
    struct counters *counters;
    int counters_fd;
    struct net net;
    struct hub *hub;
    struct bus_fake bus;
    struct buf heard; /* "channel=payload|", "up|", "down|" */
} f;

static int setup(void **state)
{
    struct err e;
    (void)state;
    memset(&f, 0, sizeof(f));
    f.base = event_base_new();
    f.counters_fd = counters_create(&f.counters, &e);
    assert_true(f.counters_fd >= 0);
    assert_int_equal(net_init(&f.net, f.base, f.counters, &e), 0);
    f.hub = hub_new(&f.net, NULL);
    bus_fake_init(&f.bus, &hub_bus_events, f.hub);
    hub_set_bus(f.hub, &f.bus.bus, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    net_fini(&f.net);
    hub_free(f.hub);
    f.bus.bus.ops->close(&f.bus.bus);
    event_base_free(f.base);
    counters_unmap(f.counters);
    close(f.counters_fd);
    buf_free(&f.heard);
    return 0;
}

static void turn(void)
{
    event_base_loop(f.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* All that is due, and nothing of it answered by the bus. */
static void settle(void)
{
    for (int i = 0; i < 5; i++)
        turn();
}

static void confirm_all(void)
{
    bus_fake_confirm(&f.bus, f.bus.marked);
}

static void come_up(void)
{
    bus_fake_up(&f.bus);
    settle();
    confirm_all();
    settle();
}

#define assert_heard(text)                                                               \
    do {                                                                                 \
        assert_string_equal(buf_cstr(&f.heard), text);                                   \
        buf_clear(&f.heard);                                                             \
    } while (0)

static unsigned did(const char *line)
{
    return bus_fake_did(&f.bus, line);
}

/* ---- topics ---- */

static void note(struct topic *t, struct str payload)
{
    buf_printf(&f.heard, STR_FMT "=" STR_FMT "|", (int)t->channel_n, t->channel,
               STR_ARG(payload));
}

static void listen_to(struct topic *t, const char *channel)
{
    hub_listen(f.hub, t, str_of(channel), note);
}

static void say(const char *channel, const char *payload)
{
    bus_fake_receive(&f.bus, channel, payload);
}

static void hear_what_they_listen_to(void **state)
{
    struct topic a = {0}, b = {0};
    (void)state;
    bus_fake_up(&f.bus);
    listen_to(&a, "heliod:a");
    listen_to(&b, "heliod:b");
    assert_int_equal(did("+heliod:a") + did("+heliod:b"), 2);
    assert_ptr_equal(hub_topic(f.hub, STR("heliod:a")), &a);
    assert_null(hub_topic(f.hub, STR("heliod:")));
    say("heliod:b", "1");
    say("heliod:a", "");
    say("heliod:c", "nobody's");
    assert_heard("heliod:b=1|heliod:a=|");
    hub_unlisten(f.hub, &a);
    hub_unlisten(f.hub, &a);
    assert_int_equal(did("-heliod:a"), 1);
    assert_null(hub_topic(f.hub, STR("heliod:a")));
    say("heliod:a", "late");
    say("heliod:b", "2");
    assert_heard("heliod:b=2|");
    assert_int_equal(f.counters->bus_malformed, 0);
    say("ws:room:x", "other channels are the rooms'");
    assert_int_equal(f.counters->bus_malformed, 1);
    hub_unlisten(f.hub, &b);
}

static void count_wait(struct hub_wait *w)
{
    w->mark = UINT64_MAX; /* called */
}

/* Ended and wanted again: the link sees it in that order, and the new one can be awaited.
 */
static void listen_again(void **state)
{
    struct topic a = {0}, again = {0};
    struct hub_wait w = {0};
    (void)state;
    come_up();
    listen_to(&a, "heliod:a");
    confirm_all();
    buf_clear(&f.bus.log);
    hub_unlisten(f.hub, &a);
    listen_to(&again, "heliod:a");
    hub_await(f.hub, &w, count_wait);
    assert_string_equal(buf_cstr(&f.bus.log), "-heliod:a\n+heliod:a\n");
    bus_fake_confirm(&f.bus, f.bus.marked - 1);
    assert_true(w.mark != UINT64_MAX);
    confirm_all();
    assert_true(w.mark == UINT64_MAX);
    say("heliod:a", "x");
    assert_heard("heliod:a=x|");
    hub_unlisten(f.hub, &again);
}

struct ender {
    struct topic topic;
    struct topic *ends, *begins;
};

static void end_some(struct topic *t, struct str payload)
{
    struct ender *e = container_of(t, struct ender, topic);
    struct topic *ends = e->ends, *begins = e->begins;
    note(t, payload);
    hub_unlisten(f.hub, ends);
    if (begins)
        listen_to(begins, "heliod:a");
    if (ends == t)
        free(e);
}

static void end_within_a_message(void **state)
{
    struct ender *e = calloc(1, sizeof(*e));
    struct topic b = {0}, heir = {0};
    (void)state;
    come_up();
    hub_listen(f.hub, &e->topic, STR("heliod:a"), end_some);
    listen_to(&b, "heliod:b");
    e->ends = &b;
    say("heliod:a", "1");
    say("heliod:b", "2");
    e->ends = &e->topic;
    e->begins = &heir;
    say("heliod:a", "3");
    say("heliod:a", "4");
    assert_heard("heliod:a=1|heliod:a=3|heliod:a=4|");
    hub_unlisten(f.hub, &heir);
}

static void declared_again_after_a_reconnect(void **state)
{
    struct topic a = {0}, b = {0}, c = {0}, d = {0};
    (void)state;
    listen_to(&a, "heliod:a");
    listen_to(&b, "heliod:b");
    listen_to(&c, "heliod:c");
    hub_unlisten(f.hub, &b);
    assert_string_equal(buf_cstr(&f.bus.log), ""); /* down: nothing is asked */
    for (unsigned round = 1; round <= 3; round++) {
        bus_fake_up(&f.bus);
        hub_unlisten(f.hub, &c); /* before its turn came */
        listen_to(&d, "heliod:d");
        settle();
        assert_int_equal(did("+heliod:a"), round);
        assert_int_equal(did("+heliod:d"), round);
        assert_int_equal(did("+heliod:b") + did("+heliod:c"), 0);
        assert_int_equal(did("-heliod:c") + did("-heliod:b"), 0);
        bus_fake_down(&f.bus);
        hub_unlisten(f.hub, &d);
        listen_to(&c, "heliod:c");
        assert_int_equal(did("-heliod:d"), 0);
    }
    hub_free(f.hub); /* with topics that nobody ended; they may be ended later */
    f.hub = NULL;
    hub_unlisten(f.hub, &a);
    hub_unlisten(f.hub, &c);
    f.hub = hub_new(&f.net, NULL);
}

/* In steps, each only when most of what went before has been confirmed. */
static void many_are_declared_in_steps(void **state)
{
    enum { MANY = 40000 };
    struct topic *t = calloc(MANY, sizeof(*t));
    uint64_t before, most = 0;
    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof(name), "heliod:%u", i);
        listen_to(&t[i], name);
    }
    bus_fake_up(&f.bus);
    do {
        before = f.bus.marked;
        turn();
        most = MAX(most, f.bus.marked - before);
    } while (f.bus.marked > before);
    assert_in_range(most, 1000, 5000);
    assert_in_range(f.bus.marked, 16384, 25000);
    for (unsigned i = 0; i < 20; i++) {
        bus_fake_confirm(&f.bus, f.bus.marked);
        turn();
    }
    assert_int_equal(f.bus.marked, MANY + 1); /* and ws:broadcast */
    assert_int_equal(did("+heliod:39999"), 1);
    for (unsigned i = 0; i < MANY; i++)
        hub_unlisten(f.hub, &t[i]);
    free(t);
}

/* ---- watches ---- */

struct watcher {
    struct hub_watch watch;
    const char *name;
    struct watcher *ends, *begins; /* in up and in down */
};

static void act(struct watcher *w)
{
    struct watcher *ends = w->ends, *begins = w->begins;
    if (ends)
        hub_unwatch(&ends->watch);
    if (begins)
        hub_watch(f.hub, &begins->watch);
}
static void on_up(struct hub_watch *w)
{
    struct watcher *me = container_of(w, struct watcher, watch);
    buf_printf(&f.heard, "%s up|", me->name);
    act(me);
}
static void on_down(struct hub_watch *w, const char *why)
{
    struct watcher *me = container_of(w, struct watcher, watch);
    buf_printf(&f.heard, "%s down %s|", me->name, why);
    act(me);
}
#define WATCHER(name) ((struct watcher){{.up = on_up, .down = on_down}, name, NULL, NULL})

static void up_when_all_is_confirmed(void **state)
{
    struct watcher w = WATCHER("w");
    struct topic a = {0}, b = {0};
    (void)state;
    listen_to(&a, "heliod:a");
    listen_to(&b, "heliod:b");
    hub_watch(f.hub, &w.watch);
    settle();
    assert_heard("");
    assert_false(hub_is_up(f.hub));
    assert_string_equal(hub_why_down(f.hub), "told so");
    bus_fake_up(&f.bus);
    assert_true(hub_is_up(f.hub));
    assert_string_equal(hub_why_down(f.hub), "");
    bus_fake_confirm(&f.bus, f.bus.marked); /* ws:broadcast; the topics not yet */
    settle();
    assert_int_equal(did("+heliod:a") + did("+heliod:b"), 2);
    assert_heard("");
    bus_fake_confirm(&f.bus, f.bus.marked - 1);
    settle();
    assert_heard("");
    confirm_all();
    settle();
    assert_heard("w up|");
    confirm_all();
    settle();
    bus_fake_down(&f.bus);
    assert_heard("w down told so|");
    come_up();
    assert_heard("w up|");
    hub_unwatch(&w.watch);
    hub_unwatch(&w.watch);
    bus_fake_down(&f.bus);
    come_up();
    assert_heard("");
    hub_watch(f.hub, &w.watch);
    assert_heard("");
    turn();
    assert_heard("w up|");
    hub_unwatch(&w.watch);
    hub_unlisten(f.hub, &a);
    hub_unlisten(f.hub, &b);
}

/* A watch that comes while topics are still being declared waits for all of them. */
static void watch_amid_the_declaring(void **state)
{
    enum { MANY = 30000 };
    struct topic *t = calloc(MANY, sizeof(*t));
    struct watcher early = WATCHER("early"), late = WATCHER("late");
    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof(name), "heliod:%u", i);
        listen_to(&t[i], name);
    }
    hub_watch(f.hub, &early.watch);
    bus_fake_up(&f.bus);
    turn();
    hub_watch(f.hub, &late.watch);
    settle();
    assert_true(f.bus.marked < MANY);
    confirm_all();
    assert_heard("");
    settle();
    assert_heard("");
    for (int i = 0; i < 10; i++) {
        bus_fake_confirm(&f.bus, f.bus.marked - 1);
        settle();
    }
    assert_int_equal(f.bus.marked, MANY + 1);
    assert_heard("");
    confirm_all();
    assert_heard("early up|late up|");
    hub_unwatch(&early.watch);
    hub_unwatch(&late.watch);
    for (unsigned i = 0; i < MANY; i++)
        hub_unlisten(f.hub, &t[i]);
    free(t);
}

/* Nor does it do that those topics are confirmed that were declared when it came. */
static void watch_amid_the_declaring_of_few(void **state)
{
    enum { MANY = 10000 };
    struct topic *t = calloc(MANY, sizeof(*t));
    struct watcher late = WATCHER("late");
    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof(name), "heliod:%u", i);
        listen_to(&t[i], name);
    }
    bus_fake_up(&f.bus);
    turn();
    hub_watch(f.hub, &late.watch);
    turn();
    assert_true(f.bus.marked < MANY);
    settle();
    assert_int_equal(f.bus.marked, MANY + 1);
    bus_fake_confirm(&f.bus, f.bus.marked - 1);
    settle();
    assert_heard("");
    confirm_all();
    assert_heard("late up|");
    hub_unwatch(&late.watch);
    for (unsigned i = 0; i < MANY; i++)
        hub_unlisten(f.hub, &t[i]);
    free(t);
}

/* Nobody hears of a loss who did not hear of the bus before. */
static void lost_in_between(void **state)
{
    struct watcher w = WATCHER("w");
    struct topic a = {0};
    (void)state;
    listen_to(&a, "heliod:a");
    hub_watch(f.hub, &w.watch);
    bus_fake_up(&f.bus);
    bus_fake_down(&f.bus); /* before anything is declared */
    settle();
    bus_fake_up(&f.bus);
    settle();
    bus_fake_down(&f.bus); /* before it is confirmed */
    settle();
    assert_heard("");
    come_up();
    assert_heard("w up|");
    bus_fake_down(&f.bus);
    assert_heard("w down told so|");
    hub_unwatch(&w.watch);
    hub_unlisten(f.hub, &a);
}

static void watches_end_each_other(void **state)
{
    struct watcher a = WATCHER("a"), b = WATCHER("b"), c = WATCHER("c"), d = WATCHER("d");
    (void)state;
    hub_watch(f.hub, &a.watch);
    hub_watch(f.hub, &b.watch);
    hub_watch(f.hub, &c.watch);
    a.ends = &b;
    a.begins = &d;
    c.ends = &c;
    come_up();
    assert_heard("a up|c up|d up|");
    a.ends = &d;
    a.begins = &c;
    hub_watch(f.hub, &b.watch);
    bus_fake_down(&f.bus);
    assert_heard("a down told so|");
    a.ends = a.begins = NULL;
    c.ends = &a;
    come_up();
    assert_heard("b up|a up|c up|");
    bus_fake_down(&f.bus);
    assert_heard("b down told so|c down told so|");
    hub_unwatch(&b.watch);
    hub_unwatch(&c.watch);
}

static void watch_without_callbacks(void **state)
{
    struct hub_watch w = {0};
    struct watcher after = WATCHER("after");
    (void)state;
    hub_watch(f.hub, &w);
    hub_watch(f.hub, &after.watch);
    come_up();
    bus_fake_down(&f.bus);
    assert_heard("after up|after down told so|");
    hub_unwatch(&w);
    hub_unwatch(&after.watch);
}

/* Ends itself and asks anew: told once a turn, not for ever. */
static void watch_again_within_up(void **state)
{
    struct watcher w = WATCHER("w");
    (void)state;
    w.ends = w.begins = &w;
    hub_watch(f.hub, &w.watch);
    bus_fake_up(&f.bus);
    settle();
    confirm_all();
    assert_heard("w up|");
    w.ends = w.begins = NULL;
    settle();
    assert_heard("w up|");
    hub_unwatch(&w.watch);
}

static void hub_ends_before_its_watches(void **state)
{
    struct watcher a = WATCHER("a"), b = WATCHER("b"), c = WATCHER("c");
    (void)state;
    hub_watch(f.hub, &a.watch);
    come_up();
    struct topic t = {0};
    listen_to(&t, "heliod:t");
    hub_watch(f.hub, &b.watch);
    settle(); /* waits for the topic */
    hub_watch(f.hub, &c.watch);
    assert_heard("a up|");
    hub_free(f.hub);
    f.hub = NULL;
    settle();
    hub_unwatch(&a.watch);
    hub_unwatch(&b.watch);
    hub_unwatch(&c.watch);
    assert_heard("");
    f.hub = hub_new(&f.net, NULL);
}

static void another_bus(void **state)
{
    struct watcher w = WATCHER("w");
    struct topic a = {0};
    (void)state;
    come_up();
    listen_to(&a, "heliod:a");
    confirm_all();
    hub_watch(f.hub, &w.watch);
    turn();
    assert_heard("w up|");
    hub_set_bus(f.hub, NULL, 0);
    assert_heard("w down another bus takes its place|");
    assert_false(hub_is_up(f.hub));
    assert_string_equal(hub_why_down(f.hub), "there is no bus");
    hub_set_bus(f.hub, &f.bus.bus, 0);
    settle();
    confirm_all();
    settle();
    assert_int_equal(did("+heliod:a"), 2);
    assert_heard("w up|");
    hub_unwatch(&w.watch);
    hub_unlisten(f.hub, &a);
}

/* ---- calls ---- */

static void note_reply(UNUSED void *ctx, const struct bus_reply *r)
{
    buf_printf(&f.heard, "%d:" STR_FMT "|", (int)r->type, STR_ARG(r->text));
}

static void calls_go_to_the_bus(void **state)
{
    struct str text = STR("return 1"), argv[] = {STR("GET"), STR("k")};
    struct str key = STR("heliod:k"), arg = STR("x");
    struct script s = {.text = &text};
    (void)state;
    f.bus.prefix = STR("p:");
    hub_call(f.hub, argv, 2, note_reply, NULL);
    assert_heard("4:told so|");
    bus_fake_up(&f.bus);
    hub_call(f.hub, argv, 2, note_reply, NULL);
    hub_eval(f.hub, &s, &key, 1, &arg, 1, note_reply, NULL);
    assert_int_equal(did("C GET k"), 1);
    assert_int_equal(
        did("C EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 p:heliod:k p: x"), 1);
    bus_fake_answer(&f.bus, (struct bus_reply){BUS_TEXT, STR("v"), 0});
    bus_fake_answer(&f.bus, (struct bus_reply){BUS_ERROR, STR("NOSCRIPT no such"), 0});
    assert_int_equal(did("C EVAL return 1 1 p:heliod:k p: x"), 1);
    assert_heard("0:v|");
    bus_fake_down(&f.bus);
    assert_heard("5:told so|");
    hub_set_bus(f.hub, NULL, 0);
    hub_call(f.hub, argv, 2, note_reply, NULL);
    hub_eval(f.hub, &s, NULL, 0, NULL, 0, note_reply, NULL);
    assert_heard("4:there is no bus|4:there is no bus|");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(hear_what_they_listen_to),
        TEST(listen_again),
        TEST(end_within_a_message),
        TEST(declared_again_after_a_reconnect),
        TEST(many_are_declared_in_steps),
        TEST(up_when_all_is_confirmed),
        TEST(watch_amid_the_declaring),
        TEST(watch_amid_the_declaring_of_few),
        TEST(lost_in_between),
        TEST(watches_end_each_other),
        TEST(watch_again_within_up),
        TEST(watch_without_callbacks),
        TEST(hub_ends_before_its_watches),
        TEST(another_bus),
        TEST(calls_go_to_the_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
