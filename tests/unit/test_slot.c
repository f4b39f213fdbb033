// floors: supervisor
#include "supervisor/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct slot_table t;

static int fresh(void **state UNUSED)
{
    slot_table_init(&t);
    slot_table_resize(&t, 2, 1000);
    return 0;
}

static uint32_t start(unsigned slot, int64_t now)
{
    uint32_t child = slot_seat(&t, slot, now);
    assert_int_not_equal(child, CHILD_NONE);
    t.children[child].pid = (int32_t)(100 + child);
    return child;
}

static void test_new_slots_are_due_at_once(void **state UNUSED)
{
    assert_true(slot_is_due(&t, 0, 1000));
    assert_true(slot_is_due(&t, 1, 1000));
    assert_false(slot_is_due(&t, 0, 999));
    assert_false(slot_is_due(&t, 2, INT64_MAX));
    assert_int_equal(slot_next_due(&t), 1000);
}

static void test_a_life(void **state UNUSED)
{
    uint32_t a = start(0, 1000);
    assert_int_equal(t.slots[0].state, SLOT_STARTING);
    assert_int_equal(t.children[a].worker, 1);
    assert_false(slot_is_due(&t, 0, INT64_MAX));
    assert_int_equal(slot_ready(&t, a, 1100), CHILD_NONE);
    assert_int_equal(t.slots[0].state, SLOT_RUNNING);
    assert_int_equal(slot_child_by_pid(&t, (pid_t)(100 + a)), a);
    assert_int_equal(slot_count(&t, SLOT_RUNNING), 1);
}

static void test_a_healthy_life_is_followed_at_once(void **state UNUSED)
{
    uint32_t a = start(0, 1000);
    slot_ready(&t, a, 1000);
    struct slot_loss loss = slot_died(&t, a, false, 1000 + SLOT_HEALTHY_MS);
    assert_true(loss.was_seated && loss.was_serving && !loss.throttled);
    assert_int_equal(loss.delay_ms, 0);
    assert_true(slot_is_due(&t, 0, 1000 + SLOT_HEALTHY_MS));
    assert_int_equal(t.slots[0].restarts, 1);
    assert_int_equal(t.children[a].state, CHILD_FREE);
}

static void test_backoff_table(void **state UNUSED)
{
    static const int64_t want[] = {0,    100,  200,   400,   800,  1600,
                                   3200, 6400, 12800, 25600, 30000};
    for (unsigned i = 0; i < ARRAY_LEN(want); i++)
        assert_int_equal(slot_backoff_ms(i), want[i]);
    assert_int_equal(slot_backoff_ms(UINT_MAX), 30000);
}

static void test_failures_in_a_row_throttle(void **state UNUSED)
{
    int64_t now = 1000;
    for (unsigned i = 1; i <= 8; i++) {
        uint32_t a = start(0, now);
        struct slot_loss loss = slot_died(&t, a, false, now);
        assert_int_equal(loss.delay_ms, slot_backoff_ms(i));
        assert_false(loss.was_serving);
        assert_int_equal(t.slots[0].state,
                         i >= SLOT_THROTTLE_AT ? SLOT_THROTTLED : SLOT_BACKOFF);
        assert_int_equal(loss.throttled, i == SLOT_THROTTLE_AT);
        now = t.slots[0].due_ms;
    }
    uint32_t a = start(0, now);
    assert_int_equal(t.slots[0].state, SLOT_THROTTLED); /* until it is READY */
    slot_ready(&t, a, now);
    assert_int_equal(t.slots[0].state, SLOT_RUNNING);
    /* a short life goes on counting, a healthy one forgets */
    slot_died(&t, a, false, now + SLOT_HEALTHY_MS - 1);
    assert_int_equal(t.slots[0].failures, 9);
    a = start(0, now);
    slot_ready(&t, a, now);
    slot_died(&t, a, false, now + SLOT_HEALTHY_MS);
    assert_int_equal(t.slots[0].failures, 0);
    assert_int_equal(t.slots[0].state, SLOT_BACKOFF);
}

