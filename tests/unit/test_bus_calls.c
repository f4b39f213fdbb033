// floors: hub
#include "tests/unit/bus_redis_fixture.h"

#include "worker/hub/script.h"

/* What came back: "type:text" or "number:7", one a line. */
static struct buf replies;
static unsigned replies_n;

static void note(UNUSED void *ctx, const struct bus_reply *r)
{
    static const char *const types[] = {"text",  "number", "nil",
                                        "error", "down",   "uncertain"};
    replies_n++;
    buf_printf(&replies, "%s:", types[r->type]);
    if (r->type == BUS_NUMBER)
        buf_printf(&replies, "%lld", r->number);
    else
        buf_str(&replies, r->text);
    buf_char(&replies, '\n');
}

static int fresh(void **state)
{
    buf_clear(&replies);
    replies_n = 0;
    return setup(state);
}

static int finish(void **state)
{
    int rc = teardown(state);
    buf_free(&replies);
    return rc;
}

static void assert_replies(const char *text)
{
    assert_string_equal(buf_cstr(&replies), text);
}

#define CALL(fn, ctx, ...)                                                               \
    do {                                                                                 \
        const struct str argv_[] = {__VA_ARGS__};                                        \
        f.bus->ops->call(f.bus, argv_, ARRAY_LEN(argv_), fn, ctx);                       \
    } while (0)
#define EVAL(lua) CALL(note, NULL, STR("EVAL"), STR(lua), STR("0"))

/* ---- kinds of replies ---- */

static void each_kind_of_reply(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    CALL(note, NULL, STR("SET"), STR("k"), STR("seven"));
    CALL(note, NULL, STR("GET"), STR("k"));
    CALL(note, NULL, STR("SET"), STR("k"), STR(""));
    CALL(note, NULL, STR("GET"), STR("k"));
    CALL(note, NULL, STR("INCRBY"), STR("n"), STR("-9223372036854775808"));
    CALL(note, NULL, STR("GET"), STR("missing"));
    CALL(note, NULL, STR("INCR"), STR("k"));
    CALL(note, NULL, STR("NO-SUCH-COMMAND"));
    AWAIT(replies_n == 8);
    const char *expected = "text:OK\ntext:seven\ntext:OK\ntext:\n"
                           "number:-9223372036854775808\nnil:\n"
                           "error:ERR value is not an integer or out of range\n"
                           "error:ERR unknown command 'NO-SUCH-COMMAND'";
    assert_memory_equal(buf_cstr(&replies), expected, strlen(expected));
    assert_int_equal(f.downs, 0);
    assert_int_equal(logged("refused"), 0); /* its caller decides what to say */
    assert_int_equal(f.counters->bus_published + f.counters->bus_publish_lost, 0);
}

/* They are read to their end, and what follows still meets its question. */
static void arrays_are_errors(void **state)
{
    static const char *const scripts[] = {
        "return {}",
        "return {1}",
        "return {'a', {2, 'b', {3, {}, {{}, 'c'}}}, 4}",
        "return {{}, {}, redis.error_reply('inside'), redis.status_reply('fine')}",
        "return {{{{{{{1}}}}}}}",
        "local t = {} for i = 1, 5000 do t[i] = {i, tostring(i)} end return t",
    };
    (void)state;
    run_redis(NULL);
    connect_bus();
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        buf_clear(&replies);
        CALL(note, NULL, STR("EVAL"), str_of(scripts[i]), STR("0"));
        publish_acked("ws:nobody", "x");
        EVAL("return 'next'");
        AWAIT(replies_n == 2 * (i + 1));
        assert_replies("error:an array, where one value was expected\ntext:next\n");
        assert_int_equal(f.acked, i + 1);
    }
    assert_int_equal(f.downs, 0);
}

static void bytes_come_back_as_they_were(void **state)
{
    enum { SIZE = 5 << 20 };
    char *big = malloc(SIZE);
    static const char odd[] = "\0\r\n$5\r\n\0*\xff";
    (void)state;
    run_redis(NULL);
    f.conf.queue = 65536; /* an empty queue takes one of any size */
    connect_bus();
    for (size_t i = 0; i < SIZE; i++)
        big[i] = odd[i % sizeof(odd)];
    CALL(note, NULL, STR("SET"), ((struct str){odd, sizeof(odd)}),
         ((struct str){big, SIZE}));
    AWAIT(replies_n == 1);
    assert_replies("text:OK\n");
    buf_clear(&replies);
    CALL(note, NULL, STR("GET"), ((struct str){odd, sizeof(odd)}));
    AWAIT(replies_n == 2);
    assert_int_equal(replies.n, strlen("text:\n") + SIZE);
    assert_memory_equal(replies.p + strlen("text:"), big, SIZE);
    for (unsigned i = 3; i <= 16; i++) { /* many make more than one may be long */
        buf_clear(&replies);
        CALL(note, NULL, STR("GET"), ((struct str){odd, sizeof(odd)}));
        AWAIT(replies_n == i);
        assert_int_equal(replies.n, strlen("text:\n") + SIZE);
    }
    assert_int_equal(f.downs, 0);
    free(big);
}

