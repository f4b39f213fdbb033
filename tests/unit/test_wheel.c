// floors: net
/* wheel against a naive model: never early, at most a grain late, each setting fires
 * once. */
#include "worker/net/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define N 500

struct timer {
    struct wheel_entry entry;
    int64_t want_ms; /* the model: 0 not set */
    int fired;
};
static struct timer timers[N];

static void on_due(struct wheel_entry *e, int64_t now_ms)
{
    struct timer *t = container_of(e, struct timer, entry);
    assert_true(t->want_ms != 0);
    assert_true(now_ms >= t->want_ms); /* never early */
    t->want_ms = 0;
    t->fired++;
}

static void set(struct wheel *w, struct timer *t, int64_t due_ms)
{
    t->want_ms = due_ms;
    wheel_set(w, &t->entry, due_ms);
}

static void random_settings(void **state)
{
    (void)state;
    struct wheel w;
    int64_t now = 1000003;
    unsigned seed = 1;
    int set_n = 0, fired = 0;
    assert_int_equal(wheel_init(&w, NULL, on_due, NULL, NULL, now), 0);
    for (int i = 0; i < N; i++)
        wheel_entry_init(&timers[i].entry);
    for (int round = 0; round < 4000; round++) {
        for (int k = 0; k < 5; k++) {
            struct timer *t = &timers[rand_r(&seed) % N];
            int64_t far = rand_r(&seed) % 10
                              ? 3000
                              : 300000; /* some beyond one round of the wheel */
            if (rand_r(&seed) % 8 == 0) {
                set_n -= t->want_ms != 0;
                set(&w, t, 0);
            } else {
                set_n += t->want_ms == 0;
                set(&w, t, now + 1 + rand_r(&seed) % far);
            }
        }
        now += rand_r(&seed) % 50 == 0
                   ? 90000
                   : rand_r(&seed) % 200; /* now and then a stopped process */
        int before = 0, after = 0;
        for (int i = 0; i < N; i++)
            before += timers[i].fired;
        wheel_advance(&w, now);
        for (int i = 0; i < N; i++)
            after += timers[i].fired;
        fired += after - before;
        for (int i = 0; i < N; i++)
            assert_true(timers[i].want_ms == 0 ||
                        timers[i].want_ms > now - WHEEL_GRAIN_MS);
    }
    int pending = 0;
    for (int i = 0; i < N; i++)
        pending += timers[i].want_ms != 0;
    assert_int_equal(set_n - fired, pending);
    assert_true(fired > 1000);
}

static int seconds;
static void on_second(void *ctx, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    seconds++;
}

static void ticks_without_timers(void **state)
{
    (void)state;
    struct wheel w;
    wheel_init(&w, NULL, on_due, on_second, NULL, 5000);
    for (int64_t now = 5000; now <= 15000; now += 100)
        wheel_advance(&w, now);
    assert_int_equal(seconds, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_settings),
        cmocka_unit_test(ticks_without_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
