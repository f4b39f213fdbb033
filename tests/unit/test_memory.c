// floors: net
/* memory: what libevent keeps for a descriptor lies in its own place, whatever becomes of
 * it; recycled buffers and long lists go when a second passes without them. */
#include "worker/net/memory.h"

#include "common/mem.h"
#include "worker/net/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <unistd.h>

static void on_event(UNUSED evutil_socket_t fd, UNUSED short what, UNUSED void *arg) {}

static size_t descriptors(void)
{
    struct memory_use use;
    memory_measure(&use);
    return use.descriptors;
}

static void a_descriptor_costs_once(void **state)
{
    enum { MANY = 100 };
    struct event ev[MANY] = {0};
    struct event_base *base = event_base_new();
    int fds[MANY];
    size_t before = descriptors();
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            int pair[2];
            assert_int_equal(pipe(pair), 0);
            close(pair[1]);
            fds[i] = pair[0];
            event_assign(&ev[i], base, fds[i], EV_READ, on_event, NULL);
            event_add(&ev[i], NULL);
        }
        assert_in_range(descriptors() - before, MANY * 16, MANY * 16 + 64);
        for (int i = 0; i < MANY; i++) {
            event_del(&ev[i]);
            close(fds[i]);
        }
    }
    event_base_free(base);
    base = event_base_new(); /* takes what the first has given back */
    event_base_free(base);
    assert_in_range(descriptors() - before, MANY * 16, MANY * 16 + 64);
}

static void blocks_cost_what_malloc_takes(void **state)
{
    (void)state;
    assert_int_equal(memory_block(0), 32);
    assert_int_equal(memory_block(24), 32);
    assert_int_equal(memory_block(25), 48);
    assert_int_equal(memory_block(360), 368);
}

static void what_nobody_borrows_goes(void **state)
{
    struct net net;
    struct net_use use;
    struct err e = {0};
    struct counters *counters = mem_new(sizeof(*counters));
    struct event_base *base = event_base_new();
    (void)state;
    assert_int_equal(net_init(&net, base, counters, &e), 0);
    struct buf *b[3];
    for (int i = 0; i < 3; i++) {
        b[i] = net_borrow(&net);
        buf_reserve(b[i], 1000);
    }
    for (int i = 0; i < 3; i++)
        net_give_back(&net, b[i]);
    net_second(&net, 1000); /* during which they were borrowed */
    assert_int_equal(net.spare_n, 3);
    net_give_back(&net, net_borrow(&net));
    net_second(&net, 2000); /* during which one was */
    assert_int_equal(net.spare_n, 1);
    net_second(&net, 3000);
    assert_int_equal(net.spare_n, 0);
    net.turn.dirty_cap = 100000;
    net.turn.dirty = mem_new(net.turn.dirty_cap * sizeof(*net.turn.dirty));
    net_measure(&net, &use);
    assert_true(use.lists >= 800000);
    net_second(&net, 4000);
    net_measure(&net, &use);
    assert_true(use.lists <= 16384);
    net_fini(&net);
    event_base_free(base);
    free(counters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_costs_once),
        cmocka_unit_test(blocks_cost_what_malloc_takes),
        cmocka_unit_test(what_nobody_borrows_goes),
    };
    memory_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