static void in_order_with_publishes(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    subscribed("c");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(publish("c", "before"), 0);
        EVAL("return redis.call('publish', 'c', 'between')");
        publish_acked("c", "after");
    }
    AWAIT(f.messages_n == 9);
    assert_true(heard("c=before\nc=between\nc=after\nc=before\nc=between\nc=after\n"
                      "c=before\nc=between\nc=after\n"));
    AWAIT(replies_n == 3 && f.acked == 3);
    assert_replies("number:1\nnumber:1\nnumber:1\n");
    assert_int_equal(f.counters->bus_published, 6);
}

/* ---- without Redis ---- */

static void down_or_uncertain(void **state)
{
    (void)state;
    run_redis(NULL);
    open_bus();
    CALL(note, NULL, STR("PING"));
    assert_replies("down:not connected yet\n");
    AWAIT(is_up());
    kill(f.redis, SIGSTOP);
    CALL(note, NULL, STR("SET"), STR("a"), STR("b"));
    publish_acked("c", "x");
    f.bus->ops->flush(f.bus);
    CALL(note, NULL, STR("PING")); /* never leaves */
    assert_int_equal(replies_n, 1);
    buf_clear(&replies);
    kill(f.redis, SIGKILL);
    int64_t end = clock_now_ms() + PATIENCE_MS;
    while (f.downs == 0 && clock_now_ms() < end)
        event_base_loop(f.base, EVLOOP_ONCE);
    assert_int_equal(f.downs, 1);
    char expected[600];
    snprintf(expected, sizeof(expected), "uncertain:%s\ndown:%s\n", f.why, f.why);
    assert_replies(expected);
    assert_string_equal(f.ack_why, "bus-uncertain");
    assert_int_equal(f.counters->bus_publish_lost, 1); /* calls are no publishes */
}

static void calls_are_bounded(void **state)
{
    static char big[1001];
    (void)state;
    run_redis(NULL);
    connect_bus();
    kill(f.redis, SIGSTOP);
    for (unsigned i = 0; i < 65536; i++)
        CALL(note, NULL, STR("GET"), STR("k"));
    assert_int_equal(replies_n, 0);
    CALL(note, NULL, STR("GET"), STR("k"));
    assert_replies("down:too many calls are unanswered\n");
    kill(f.redis, SIGCONT);
    AWAIT(replies_n == 65537);
    kill(f.redis, SIGSTOP);
    f.conf.queue = 65536;
    bus_redis_configure(f.bus, &f.conf);
    memset(big, 'x', 1000);
    buf_clear(&replies);
    for (unsigned before = replies_n; replies_n == before;)
        CALL(note, NULL, STR("GET"), str_of(big));
    assert_replies("down:the publish queue is full\n");
    assert_false(is_up());
    kill(f.redis, SIGCONT);
    AWAIT(is_up());
    assert_int_equal(f.downs, 0);
}

/* ---- from within ---- */

static void ask_more(void *ctx, const struct bus_reply *r)
{
    int *left = ctx;
    note(NULL, r);
    if ((*left)-- > 0)
        CALL(ask_more, ctx, STR("INCR"), STR("n"));
}

static void call_from_within(void **state)
{
    int left = 3;
    (void)state;
    run_redis(NULL);
    connect_bus();
    CALL(ask_more, &left, STR("INCR"), STR("n"));
    AWAIT(replies_n == 4);
    assert_replies("number:1\nnumber:2\nnumber:3\nnumber:4\n");
    buf_clear(&replies);
    left = 1;
    stop_redis();
    CALL(ask_more, &left, STR("INCR"), STR("n"));
    AWAIT(replies_n == 6);
    char expected[600]; /* the second one is asked while the bus goes down */
    snprintf(expected, sizeof(expected), "down:%s\ndown:%s\n", f.why, f.why);
    assert_replies(expected);
}

static void close_within(UNUSED void *ctx, const struct bus_reply *r)
{
    note(NULL, r);
    close_bus();
}