static void test_a_successor_replaces(void **state UNUSED)
{
    uint32_t a = start(0, 1000);
    assert_int_equal(slot_seat(&t, 0, 1000), CHILD_NONE); /* not while it is starting */
    slot_ready(&t, a, 1000);
    uint32_t b = start(0, 2000);
    assert_int_equal(t.slots[0].child, a);
    assert_int_equal(t.slots[0].successor, b);
    assert_int_equal(slot_seat(&t, 0, 2000), CHILD_NONE); /* one at a time */
    assert_int_equal(slot_ready(&t, b, 2100), a);
    assert_int_equal(t.children[a].state, CHILD_RETIRING);
    assert_int_equal(t.slots[0].child, b);
    assert_int_equal(t.slots[0].successor, CHILD_NONE);
    struct slot_loss loss = slot_died(&t, a, true, 9000);
    assert_false(loss.was_seated || loss.was_successor || loss.was_serving);
    assert_int_equal(t.slots[0].state, SLOT_RUNNING);
}

static void test_a_successor_that_fails_changes_nothing(void **state UNUSED)
{
    uint32_t a = start(0, 1000);
    slot_ready(&t, a, 1000);
    uint32_t b = start(0, 2000);
    struct slot_loss loss = slot_died(&t, b, false, 2010);
    assert_true(loss.was_successor && !loss.was_seated);
    assert_int_equal(t.slots[0].child, a);
    assert_int_equal(t.slots[0].state, SLOT_RUNNING);
    assert_int_equal(t.slots[0].failures, 0);
}

static void test_a_death_while_a_successor_starts(void **state UNUSED)
{
    uint32_t a = start(0, 1000);
    slot_ready(&t, a, 1000);
    uint32_t b = start(0, 2000);
    t.slots[0].failures = SLOT_THROTTLE_AT - 1;
    struct slot_loss loss = slot_died(&t, a, false, 2010);
    assert_true(loss.was_seated && !loss.throttled); /* nothing is lent: b is there */
    assert_int_equal(t.slots[0].child, b);
    assert_int_equal(t.slots[0].state, SLOT_STARTING);
    assert_false(slot_is_due(&t, 0, INT64_MAX));
    assert_int_equal(slot_ready(&t, b, 2100), CHILD_NONE);
}

static void test_retiring(void **state UNUSED)
{
    uint32_t a = start(1, 1000);
    slot_ready(&t, a, 1000);
    uint32_t b = start(1, 1500);
    assert_int_equal(slot_retire(&t, 1), a);
    assert_int_equal(t.children[a].state, CHILD_RETIRING);
    assert_int_equal(t.children[b].state, CHILD_STOPPING);
    assert_int_equal(t.slots[1].state, SLOT_EMPTY);
    assert_int_equal(slot_retire(&t, 1), CHILD_NONE);
    assert_false(slot_is_due(&t, 1, INT64_MAX));
    slot_table_resize(&t, 1, 2000);
    slot_table_resize(&t, 2, 3000); /* up again, while the old one still retires */
    uint32_t c = start(1, 3000);
    assert_int_equal(t.children[c].worker, 3);
    assert_false(slot_died(&t, a, false, 4000).was_seated);
    assert_int_equal(t.slots[1].child, c);
}

static void test_a_full_table_refuses(void **state UNUSED)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        t.children[i].state = CHILD_RETIRING;
    assert_int_equal(slot_seat(&t, 0, 1000), CHILD_NONE);
    assert_int_equal(t.slots[0].state, SLOT_BACKOFF);
}

/* ── encode, decode ── */

static void fill(struct buf *out)
{
    uint32_t a = start(0, 1000), b;
    slot_ready(&t, a, 1200);
    b = start(0, 1300);
    t.children[a].chan_fd = 17;
    t.children[b].bus_up = 1;
    memset(t.children[a].server_id, 'x', 36);
    t.slots[0].due_ms = -5;
    slot_table_encode(&t, out);
}

static void test_round_trip(void **state UNUSED)
{
    static struct slot_table back;
    struct buf bytes = {0}, again = {0};
    struct err e = {0};
    fill(&bytes);
    memset(&back, 0xee, sizeof back);
    assert_int_equal(slot_table_decode(&back, buf_view(&bytes), &e), 0);
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        const struct child *a = &back.children[i], *b = &t.children[i];
#define FIELD(type, name) assert_int_equal(a->name, b->name);
        CHILD_FIELDS(FIELD)
        assert_memory_equal(a->server_id, b->server_id, sizeof a->server_id);
    }
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        const struct slot *a = &back.slots[i], *b = &t.slots[i];
        SLOT_FIELDS(FIELD)
