// floors: hub
#include "tests/unit/bus_redis_fixture.h"

/* ---- with a well-behaved server ---- */

static void messages_come_and_go(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    assert_int_equal(f.bus->ops->mark(f.bus), 0);
    subscribe("ws:broadcast");
    subscribe("ws:room:é \r\n*");
    assert_int_equal(f.bus->ops->mark(f.bus), 2);
    AWAIT(f.confirmed == 2);
    assert_int_equal(f.bus->ops->confirmed(f.bus), 2);
    assert_int_equal(f.counters->bus_subscriptions, 2);
    assert_string_equal(ask("PUBLISH ws:broadcast abc"), ":1\r\n");
    assert_int_equal(publish("ws:room:é \r\n*", "own\r\n"), 0);
    AWAIT(f.messages_n == 2);
    assert_true(heard("ws:broadcast=abc\nws:room:é \r\n*=own\r\n\n"));
    publish_acked("ws:nobody", "");
    AWAIT(f.acked == 1);
    AWAIT(f.counters->bus_published == 2);
    assert_int_equal(f.counters->bus_received, 2);
    f.bus->ops->unsubscribe(f.bus, STR("ws:broadcast"));
    subscribe("ws:broadcast");
    f.bus->ops->unsubscribe(f.bus, STR("ws:broadcast"));
    AWAIT(f.confirmed == 3 && f.counters->bus_subscriptions == 1);
    assert_string_equal(ask("PUBLISH ws:broadcast abc"), ":0\r\n");
    assert_non_null(strstr(ask("CLIENT LIST TYPE pubsub"), "name=heliod"));
    assert_int_equal(f.ups, 1);
    assert_int_equal(f.downs, 0);
    assert_int_equal(logged("connected to Redis"), 1);
    assert_int_equal(logged("\n"), 1);
}

static void prefix_is_put_before(void **state)
{
    (void)state;
    run_redis(NULL);
    f.conf.prefix = STR("site1:");
    connect_bus();
    subscribed("ws:broadcast");
    assert_string_equal(ask("PUBLISH ws:broadcast no"), ":0\r\n");
    assert_string_equal(ask("PUBLISH site1:ws:broadcast yes"), ":1\r\n");
    assert_int_equal(publish("ws:broadcast", "own"), 0);
    AWAIT(f.messages_n == 2);
    assert_true(heard("ws:broadcast=yes\nws:broadcast=own\n"));
}

static void thousand_in_order(void **state)
{
    struct buf expected = {0};
    (void)state;
    run_redis(NULL);
    connect_bus();
    subscribe("ws:user:a");
    subscribed("ws:room:b");
    for (int i = 0; i < 1000; i++) {
        char text[16];
        const char *channel = i % 3 ? "ws:user:a" : "ws:room:b";
        snprintf(text, sizeof(text), "%d", i);
        assert_int_equal(publish(channel, text), 0);
        buf_printf(&expected, "%s=%s\n", channel, text);
        if (i % 100 == 0)
            turn();
    }
    AWAIT(f.messages_n == 1000);
    assert_true(heard(buf_cstr(&expected)));
    AWAIT(f.counters->bus_published == 1000);
    buf_free(&expected);
}

/* What one turn delivers goes out before the next begins. */
static void much_work_takes_several_turns(void **state)
{
    size_t most = 0;
    (void)state;
    run_redis(NULL);
    connect_bus();
    subscribed("ws:room:a");
    f.work_ms = 10;
    for (int i = 0; i < 40; i++)
        assert_int_equal(publish("ws:room:a", "x"), 0);
    while (f.messages_n < 40) {
        size_t before = f.messages_n;
        turn();
        most = MAX(most, f.messages_n - before);
    }
    assert_true(most > 0 && most < 20);
}

static void thousands_of_channels(void **state)
{
    enum { N = 5000 };
    (void)state;
    run_redis(NULL);
    connect_bus();
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof(name), "ws:room:%d", i);
        subscribe(name);
    }
    AWAIT(f.confirmed == N);
    assert_int_equal(f.counters->bus_subscriptions, N);
    /* the CONFIG RESETSTAT-free way to see the chunks: how often SUBSCRIBE ran */
    const char *stats = strstr(ask("INFO commandstats"), "cmdstat_subscribe:calls=");
    assert_non_null(stats);
    assert_int_equal(atoi(stats + strlen("cmdstat_subscribe:calls=")), (N + 511) / 512);
    assert_string_equal(ask("PUBLISH ws:room:4999 x"), ":1\r\n");
    AWAIT(f.messages_n == 1);
}