static void close_from_within(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    CALL(close_within, NULL, STR("INCR"), STR("n"));
    CALL(note, NULL, STR("INCR"), STR("n"));
    publish_acked("c", "x");
    AWAIT(replies_n == 2);
    assert_replies("number:1\nuncertain:the bus is closed\n");
    assert_int_equal(f.unacked, 1);
    turn();
    connect_bus();
    buf_clear(&replies);
    stop_redis();
    CALL(note, NULL, STR("INCR"), STR("n"));
    CALL(close_within, NULL, STR("INCR"), STR("n"));
    CALL(note, NULL, STR("INCR"), STR("n"));
    AWAIT(replies_n == 5);
    assert_null(f.bus);
    char expected[800];
    snprintf(expected, sizeof(expected), "down:%s\ndown:%s\ndown:%s\n", f.why, f.why,
             f.why);
    assert_replies(expected);
    turn();
}

static void close_at_once(UNUSED void *ctx, UNUSED const char *why)
{
    f.downs++;
    close_bus();
}

static void close_when_it_goes_down(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    f.bus->events.down = close_at_once;
    CALL(note, NULL, STR("INCR"), STR("n"));
    publish_acked("c", "x");
    stop_redis();
    AWAIT(f.downs == 1);
    assert_null(f.bus);
    assert_int_equal(replies_n, 1);
    assert_int_equal(f.unacked, 1);
    assert_int_equal(f.counters->bus_publish_lost, 1);
    turn();
}

static void last_words(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    CALL(note, NULL, STR("SET"), STR("k"), STR("last"));
    close_bus();
    assert_replies("uncertain:the bus is closed\n");
    for (int64_t end = clock_now_ms() + PATIENCE_MS; clock_now_ms() < end;)
        if (strcmp(ask("GET k"), "$4\r\nlast\r\n") == 0)
            return;
    fail_msg("what was asked last never came");
}

/* ---- scripts ---- */

static const char lua[] =
    "redis.call('incr', KEYS[1]) redis.call('publish', ARGV[1] .. 'c', ARGV[3]) "
    "return KEYS[1] .. '|' .. KEYS[2] .. '|' .. #ARGV .. '|' .. ARGV[1] .. '|' .. "
    "ARGV[2]";

static int runs_of(const char *command)
{
    char row[64];
    snprintf(row, sizeof(row), "cmdstat_%s:calls=", command);
    const char *p = strstr(ask("INFO commandstats"), row);
    return p ? atoi(p + strlen(row)) : 0;
}

static void run(struct script *s)
{
    const struct str keys[] = {STR("heliod:k"), STR("")};
    const struct str args[] = {{"a\0\r\nb", 5}, STR("said")};
    script_call(f.bus, s, keys, 2, args, 2, note, NULL);
}

static void scripts_are_sent_once(void **state)
{
    struct str text = STR(lua);
    struct script s = {.text = &text};
    static const char answer[] = "text:p:heliod:k|p:|3|p:|a\0\r\nb\n";
    (void)state;
    run_redis(NULL);
    f.conf.prefix = STR("p:");
    connect_bus();
    subscribed("c");
    assert_true(str_is(f.bus->ops->prefix(f.bus), "p:"));
    for (unsigned i = 1; i <= 6; i++) {
        if (i == 4)
            assert_string_equal(ask("SCRIPT FLUSH"), "+OK\r\n");
        run(&s);
        AWAIT(replies_n == i);
        assert_int_equal(replies.n, sizeof(answer) - 1);
        assert_memory_equal(replies.p, answer, sizeof(answer) - 1);
        buf_clear(&replies);
    }
    assert_int_equal(runs_of("eval"), 2);
    assert_int_equal(runs_of("evalsha"), 6);
    assert_string_equal(ask("GET p:heliod:k"), "$1\r\n6\r\n"); /* each ran once */
    AWAIT(f.messages_n == 6);
    assert_memory_equal(buf_cstr(&f.messages), "c=said\nc=said\n", 14);
}

/* Several under way when Redis forgets: each is sent again, none twice. */
static void scripts_are_forgotten_meanwhile(void **state)
{
    struct str text = STR(lua);
    struct script s = {.text = &text};
    (void)state;
    run_redis(NULL);
    connect_bus();
    run(&s);
    AWAIT(replies_n == 1);
    CALL(note, NULL, STR("SCRIPT"), STR("FLUSH"));
    for (int i = 0; i < 10; i++)
        run(&s);
    AWAIT(replies_n == 12);
    assert_string_equal(ask("GET heliod:k"), "$2\r\n11\r\n");
}

static void errors_of_scripts(void **state)
{
    struct str bad = STR("return redis.call('no-such')"), worse = STR("this is no Lua"),
               mocking = STR("redis.call('incr', 'n') "
                             "return redis.error_reply('NOSCRIPT not me')");
    struct script scripts[] = {{.text = &bad}, {.text = &worse}, {.text = &mocking}};
    (void)state;
    run_redis(NULL);
    connect_bus();
    for (size_t i = 0; i < 3; i++)
        script_call(f.bus, &scripts[i], NULL, 0, NULL, 0, note, NULL);
    AWAIT(replies_n == 3);
    assert_int_equal(runs_of("eval"), 3);
    const char *text = buf_cstr(&replies);
    assert_non_null(strstr(text, "error:ERR Unknown Redis command called from"));
    assert_non_null(strstr(text, "error:ERR Error compiling script"));
    assert_non_null(strstr(text, "error:NOSCRIPT not me\n"));
    assert_string_equal(ask("GET n"), "$1\r\n1\r\n");
}