#undef FIELD
    }
    slot_table_encode(&back, &again);
    assert_true(str_eq(buf_view(&again), buf_view(&bytes)));
    buf_free(&again);
    buf_free(&bytes);
}

static void test_every_cut_is_refused(void **state UNUSED)
{
    static struct slot_table back, before;
    struct buf bytes = {0};
    struct err e;
    fill(&bytes);
    slot_table_init(&back);
    before = back;
    for (size_t n = 0; n < bytes.n; n++) {
        e.text[0] = '\0';
        assert_int_equal(slot_table_decode(&back, (struct str){bytes.p, n}, &e), -1);
        assert_true(e.text[0] != '\0');
    }
    buf_char(&bytes, 0);
    assert_int_equal(slot_table_decode(&back, buf_view(&bytes), &e), -1);
    assert_memory_equal(&back, &before, sizeof back);
    buf_free(&bytes);
}

static void test_contradictions_are_refused(void **state UNUSED)
{
    static struct slot_table back, good;
    struct buf bytes = {0};
    struct err e;
    fill(&bytes);
    good = t;
    for (int i = 0; i < 5; i++) {
        t = good;
        struct slot *s = &t.slots[0];
        if (i == 0)
            s->child = CHILD_NONE; /* RUNNING, with nobody to run */
        else if (i == 1)
            s->successor = s->child;
        else if (i == 2)
            s->child = CHILDREN_MAX - 1; /* not there */
        else if (i == 3)
            t.children[s->successor].slot = 1;
        else
            t.slots[1].child = s->child; /* somebody else's */
        buf_clear(&bytes);
        slot_table_encode(&t, &bytes);
        assert_int_equal(slot_table_decode(&back, buf_view(&bytes), &e), -1);
        assert_string_equal(e.text, "the slot table is damaged");
    }
    buf_free(&bytes);
}

/* Any byte turned: refused or another valid table, never an index out of bounds (the
 * sanitizers watch). */
static void test_damage_is_survived(void **state UNUSED)
{
    static struct slot_table back;
    struct buf bytes = {0};
    struct err e;
    fill(&bytes);
    for (size_t i = 0; i < bytes.n; i++) {
        bytes.p[i] ^= (char)0xff;
        if (slot_table_decode(&back, buf_view(&bytes), &e) == 0) {
            assert_true(back.slots[0].state < SLOT_STATES_N);
            assert_true(back.slots[0].child == CHILD_NONE ||
                        back.slots[0].child < CHILDREN_MAX);
        }
        bytes.p[i] ^= (char)0xff;
    }
    buf_free(&bytes);
}

static void test_names(void **state UNUSED)
{
    for (unsigned i = 0; i < SLOT_STATES_N; i++)
        assert_string_not_equal(slot_state_name(i), "?");
    for (unsigned i = 0; i < CHILD_STATES_N; i++)
        assert_string_not_equal(child_state_name(i), "?");
    assert_string_equal(slot_state_name(99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_new_slots_are_due_at_once, fresh),
        cmocka_unit_test_setup(test_a_life, fresh),
        cmocka_unit_test_setup(test_a_healthy_life_is_followed_at_once, fresh),
        cmocka_unit_test_setup(test_backoff_table, fresh),
        cmocka_unit_test_setup(test_failures_in_a_row_throttle, fresh),
        cmocka_unit_test_setup(test_a_successor_replaces, fresh),
        cmocka_unit_test_setup(test_a_successor_that_fails_changes_nothing, fresh),
        cmocka_unit_test_setup(test_a_death_while_a_successor_starts, fresh),
        cmocka_unit_test_setup(test_retiring, fresh),
        cmocka_unit_test_setup(test_a_full_table_refuses, fresh),
        cmocka_unit_test_setup(test_round_trip, fresh),
        cmocka_unit_test_setup(test_every_cut_is_refused, fresh),
        cmocka_unit_test_setup(test_contradictions_are_refused, fresh),
        cmocka_unit_test_setup(test_damage_is_survived, fresh),
        cmocka_unit_test_setup(test_names, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