static void large_messages(void **state)
{
    enum { SIZE = 5 << 20 };
    char *big = malloc(SIZE + 1);
    (void)state;
    memset(big, 'x', SIZE);
    big[SIZE] = 0;
    run_redis(NULL);
    f.conf.queue = 65536; /* an empty queue takes one of any size */
    connect_bus();
    subscribed("ws:broadcast");
    assert_int_equal(publish("ws:broadcast", big), 0);
    AWAIT(f.messages_n == 1);
    assert_int_equal(f.messages.n, strlen("ws:broadcast=\n") + SIZE);
    assert_int_equal(f.downs, 0);
    free(big);
}

static int ping_calls(void)
{
    const char *p = strstr(ask("INFO commandstats"), "cmdstat_ping:calls=");
    return p ? atoi(p + strlen("cmdstat_ping:calls=")) : 0;
}

static void silence_is_probed(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    subscribed("ws:broadcast");
    bus_redis_set_silence(f.bus, 40);
    int before = ping_calls();
    AWAIT(ping_calls() >= before + 6);
    assert_true(is_up());
    assert_int_equal(f.downs, 0);
}

/* ---- losses ---- */

static void back_after(void (*harm)(void), const char *words)
{
    unsigned ups = f.ups, downs = f.downs;
    harm();
    AWAIT(f.downs == downs + 1);
    assert_true(strlen(f.why) > 0);
    AWAIT(f.ups == ups + 1);
    subscribed("ws:broadcast");
    size_t n = f.messages_n;
    assert_string_equal(ask("PUBLISH ws:broadcast again"), ":1\r\n");
    AWAIT(f.messages_n == n + 1);
    if (words)
        assert_int_equal(logged(words), 1);
}

static void kill_pubsub(void)
{
    ask("CLIENT KILL TYPE pubsub");
}
static void kill_normal(void)
{
    ask("CLIENT KILL TYPE normal");
}

static void clients_killed(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    subscribed("ws:broadcast");
    back_after(kill_pubsub, "lost Redis at unix:");
    back_after(kill_normal, NULL);
    assert_int_equal(f.counters->bus_reconnects, 2);
    assert_int_equal(logged("lost Redis"), 2);
    assert_int_equal(logged("connected to Redis"), 3);
}

static void server_restarts(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    subscribed("ws:broadcast");
    subscribe("ws:never-confirmed");
    publish_acked("ws:broadcast", "unsent"); /* still in the buffer when the link goes */
    stop_redis();
    unlink(f.socket);
    AWAIT(f.downs == 1);
    assert_false(is_up());
    assert_int_equal(f.bus->ops->confirmed(f.bus),
                     f.bus->ops->mark(f.bus)); /* nobody waits */
    assert_int_equal(f.unacked, 1);
    assert_int_equal(publish("ws:broadcast", "x"), -1);
    publish_acked("ws:broadcast", "x");
    assert_int_equal(f.unacked, 2);
    assert_string_equal(f.ack_why, f.bus->ops->why_down(f.bus));
    subscribe("ws:ignored-while-down");
    assert_int_equal(f.bus->ops->mark(f.bus), 2);
    assert_int_equal(f.counters->bus_up, 0);
    assert_int_equal(f.counters->bus_subscriptions, 0);
    AWAIT(logged("cannot use Redis") == 1); /* the reason has changed: no such file */
    start_redis(NULL);
    AWAIT(is_up());
    subscribed("ws:broadcast");
    assert_int_equal(publish("ws:broadcast", "x"), 0);
    AWAIT(f.messages_n == 1);
    assert_int_equal(f.counters->bus_reconnects, 1);
    assert_true(logged("\n") <= 5);
}

static void server_stands_still(void **state)
{
    (void)state;
    run_redis(NULL);
    connect_bus();
    subscribed("ws:broadcast");
    f.conf.connect_timeout = 100;
    bus_redis_configure(f.bus, &f.conf);
    bus_redis_set_silence(f.bus, 60);
    kill(f.redis, SIGSTOP);
    publish_acked("ws:broadcast", "lost?");
    AWAIT(f.downs == 1);
    assert_string_equal(f.why, "it has stopped answering");
    assert_int_equal(f.unacked, 1);
    assert_string_equal(f.ack_why, "bus-uncertain");
    assert_int_equal(f.counters->bus_publish_lost, 1);
    AWAIT(strcmp(f.bus->ops->why_down(f.bus), "it does not answer") == 0);
    f.conf.connect_timeout = 5000;
    bus_redis_configure(f.bus, &f.conf);
    kill(f.redis, SIGCONT);
    AWAIT(is_up());
    assert_int_equal(f.unacked, 1);
}

