// floors: net
/* outq against a plain byte string: whatever is queued comes out in order, however the
 * writes are cut. */
#include "worker/net/outq.h"

#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void header_lengths(void **state)
{
    (void)state;
    static const struct {
        size_t n, head;
    } cases[] = {{0, 2}, {125, 2}, {126, 4}, {65535, 4}, {65536, 10}, {1ul << 33, 10}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t out[FRAME_HEADER_MAX];
        uint64_t n = 0;
        size_t size = frame_header(out, 2, cases[i].n);
        assert_int_equal(size, cases[i].head);
        assert_int_equal(out[0], 0x82);
        assert_int_equal(out[1] & 0x80, 0);
        for (size_t k = 2; k < size; k++)
            n = n << 8 | out[k];
        assert_int_equal(size == 2 ? out[1] : n, cases[i].n);
    }
}

static void payload_is_found_again(void **state)
{
    (void)state;
    static char bytes[70000];
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 70000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct frame *f = frame_new(FRAME_RSV1 | 2, (struct str){bytes, sizes[i]});
        assert_int_equal((uint8_t)f->bytes[0], 0xC2);
        assert_int_equal(frame_opcode(f), 2);
        assert_int_equal(frame_payload(f).n, sizes[i]);
        assert_ptr_equal(frame_payload(f).p, f->bytes + f->n - sizes[i]);
        frame_unref(f);
    }
}

/* A form lives as long as the plain one, and longer where somebody still has it. */
static void forms_are_kept(void **state)
{
    (void)state;
    struct frame *plain = frame_new(1, STR("plain")), *kept = NULL;
    for (uint16_t form = 1; form <= 3; form++) {
        assert_null(frame_form(plain, form));
        frame_add_form(plain, form, frame_new(1, STR("other")));
        if (form == 2)
            kept = frame_ref(frame_form(plain, form));
    }
    for (uint16_t form = 1; form <= 3; form++)
        assert_int_equal(frame_form(plain, form)->form, form);
    assert_null(frame_form(plain, 4));
    assert_ptr_equal(frame_form(plain, 2), kept);
    frame_unref(plain);
    assert_true(str_is(frame_payload(kept), "other"));
    frame_unref(kept);
}

/* Writes at most `step` bytes at a time until the queue is empty. */
static void drain(struct outq *q, struct buf *out, size_t step)
{
    struct iovec iov[3];
    while (!outq_is_empty(q)) {
        int n = outq_gather(q, iov, ARRAY_LEN(iov));
        size_t left = step, taken = 0;
        assert_true(n > 0);
        for (int i = 0; i < n && left; i++) {
            size_t part = MIN(left, iov[i].iov_len);
            assert_true(iov[i].iov_len > 0);
            buf_put(out, iov[i].iov_base, part);
            left -= part;
            taken += part;
        }
        outq_written(q, taken);
    }
    assert_int_equal(q->bytes, 0);
    assert_null(q->vec);
}

static void any_mixture(void **state)
{
    (void)state;
    for (size_t step = 1; step < 400; step += 7) {
        struct outq q;
        struct buf want = {0}, got = {0};
        struct frame *shared = frame_new(1, STR("shared by many"));
        outq_init(&q);
        for (int i = 0; i < 40; i++) {
            char text[300];
            size_t n = (size_t)(i * 37 % 290);
            memset(text, 'a' + i % 26, n);
            uint8_t head[FRAME_HEADER_MAX];
            if (i % 5 == 0) {
                outq_push(&q, frame_ref(shared));
                buf_put(&want, shared->bytes, shared->n);
            } else if (i % 7 == 0) {
                outq_raw(&q, STR("HTTP"));
                buf_str(&want, STR("HTTP"));
            } else {
                outq_reply(&q, 2, (struct str){text, n});
                buf_put(&want, head, frame_header(head, 2, n));
                buf_put(&want, text, n);
            }
            if (i % 13 == 0 && !outq_is_empty(&q)) {
                struct iovec one;
                outq_gather(&q, &one, 1);
                buf_put(&got, one.iov_base, 1);
                outq_written(&q, 1);
            }
            assert_int_equal(q.bytes, want.n - got.n);
        }
        drain(&q, &got, step);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.p, want.p, want.n);
        assert_int_equal(shared->refs, 1);
        frame_unref(shared);
        outq_fini(&q);
        buf_free(&want);
        buf_free(&got);
    }
}

static void shared_frames_are_not_written_into(void **state)
{
    (void)state;
    struct outq a, b;
    struct frame *f = frame_alloc(200);
    frame_append(f, 1, STR("x"));
    outq_init(&a);
    outq_init(&b);
    outq_push(&a, frame_ref(f));
    outq_push(&b, f);
    outq_reply(&a, 1, STR("only for a"));
    assert_int_equal(f->n, 3);
    assert_int_equal(a.n, 2);
    assert_int_equal(b.bytes, 3);
    outq_fini(&a);
    outq_fini(&b);
}

static void replies_of_a_turn_share_a_block(void **state)
{
    (void)state;
    struct outq q;
    outq_init(&q);
    for (int i = 0; i < 16; i++)
        outq_reply(&q, 1, STR("0123456789abcdef"));
    assert_int_equal(q.bytes, 16 * 18);
    assert_true(q.n <= 2);
    outq_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_lengths),
        cmocka_unit_test(payload_is_found_again),
        cmocka_unit_test(forms_are_kept),
        cmocka_unit_test(any_mixture),
        cmocka_unit_test(shared_frames_are_not_written_into),
        cmocka_unit_test(replies_of_a_turn_share_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
