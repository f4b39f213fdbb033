// floors: net
/* The worker's end of a listening socket: who waits is taken, and nothing makes it spin.
 */
#include "worker/net/accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct fixture {
    struct event_base *base;
    struct counters *counters;
    int counters_fd;
    struct net net;
    struct acceptor acceptor;
    struct sockaddr_storage address;
    socklen_t address_n;
    int fd, client[8]; /* fd: the supervisor's own descriptor of the listener */
    size_t clients_n;
    unsigned accepted, drained;
} f;

static void on_accept(UNUSED void *ctx, int fd, UNUSED unsigned listener)
{
    f.accepted++;
    close(fd);
}

static void on_drained(UNUSED void *ctx, const struct listener *l)
{
    f.drained += l->accepted + 1;
}

static int setup(void **state)
{
    struct err e;
    struct sockaddr_in any = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)state;
    f = (struct fixture){.base = event_base_new(), .address_n = sizeof(f.address)};
    f.counters_fd = counters_create(&f.counters, &e);
    assert_int_equal(net_init(&f.net, f.base, f.counters, &e), 0);
    acceptor_init(&f.acceptor, &f.net, NULL);
    f.acceptor.on_accept = on_accept;
    f.acceptor.on_drained = on_drained;
    f.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f.fd, (struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(listen(f.fd, 16), 0);
    assert_int_equal(getsockname(f.fd, (struct sockaddr *)&f.address, &f.address_n), 0);
    assert_int_equal(acceptor_add(&f.acceptor, dup(f.fd), 3, 1, &e), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (f.clients_n)
        close(f.client[--f.clients_n]);
    acceptor_fini(&f.acceptor);
    close(f.fd);
    net_fini(&f.net);
    event_base_free(f.base);
    counters_unmap(f.counters);
    close(f.counters_fd);
    return 0;
}

static void knock(size_t n)
{
    while (n--) {
        int fd = f.client[f.clients_n++] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&f.address, f.address_n), 0);
    }
}

static void turn(void)
{
    assert_true(event_base_loop(f.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

static struct listener *listener(void)
{
    assert_false(list_is_empty(&f.acceptor.listeners));
    return container_of(f.acceptor.listeners.next, struct listener, link);
}

static void takes_who_waits(void **state)
{
    (void)state;
    knock(3);
    turn();
    assert_int_equal(f.accepted, 0); /* not started */
    acceptor_start(&f.acceptor);
    turn();
    assert_int_equal(f.accepted, 3);
    knock(2);
    assert_false(acceptor_drain(&f.acceptor, 3, 0, false)); /* another slot's */
    assert_true(acceptor_drain(&f.acceptor, 3, 1, false));
    assert_int_equal(f.accepted, 5);
    assert_int_equal(f.drained, 2 + 1);
    assert_true(list_is_empty(&f.acceptor.listeners));
}

static void full_is_a_pause(void **state)
{
    (void)state;
    struct conn *none = NULL;
    acceptor_start(&f.acceptor);
    f.acceptor.max_connections = 1;
    f.net.conns = &none;
    f.net.conns_n = 1;
    knock(1);
    turn();
    assert_int_equal(f.accepted, 0);
    assert_int_equal(f.counters->accept_paused, 1);
    assert_false(event_pending(&listener()->ev, EV_READ, NULL));
    f.net.conns = NULL;
    f.net.conns_n = 0;
    while (f.accepted == 0) /* it is tried again by itself */
        assert_int_equal(event_base_loop(f.base, EVLOOP_ONCE), 0);
}

/* The supervisor shuts a listener down when its queue has been served, whoever else still
 * has it. */
static void shut_down_is_the_end(void **state)
{
    (void)state;
    acceptor_start(&f.acceptor);
    assert_int_equal(shutdown(f.fd, SHUT_RDWR), 0);
    turn();
    assert_false(event_pending(&listener()->ev, EV_READ, NULL)); /* else it would spin */
    assert_int_equal(f.counters->accept_paused, 0);
    assert_true(acceptor_drain(&f.acceptor, 3, 1, true));
    assert_int_equal(f.drained, 0 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_who_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(full_is_a_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(shut_down_is_the_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