static void publish_queue_is_bounded(void **state)
{
    static char payload[1001];
    int accepted = 0;
    (void)state;
    memset(payload, 'x', 1000);
    run_redis(NULL);
    f.conf.queue = 65536;
    connect_bus();
    kill(f.redis, SIGSTOP);
    while (publish("ws:room:r", payload) == 0)
        assert_true(++accepted < 100000);
    assert_true(accepted >= 60);
    assert_false(is_up());
    assert_string_equal(f.bus->ops->why_down(f.bus), "the publish queue is full");
    publish_acked("ws:room:r", payload);
    assert_int_equal(f.unacked, 1);
    assert_int_equal(f.downs, 0); /* the links stand: members stay subscribed */
    kill(f.redis, SIGCONT);
    AWAIT(is_up());
    AWAIT(f.counters->bus_published == (uint64_t)accepted);
    assert_int_equal(publish("ws:room:r", "x"), 0);
}

/* Redis cuts a subscriber off that does not read. */
static void output_buffer_limit(void **state)
{
    static char payload[100 * 1000];
    (void)state;
    run_redis(NULL);
    ask("CONFIG SET client-output-buffer-limit \"pubsub 1mb 1mb 1\"");
    f.only_count = true;
    connect_bus();
    subscribed("ws:broadcast");
    int fd = dial(), sent = 0;
    memset(payload, 'x', sizeof(payload));
    for (; sent < 200; sent++) {
        char head[80], answer[16];
        int n = snprintf(head, sizeof(head),
                         "*3\r\n$7\r\nPUBLISH\r\n$12\r\nws:broadcast\r\n$%zu\r\n",
                         sizeof(payload));
        assert_int_equal(send(fd, head, (size_t)n, 0), n);
        assert_int_equal(send(fd, payload, sizeof(payload), 0), sizeof(payload));
        assert_int_equal(send(fd, "\r\n", 2, 0), 2);
        ssize_t got = recv(fd, answer, sizeof(answer), 0);
        if (got == 4 && memcmp(answer, ":0\r\n", 4) == 0)
            break; /* it is gone */
    }
    close(fd);
    assert_true(sent < 200);
    AWAIT(f.downs == 1);
    AWAIT(f.ups == 2);
    subscribed("ws:broadcast");
    assert_string_equal(ask("PUBLISH ws:broadcast again"), ":1\r\n");
    size_t n = f.messages_n;
    AWAIT(f.messages_n == n + 1);
}

/* ---- passwords, databases, permissions ---- */

static void needs_the_password(void **state)
{
    static const char *const args[] = {"--requirepass", "s3cret", NULL};
    (void)state;
    start_redis(args);
    open_bus();
    AWAIT(strstr(f.bus->ops->why_down(f.bus), "NOAUTH"));
    close_bus();
    f.conf.password.value = STR("wr0ng");
    open_bus();
    AWAIT(strstr(f.bus->ops->why_down(f.bus), "WRONGPASS"));
    AWAIT(logged("AUTH was refused: ") == 1);
    assert_int_equal(f.ups, 0);
    close_bus();
    f.conf.password.value = STR("s3cret");
    connect_bus();
    close_bus();
    f.conf.password.value = STR_NONE;
    snprintf(f.url, sizeof(f.url), "unix://%s?db=3", f.socket);
    f.conf.url = str_of(f.url);
    f.conf.password.value = STR("s3cret");
    connect_bus();
    assert_int_equal(logged("wr0ng") + logged("s3cret"), 0);
}

static void database_out_of_range(void **state)
{
    (void)state;
    run_redis(NULL);
    snprintf(f.url, sizeof(f.url), "unix://%s?db=15", f.socket);
    f.conf.url = str_of(f.url);
    connect_bus();
    assert_non_null(strstr(ask("CLIENT LIST"), "db=15"));
    close_bus();
    snprintf(f.url, sizeof(f.url), "unix://%s?db=16", f.socket);
    f.conf.url = str_of(f.url);
    open_bus();
    AWAIT(strstr(f.bus->ops->why_down(f.bus), "out of range"));
    assert_false(is_up());
}

