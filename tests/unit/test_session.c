// floors: ws
/* Who gets how much of a loop turn, over real sockets; the framing itself is tested
 * against the whole broker. */
#include "worker/ws/session.h"

#include "common/clock.h"
#include "common/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define CLIENTS 2

static struct fixture {
    struct event_base *base;
    struct counters *counters;
    int counters_fd;
    struct net net;
    struct session_env env;
    struct conn *c[CLIENTS];
    int peer[CLIENTS];
    int64_t work_ms;        /* of each message */
    unsigned got[CLIENTS];  /* messages, in order */
    unsigned got_meanwhile; /* by client 0 when client 1 was heard first */
} f;

static void on_opened(UNUSED struct conn *c, UNUSED const struct session_opening *how) {}

static void on_message(struct conn *c, UNUSED bool is_text, struct str m)
{
    unsigned who = c == f.c[1];
    int64_t end = clock_now_ms() + f.work_ms;
    char want[16];
    snprintf(want, sizeof(want), "%u", f.got[who]++);
    assert_true(str_is(m, want));
    if (who == 1 && f.got[1] == 1)
        f.got_meanwhile = f.got[0];
    while (clock_now_ms() < end)
        ;
}

static void on_closed(UNUSED struct conn *c, UNUSED unsigned code,
                      UNUSED const char *cause)
{
}
static const struct session_ops endpoint = {
    .opened = on_opened, .message = on_message, .closed = on_closed};

static int setup(void **state)
{
    struct err e;
    int fds[2];
    (void)state;
    f = (struct fixture){.base = event_base_new()};
    f.counters_fd = counters_create(&f.counters, &e);
    assert_int_equal(net_init(&f.net, f.base, f.counters, &e), 0);
    f.env = (struct session_env){&endpoint, 1 << 20, 4096, 0};
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(fd_pair(SOCK_STREAM, fds, &e), 0);
        f.peer[i] = fds[1];
        f.c[i] = conn_new(&f.net, fds[0], &transport_plain, &session_conn_ops, 0);
        session_start(f.c[i], &f.env, &(struct session_opening){.path = STR("/")});
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    net_fini(&f.net);
    event_base_free(f.base);
    for (int i = 0; i < CLIENTS; i++)
        close(f.peer[i]);
    counters_unmap(f.counters);
    close(f.counters_fd);
    return 0;
}

static void turn(void)
{
    int how = EVLOOP_ONCE | (net_owes(&f.net) ? EVLOOP_NONBLOCK : 0);
    assert_int_equal(event_base_loop(f.base, how), 0);
    net_resume(&f.net);
    net_flush(&f.net);
    net_bury(&f.net);
    net_end_turn(&f.net);
}

/* The messages "from", "from + 1", … in one write. */
static void say(int who, unsigned from, unsigned to)
{
    struct buf b = {0};
    for (unsigned i = from; i < to; i++) {
        char text[16];
        int size = snprintf(text, sizeof(text), "%u", i);
        buf_put(&b, (char[]){(char)0x81, (char)(0x80 | size), 0, 0, 0, 0}, 6);
        buf_put(&b, text, (size_t)size);
    }
    assert_int_equal(write(f.peer[who], b.p, b.n), b.n);
    buf_free(&b);
}

/* A client whose messages mean much work does not keep the others waiting for all of it.
 */
static void work_is_shared(void **state)
{
    (void)state;
    f.work_ms = 5;
    say(0, 0, 100);
    int64_t begin = clock_now_ms();
    turn();
    say(1, 0, 1);
    while (f.got[0] < 100 || f.got[1] < 1)
        turn();
    assert_true(f.got_meanwhile > 0 && f.got_meanwhile < 60);
    assert_true(clock_now_ms() - begin >= 500);
}

/* The rest of what was read goes before what comes later, whatever cut it. */
static void order_is_kept(void **state)
{
    (void)state;
    f.work_ms = 1;
    for (unsigned from = 0; from < 300; from += 100) {
        say(0, from, from + 100);
        turn();
    }
    while (f.got[0] < 300)
        turn();
}

/* More than `backpressure` within one turn is nobody's slowness, as long as the socket
 * takes it. */
static void a_burst_is_taken(void **state)
{
    (void)state;
    struct frame *frame = frame_new(WIRE_BINARY, (struct str){f.net.inbox, 1000});
    for (int i = 0; i < 50; i++)
        session_send_frame(f.c[0], frame);
    assert_true(session_is_open(f.c[0]));
    for (int i = 0; i < 5000; i++) /* until the socket is full */
        session_send_frame(f.c[0], frame);
    assert_false(session_is_open(f.c[0]));
    assert_int_equal(f.c[0]->st.close_code, 1008);
    assert_true(f.c[0]->out.bytes <= 4096 + 200);
    frame_unref(frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(work_is_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(order_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_burst_is_taken, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