static void scripts_without_redis(void **state)
{
    struct str text = STR(lua);
    struct script s = {.text = &text};
    (void)state;
    script_call(NULL, &s, NULL, 0, NULL, 0, note, NULL);
    assert_replies("down:there is no bus\n");
    run_redis(NULL);
    open_bus();
    run(&s);
    AWAIT(is_up());
    kill(f.redis, SIGSTOP);
    run(&s);
    f.bus->ops->flush(f.bus);
    close_bus();
    assert_replies("down:there is no bus\ndown:not connected yet\n"
                   "uncertain:the bus is closed\n");
}

/* ---- servers that are none ---- */

/* The publishing link is the first. */
static void answer(struct str s)
{
    assert_int_equal(send(imp.clients[0], s.p, s.n, MSG_NOSIGNAL), s.n);
}

#define GREETING "+OK\r\n+PONG\r\n" /* to CLIENT SETNAME and PING */

static void answers_in_pieces(void **state)
{
    static const char text[] =
        "*3\r\n*2\r\n$3\r\na\r\n\r\n*-1\r\n:5\r\n*0\r\n$-1\r\n:7\r\n";
    (void)state;
    impersonate(STR(GREETING), false);
    connect_bus();
    for (int i = 0; i < 3; i++)
        CALL(note, NULL, STR("GET"), STR("k"));
    turn();
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        answer((struct str){text + i, 1});
        turn();
    }
    AWAIT(replies_n == 3);
    assert_replies("error:an array, where one value was expected\nnil:\nnumber:7\n");
    answer(STR(":1\r\n")); /* to nothing */
    AWAIT(f.downs == 1);
    assert_string_equal(f.why, "it answered what was not asked");
    close_bus();
    unmask();
}

static void endless_array(void **state)
{
    static char chunk[1 << 16];
    (void)state;
    for (size_t i = 0; i < sizeof(chunk); i += 4)
        memcpy(chunk + i, ":1\r\n", 4);
    impersonate(STR(GREETING), false);
    connect_bus();
    CALL(note, NULL, STR("KEYS"), STR("*"));
    turn();
    answer(STR("*2000000000\r\n"));
    while (f.downs == 0) { /* ends: each turn takes some of it */
        while (send(imp.clients[0], chunk, sizeof(chunk), MSG_NOSIGNAL | MSG_DONTWAIT) ==
               sizeof(chunk))
            ;
        if (f.downs == 0)
            turn();
    }
    assert_string_equal(f.why, "a reply over the limit");
    assert_replies("uncertain:a reply over the limit\n");
    close_bus();
    unmask();
}

/* What a publish is answered with is a number, whatever stands beside it. */
static void wrong_answers_to_publishes(void **state)
{
    static const struct str cases[] = {STR("$1\r\n1\r\n"), STR("$-1\r\n"), STR("+OK\r\n"),
                                       STR("*1\r\n:1\r\n"), STR("*1\r\n*1\r\n:1\r\n")};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned downs = f.downs;
        impersonate(STR(GREETING), false);
        connect_bus();
        CALL(note, NULL, STR("GET"), STR("k"));
        publish_acked("c", "x");
        CALL(note, NULL, STR("GET"), STR("k"));
        turn();
        answer(STR("*1\r\n*1\r\n:1\r\n"));
        answer(cases[i]);
        AWAIT(f.downs == downs + 1);
        assert_int_equal(replies_n, 2 * (i + 1));
        assert_int_equal(f.unacked, i + 1);
        close_bus();
        unmask();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, finish)
    const struct CMUnitTest tests[] = {
        TEST(each_kind_of_reply),
        TEST(arrays_are_errors),
        TEST(bytes_come_back_as_they_were),
        TEST(in_order_with_publishes),
        TEST(down_or_uncertain),
        TEST(calls_are_bounded),
        TEST(call_from_within),
        TEST(close_from_within),
        TEST(close_when_it_goes_down),
        TEST(last_words),
        TEST(scripts_are_sent_once),
        TEST(scripts_are_forgotten_meanwhile),
        TEST(errors_of_scripts),
        TEST(scripts_without_redis),
        TEST(answers_in_pieces),
        TEST(endless_array),
        TEST(wrong_answers_to_publishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