static void needless_password(void **state)
{
    (void)state;
    run_redis(NULL);
    f.conf.password.value = STR("s3cret");
    connect_bus();
    AWAIT(logged("has none") == 1);
    assert_int_equal(logged("s3cret"), 0);
}

static void refusals_do_not_end_the_link(void **state)
{
    (void)state;
    run_redis(NULL);
    assert_string_equal(ask("ACL SETUSER default resetchannels &ws:*"), "+OK\r\n");
    connect_bus();
    subscribe("other:forbidden");
    AWAIT(f.confirmed == 1);
    assert_int_equal(logged("refused SUBSCRIBE: "), 1);
    subscribed("ws:broadcast");
    publish_acked("other:forbidden", "x");
    assert_int_equal(publish("other:forbidden", "x"), 0);
    assert_int_equal(publish("ws:broadcast", "x"), 0);
    AWAIT(f.messages_n == 1);
    AWAIT(f.unacked == 1);
    assert_non_null(strstr(f.ack_why, "NOPERM"));
    AWAIT(f.counters->bus_publish_lost == 2 && f.counters->bus_published == 1);
    for (int i = 0; i < 200; i++)
        publish("other:forbidden", "x");
    AWAIT(f.counters->bus_publish_lost == 202);
    assert_true(logged("refused") <= 6);
    assert_int_equal(f.downs, 0);
}

/* ---- addresses ---- */

static unsigned free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
    close(fd);
    return ntohs(in.sin_port);
}

static void several_addresses(void **state)
{
    char port[16];
    const char *const args[] = {"--port", port, "--bind", "127.0.0.1", NULL};
    (void)state;
    snprintf(port, sizeof(port), "%u", free_port());
    run_redis(args);
    snprintf(f.url, sizeof(f.url), "redis://redis.test:%s", port);
    f.conf.url = str_of(f.url);
    open_bus();
    AWAIT(strstr(f.bus->ops->why_down(f.bus), "no address"));
    addresses_set(&f.book, STR("redis.test 127.0.0.8 127.0.0.9 127.0.0.1\n"));
    AWAIT(is_up());
    assert_int_equal(logged("(127.0.0.1)"), 1);
    assert_int_equal(publish("ws:x", "y"), 0);
    AWAIT(f.counters->bus_published == 1);
}

/* ---- servers that are none ---- */

static void garbage_instead_of_a_greeting(void **state)
{
    static char endless[80000];
    static const struct {
        struct str says;
        bool hangs_up;
    } cases[] = {
        {{"", 0}, true},
        {STR("HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"), true},
        {STR("\0\1\2\3\r\n\r\n"), false},
        {STR("+OK"), true},
        {STR("+OK\r\n$-5\r\n"), false},
        {STR("+OK\r\n$99999999999999999999\r\n"), false},
        {STR("*1000000000\r\n"), false},
        {STR("*-7\r\n"), false},
        {STR("*2\r\n*1\r\n+a\r\n+b\r\n"), false},
        {STR("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"), false},
        {STR(":1\r\n:1\r\n"), false},
        {STR("+OK\r\n+PONG\r\n+PONG\r\n"), false},
        {STR("-ERR max number of clients reached\r\n"), true},
        {STR("+OK\r\n-LOADING Redis is loading the dataset in memory\r\n"), false},
        {STR("+OK\r\n-MASTERDOWN Link with MASTER is down\r\n"), false},
        {{endless, sizeof(endless)}, false},
    };
    (void)state;
    memset(endless, '+', sizeof(endless));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        impersonate(cases[i].says, cases[i].hangs_up);
        int64_t start = clock_now_ms();
        open_bus();
        AWAIT(imp.accepted >=
              6); /* three attempts, so two pauses: 50 … 100, 100 … 200 ms */
        assert_true(clock_now_ms() - start >= 140);
        assert_true(strlen(f.bus->ops->why_down(f.bus)) > 0);
        close_bus();
        unmask();
        assert_int_equal(f.ups, 0);
        assert_int_equal(f.downs, 0);
    }
    open_bus();
    start_redis(NULL);
    AWAIT(is_up());
}

