// floors: net
/* Batches of writes over real sockets: who is in a batch gets what a write of its own
 * would have brought, whatever becomes of the others. Where the kernel permits no ring,
 * the same is shown of plain sends. */
#include "worker/net/uring.h"

#include "common/fd.h"
#include "worker/net/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define MANY (URING_BATCH + 40)
#define SMALL_BUFFER 4096

static struct {
    struct net net;
    struct counters page;
    struct conn *c[MANY];
    int peer[MANY];
    int gone;
    bool has_ring;
} f;

static void on_bytes(UNUSED struct conn *c, UNUSED char *p, UNUSED size_t n) {}

/* The last words of one make all others dirty again. */
static void on_gone(UNUSED struct conn *c, UNUSED const char *cause)
{
    f.gone++;
    for (size_t i = 0; i < MANY; i++)
        if (f.c[i])
            conn_reply(f.c[i], 1, STR("gone"));
}
static int64_t on_due(UNUSED struct conn *c, UNUSED int64_t now_ms)
{
    return 0;
}
static const struct conn_ops owner = {on_bytes, on_gone, on_due};

static int setup(UNUSED void **state)
{
    struct err e;
    memset(&f, 0, sizeof(f));
    assert_int_equal(net_init(&f.net, event_base_new(), &f.page, &e), 0);
    f.has_ring = net_use_uring(&f.net, true, &e) == 0;
    if (!f.has_ring)
        print_message("no ring: %s\n", e.text);
    for (size_t i = 0; i < MANY; i++) {
        int fds[2];
        assert_int_equal(fd_pair(SOCK_STREAM, fds, &e), 0);
        f.peer[i] = fds[1];
        f.c[i] = conn_new(&f.net, fds[0], &transport_plain, &owner, 0);
        assert_non_null(f.c[i]);
    }
    return 0;
}

static int teardown(UNUSED void **state)
{
    struct event_base *base = f.net.base;
    for (size_t i = 0; i < MANY; i++)
        f.c[i] = NULL;
    net_fini(&f.net);
    event_base_free(base);
    for (size_t i = 0; i < MANY; i++)
        fd_close(&f.peer[i]);
    return 0;
}

static void turn(void)
{
    event_base_loop(f.net.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    net_flush(&f.net);
    net_bury(&f.net);
    net_end_turn(&f.net);
}

/* All that has come to a peer so far. */
static size_t take(size_t i, char *out, size_t cap)
{
    size_t n = 0;
    for (ssize_t got; n < cap; n += (size_t)got)
        if ((got = recv(f.peer[i], out + n, cap - n, MSG_DONTWAIT)) <= 0)
            break;
    return n;
}

static void expect(size_t i, const char *want, size_t want_n)
{
    static char got[1 << 16];
    size_t n = take(i, got, sizeof(got));
    assert_int_equal(n, want_n);
    assert_memory_equal(got, want, want_n);
}

static void say(size_t i, const char *text)
{
    conn_raw(f.c[i], str_of(text));
}

static void everybody_gets_their_own(UNUSED void **state)
{
    char text[16];
    for (size_t i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "to %zu", i);
        say(i, text);
    }
    turn();
    for (size_t i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "to %zu", i);
        expect(i, text, strlen(text));
    }
    assert_int_equal(f.page.writes, MANY);
}

static void long_queues_go_out_whole_and_in_order(UNUSED void **state)
{
    static char want[400];
    size_t n = 0;
    for (int k = 0; k < 100; k++) {
        char text[4];
        snprintf(text, sizeof(text), "%03d", k);
        memcpy(want + n, text, 3);
        n += 3;
        for (size_t i = 0; i < MANY; i++) {
            struct frame *one = frame_alloc(3);
            memcpy(one->bytes, text, one->n = 3);
            conn_push(f.c[i], one);
        }
    }
    turn();
    for (size_t i = 0; i < MANY; i++)
        expect(i, want, n);
}

static void a_shared_frame_is_freed_once(UNUSED void **state)
{
    struct frame *all = frame_new(1, STR("hello"));
    for (size_t i = 0; i < MANY; i++)
        conn_push(f.c[i], frame_ref(all));
    assert_int_equal(all->refs, MANY + 1);
    turn();
    assert_int_equal(all->refs, 1);
    for (size_t i = 0; i < MANY; i++)
        expect(i, all->bytes, all->n);
    frame_unref(all);
}

/* A socket that takes no more is written on when it does, from where it stopped. */
static void a_full_socket_goes_on_later(UNUSED void **state)
{
    enum { SIZE = 600000, FULL = 3 };
    static char sent[SIZE], got[SIZE + 1];
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (char)('a' + i % 23);
    setsockopt(conn_fd(f.c[FULL]), SOL_SOCKET, SO_SNDBUF, &(int){SMALL_BUFFER},
               sizeof(int));
    for (size_t i = 0; i < MANY; i++)
        say(i, "x");
    conn_raw(f.c[FULL], (struct str){sent, SIZE});
    turn();
    assert_true(f.c[FULL]->st.flags & CONN_BLOCKED);
    size_t n = take(FULL, got, sizeof(got));
    assert_true(n > 1 && n < SIZE);
    for (int i = 0; i < 10000 && n < SIZE + 1; i++) {
        turn();
        n += take(FULL, got + n, sizeof(got) - n);
    }
    assert_int_equal(n, SIZE + 1);
    assert_memory_equal(got + 1, sent, SIZE);
    assert_false(f.c[FULL]->st.flags & CONN_BLOCKED);
    for (size_t i = 0; i < MANY; i++)
        if (i != FULL)
            expect(i, "x", 1);
}

static void a_vanished_peer_harms_nobody(UNUSED void **state)
{
    enum { LOST = 5 };
    fd_close(&f.peer[LOST]);
    for (size_t i = 0; i < MANY; i++)
        say(i, "x");
    net_flush(&f.net); /* before EOF is read */
    f.c[LOST] = NULL;
    assert_int_equal(f.gone, 1);
    turn();
    for (size_t i = 0; i < MANY; i++)
        if (i != LOST)
            expect(i, "x\x81\x04gone", 7);
}

static void closed_and_blocked_ones_are_passed_over(UNUSED void **state)
{
    for (size_t i = 0; i < MANY; i++)
        say(i, "x");
    struct conn *dead = f.c[0];
    f.c[0] = NULL;
    conn_close(dead, "told to");
    turn();
    for (size_t i = 1; i < MANY; i++)
        expect(i, "x\x81\x04gone", 7);
    expect(0, "", 0);
}

static void it_can_be_switched_off_and_on(UNUSED void **state)
{
    struct err e;
    assert_int_equal(net_use_uring(&f.net, false, &e), 0);
    assert_null(f.net.uring);
    everybody_gets_their_own(NULL);
    assert_int_equal(net_use_uring(&f.net, true, &e), f.has_ring ? 0 : -1);
    f.page.writes = 0;
    everybody_gets_their_own(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(everybody_gets_their_own),
        TEST(long_queues_go_out_whole_and_in_order),
        TEST(a_shared_frame_is_freed_once),
        TEST(a_full_socket_goes_on_later),
        TEST(a_vanished_peer_harms_nobody),
        TEST(closed_and_blocked_ones_are_passed_over),
        TEST(it_can_be_switched_off_and_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