static void garbage_later(void **state)
{
    static const struct str cases[] = {
        STR("*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"),
        STR("*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:1\r\n"),
        STR("*4\r\n$8\r\npmessage\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n"),
        STR("*3\r\n$7\r\ninvalid\r\n$1\r\nx\r\n$1\r\nx\r\n"),
        STR("*0\r\n"),
        STR("*-1\r\n"),
        STR("$-1\r\n"),
        STR("$3\r\nabc\r\n"),
        STR(":5\r\n"),
        STR("-ERR why\r\n"),
        STR("+PONG\r\n"),
        STR("*3\r\n$7\r\nmessage\r\n*1\r\n+x\r\n$1\r\nx\r\n"),
        STR("%1\r\n+a\r\n+b\r\n"),
        STR("x"),
    };
    (void)state;
    impersonate(STR(GREETING), false);
    open_bus();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AWAIT(f.ups == i + 1);
        say(cases[i].p, cases[i].n);
        AWAIT(f.downs == i + 1);
        close_bus(); /* a new one: the back-off of this one grows, as it should */
        unmask();
        impersonate(STR(GREETING), false);
        open_bus();
    }
    close_bus();
    unmask();
}

/* The limits of what one answer may cost. */
static void giant_reply(void **state)
{
    static char chunk[1 << 16];
    (void)state;
    impersonate(STR(GREETING), false);
    connect_bus();
    (void)!send(imp.clients[1], "$2000000000\r\n", 13, MSG_NOSIGNAL);
    while (f.downs == 0) { /* ends: each turn takes some of it */
        while (send(imp.clients[1], chunk, sizeof(chunk), MSG_NOSIGNAL) > 0)
            ;
        turn();
    }
    assert_string_equal(f.why, "a reply over the limit");
    close_bus();
    unmask();
}

/* Bytes without an end of a reply are no sign of life. */
static void dripping_server(void **state)
{
    (void)state;
    impersonate(STR(GREETING), false);
    connect_bus();
    bus_redis_set_silence(f.bus, 60);
    say("*3\r\n$7\r\nmessage\r\n$60000000\r\n", 28);
    AWAIT((say("x", 1), f.downs == 1));
    assert_string_equal(f.why, "it has stopped answering");
    close_bus();
    unmask();
}

/* Half a message, then the end. */
static void half_a_message(void **state)
{
    static const char text[] = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\nabcd\r\n";
    (void)state;
    impersonate(STR(GREETING), false);
    connect_bus();
    unsigned sub = 1; /* the second link */
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        (void)!send(imp.clients[sub], text + i, 1, MSG_NOSIGNAL);
        turn();
    }
    AWAIT(f.messages_n == 1);
    assert_true(heard("c=abcd\n"));
    (void)!send(imp.clients[sub], text, 20, MSG_NOSIGNAL);
    shutdown(imp.clients[sub], SHUT_RDWR);
    AWAIT(f.downs == 1);
    AWAIT(f.ups == 2);
    assert_int_equal(f.messages_n, 1);
    close_bus();
    unmask();
}

static void refuses_what_it_cannot_use(void **state)
{
    static const struct {
        const char *url, *managed, *words;
    } cases[] = {
        {"http://x", "/s", "Invalid redis connection!"},
        {"", "/s", "Invalid redis connection!"},
        {"managed", "", "managed Redis"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        f.conf.url = str_of(cases[i].url);
        assert_null(bus_redis_open(f.base, &f.conf, str_of(cases[i].managed), &f.book,
                                   f.counters, &events, NULL, &e));
        assert_non_null(strstr(e.text, cases[i].words));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(messages_come_and_go),
        TEST(prefix_is_put_before),
        TEST(thousand_in_order),
        TEST(much_work_takes_several_turns),
        TEST(thousands_of_channels),
        TEST(large_messages),
        TEST(silence_is_probed),
        TEST(clients_killed),
        TEST(server_restarts),
        TEST(server_stands_still),
        TEST(publish_queue_is_bounded),
        TEST(output_buffer_limit),
        TEST(needs_the_password),
        TEST(database_out_of_range),
        TEST(needless_password),
        TEST(refusals_do_not_end_the_link),
        TEST(several_addresses),
        TEST(garbage_instead_of_a_greeting),
        TEST(garbage_later),
        TEST(giant_reply),
        TEST(dripping_server),
        TEST(half_a_message),
        TEST(refuses_what_it_cannot_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
