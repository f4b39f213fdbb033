// floors: net
/* A connection over a socket pair, its transport scripted: short writes, none at all,
 * endless input. Every byte the peer sends is a message: capitals command the owner, the
 * rest is written down. */
#include "worker/net/conn.h"

#include "common/clock.h"
#include "common/fd.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#define ANSWER 1000
#define ANSWER_FRAME (4 + ANSWER)
#define CHOKE 8000

static struct {
    struct net net;
    struct counters page;
    struct conn *c;
    int peer;
    /* the owner */
    struct buf heard;
    int gone, dues, answers;
    char cause[64];
    int64_t next_due;
    /* the transport */
    ssize_t budget; /* bytes the socket still takes; -1: any number */
    size_t step;    /* at most so many at once */
    int writes, finishes;
    bool endless; /* reads never end */
} f;

/* ---- the transport ---- */

static ssize_t fake_read(struct conn *c, void *dst, size_t cap)
{
    if (!f.endless)
        return transport_plain.read(c, dst, cap);
    memset(dst, 'x', cap);
    return (ssize_t)cap;
}
static ssize_t fake_write(struct conn *c, const struct iovec *iov, UNUSED int n)
{
    size_t part = MIN(iov[0].iov_len, f.step);
    f.writes++;
    if (f.budget >= 0)
        part = MIN(part, (size_t)f.budget);
    if (part == 0)
        return 0;
    struct iovec some = {iov[0].iov_base, part};
    ssize_t sent = transport_plain.write(c, &some, 1);
    if (f.budget > 0 && sent > 0)
        f.budget -= sent;
    return sent;
}
static bool fake_pending(UNUSED const struct conn *c)
{
    return false;
}
static void fake_finish(struct conn *c)
{
    f.finishes++;
    transport_plain.finish(c);
}
static void fake_close(UNUSED struct conn *c) {}
static const struct transport_ops fake = {
    .read = fake_read,
    .write = fake_write,
    .pending = fake_pending,
    .finish = fake_finish,
    .close = fake_close,
};

/* ---- the owner ---- */

static void answer(struct conn *c)
{
    char text[ANSWER];
    memset(text, 'a' + f.answers++ % 26, sizeof(text));
    conn_reply(c, 2, (struct str){text, sizeof(text)});
    conn_choke(c, CHOKE);
}

static void obey(struct conn *c, char order)
{
    switch (order) {
    case 'P':
        conn_pause(c);
        break;
    case 'R':
        conn_pause(c);
        conn_resume(c);
        break;
    case 'A':
        answer(c);
        break;
    case 'B': /* both at once */
        answer(c);
        conn_pause(c);
        break;
    case 'D':
        conn_reply(c, 8, STR("bye"));
        conn_drain(c);
        break;
    case 'X':
        conn_close(c, "told to");
        break;
    default:
        buf_char(&f.heard, order);
    }
}

static void on_bytes(struct conn *c, char *p, size_t n)
{
    for (; n > 0 && c->st.phase < CONN_DRAINING; p++, n--) {
        if (!conn_is_reading(c)) {
            conn_hold(c, p, n);
            return;
        }
        obey(c, *p);
    }
}

static void on_gone(struct conn *c, const char *cause)
{
    f.gone++;
    snprintf(f.cause, sizeof(f.cause), "%s", cause);
    if (c->st.phase == CONN_DEAD)
        conn_close(c, "again"); /* must not matter */
    conn_reply(c, 1, STR("too late"));
}

static int64_t on_due(UNUSED struct conn *c, UNUSED int64_t now_ms)
{
    f.dues++;
    return f.next_due;
}
static const struct conn_ops owner = {on_bytes, on_gone, on_due};

/* ---- the stage ---- */

static int setup(void **state)
{
    int fds[2];
    struct err e;
    (void)state;
    memset(&f, 0, sizeof(f));
    signal(SIGPIPE, SIG_DFL); /* must not be needed */
    f.budget = -1;
    f.step = SIZE_MAX;
    assert_int_equal(net_init(&f.net, event_base_new(), &f.page, &e), 0);
    assert_int_equal(fd_pair(SOCK_STREAM, fds, &e), 0);
    f.peer = fds[1];
    f.c = conn_new(&f.net, fds[0], &fake, &owner, 7);
    assert_non_null(f.c);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct event_base *base = f.net.base;
    net_fini(&f.net);
    event_base_free(base);
    buf_free(&f.heard);
    fd_close(&f.peer);
    return 0;
}

static void end_turn(void)
{
    net_resume(&f.net);
    net_flush(&f.net);
    net_bury(&f.net);
    net_end_turn(&f.net);
}

static void turns(int n)
{
    while (n-- > 0) {
        event_base_loop(f.net.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        end_turn();
    }
}

static void say(const char *text)
{
    assert_int_equal(send(f.peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void assert_heard(const char *want)
{
    if (!str_is(buf_view(&f.heard), want))
        fail_msg("heard «" STR_FMT "», not «%s»", STR_ARG(buf_view(&f.heard)), want);
}

/* What the peer can read, turn by turn, until it is `least` bytes and for now no more;
 * *ended: and then the end. */
static struct buf hear(size_t least, bool *ended)
{
    struct buf b = {0};
    ssize_t n;
    for (int i = 0; i < 10000; i++) {
        while ((n = recv(f.peer, buf_reserve(&b, 65536), 65536, 0)) > 0)
            b.n += (size_t)n;
        *ended = n == 0;
        if (b.n >= least)
            break;
        turns(1);
    }
    return b;
}

/* The peer reads `n` whole answers, from number `from`, and nothing else. */
static void assert_answers(int from, int n, bool end)
{
    bool ended;
    struct buf b = hear((size_t)n * ANSWER_FRAME, &ended);
    assert_int_equal(b.n, (size_t)n * ANSWER_FRAME);
    for (int i = 0; i < n; i++) {
        const char *frame = b.p + (size_t)i * ANSWER_FRAME;
        assert_memory_equal(frame, "\x82\x7E\x03\xE8", 4);
        for (size_t k = 4; k < ANSWER_FRAME; k++)
            assert_int_equal(frame[k], 'a' + (from + i) % 26);
    }
    assert_int_equal(ended, end);
    buf_free(&b);
}

static void assert_over(const char *cause)
{
    assert_int_equal(f.gone, 1);
    assert_string_equal(f.cause, cause);
    assert_int_equal(f.net.conns_n, 0);
    assert_int_equal(f.page.connections, 0);
    assert_false(net_owes(&f.net));
}

/* Time passes for the timers, not for the clock. */
static void later(int64_t ms)
{
    wheel_advance(&f.net.wheel, clock_now_ms() + ms);
    end_turn();
}

/* ---- life ---- */

static void a_life(void **state)
{
    (void)state;
    assert_int_equal(f.net.conns_n, 1);
    assert_int_equal(f.c->st.listener, 7);
    assert_int_equal(f.c->st.id, 1);
    say("hello");
    turns(2);
    say(" world");
    turns(2);
    assert_heard("hello world");
    assert_int_equal(f.page.bytes_in, 11);
    assert_null(f.c->partial);
    shutdown(f.peer, SHUT_WR);
    turns(2);
    assert_over("EOF");
    assert_answers(0, 0, true);
}

static void one_write_a_turn(void **state)
{
    (void)state;
    struct buf b;
    bool ended;
    for (int i = 0; i < 20; i++)
        conn_reply(f.c, 1, STR("x"));
    assert_int_equal(f.net.turn.dirty_n, 1);
    end_turn();
    assert_int_equal(f.writes, 1);
    b = hear(0, &ended);
    assert_int_equal(b.n, 20 * 3);
    assert_int_equal(f.page.bytes_out, b.n);
    assert_false(ended);
    buf_free(&b);
}

static void short_writes(void **state)
{
    (void)state;
    for (size_t step = 1; step < 3000; step = step * 3 + 1) {
        f.step = step;
        f.answers = 0;
        for (int i = 0; i < 7; i++) {
            answer(f.c);
            end_turn();
        }
        turns(2);
        assert_answers(0, 7, false);
    }
}

static void blocked_is_not_tried_again(void **state)
{
    (void)state;
    f.budget = 100;
    answer(f.c);
    end_turn();
    assert_int_equal(f.writes, 2);
    answer(f.c);
    end_turn(); /* without readiness */
    assert_int_equal(f.writes, 2);
    assert_true(f.c->st.flags & CONN_BLOCKED);
    f.budget = -1;
    turns(2);
    assert_false(f.c->st.flags & CONN_BLOCKED);
    assert_answers(0, 2, false);
    assert_int_equal(f.c->out.bytes, 0);
}

/* Also the kernel's own way of taking no more. */
static void a_full_socket(void **state)
{
    (void)state;
    int calls, number = 0;
    for (; !(f.c->st.flags & CONN_BLOCKED); number++) {
        answer(f.c);
        turns(1);
    }
    calls = f.writes;
    for (int i = 0; i < 50; i++, number++) {
        answer(f.c);
        turns(1);
    }
    assert_int_equal(f.writes, calls); /* not ready: not tried */
    assert_answers(0, number, false);
}

static void shared_frames_are_released(void **state)
{
    (void)state;
    struct frame *frame = frame_new(1, STR("to many"));
    conn_push(f.c, frame_ref(frame));
    conn_push(f.c, frame_ref(frame));
    assert_int_equal(frame->refs, 3);
    turns(1);
    assert_int_equal(frame->refs, 1); /* written */
    f.budget = 0;
    conn_push(f.c, frame_ref(frame));
    conn_drain(f.c);
    conn_push(f.c, frame_ref(frame)); /* nothing is taken any more */
    assert_int_equal(frame->refs, 2);
    conn_close(f.c, "enough");
    conn_push(f.c, frame_ref(frame));
    end_turn();
    assert_int_equal(frame->refs, 1); /* died with the connection */
    frame_unref(frame);
}

/* ---- pause and resume ---- */

static void paused_reads_nothing(void **state)
{
    (void)state;
    say("aPbc");
    turns(3);
    assert_heard("a");
    assert_true(conn_is_paused(f.c));
    say("de");
    turns(3);
    assert_heard("a");
    conn_resume(f.c);
    assert_true(net_owes(&f.net)); /* needs no readiness */
    end_turn();
    assert_heard("abc"); /* what was held, before anything new is read */
    turns(2);
    assert_heard("abcde");
    assert_null(f.c->partial);
}

static void pauses_in_a_row(void **state)
{
    (void)state;
    char text[2 * 200 + 1] = "", want[200 + 1] = "";
    for (int i = 0; i < 200; i++) {
        text[2 * i] = want[i] = (char)('a' + i % 26);
        text[2 * i + 1] = 'P';
    }
    say(text);
    for (int i = 1; i <= 200; i++) {
        turns(2);
        assert_int_equal(f.heard.n, i);
        conn_resume(f.c);
    }
    turns(2);
    assert_heard(want);
    say("!");
    turns(1);
    assert_int_equal(f.heard.n, 201);
}

static void resumed_within_its_own_message(void **state)
{
    (void)state;
    say("aRbRRc");
    turns(1);
    assert_heard("abc");
    assert_false(f.c->st.flags & CONN_HELD);
    turns(1);
    assert_int_equal(f.net.turn.resumed_n, 0);
}

static void resumed_often_fed_once(void **state)
{
    (void)state;
    say("Pab");
    turns(1);
    conn_resume(f.c);
    conn_resume(f.c);
    conn_pause(f.c);
    conn_resume(f.c);
    assert_int_equal(f.net.turn.resumed_n, 1);
    turns(2);
    assert_heard("ab");
}

static void paused_again_before_its_turn(void **state)
{
    (void)state;
    say("Pab");
    turns(1);
    conn_resume(f.c);
    conn_pause(f.c);
    say("c");
    turns(3);
    assert_heard("");
    conn_resume(f.c);
    turns(2);
    assert_heard("abc");
}

static void nothing_is_lost_when_the_peer_vanishes_meanwhile(void **state)
{
    (void)state;
    say("aPbcPd");
    turns(2);
    say("ef");
    fd_close(&f.peer);
    turns(3);
    assert_int_equal(f.gone, 0); /* not noticed: not reading */
    conn_resume(f.c);
    turns(1);
    assert_heard("abc");
    conn_resume(f.c);
    turns(3);
    assert_heard("abcdef");
    assert_over("EOF");
}

static void closed_while_paused(void **state)
{
    (void)state;
    say("aPbc");
    turns(1);
    conn_resume(f.c); /* in the list of the resumed when it dies */
    conn_close(f.c, "now");
    turns(2);
    assert_heard("a");
    assert_over("now");
}

/* ---- choke ---- */

static void choked_until_its_answers_are_gone(void **state)
{
    (void)state;
    char text[101];
    memset(text, 'A', 100);
    text[100] = '\0';
    f.budget = 0;
    say(text);
    turns(5);
    assert_int_equal(f.answers, 4); /* half the limit */
    assert_false(conn_is_reading(f.c));
    assert_false(conn_is_paused(f.c));
    f.budget = ANSWER_FRAME; /* 3 of 4 unsent: more than a quarter of the limit */
    turns(5);
    assert_int_equal(f.answers, 4);
    f.budget = ANSWER_FRAME + 16;
    turns(5);
    assert_int_equal(f.answers, 6); /* a quarter: read on, until it is half again */
    f.budget = -1;
    turns(100);
    assert_int_equal(f.answers, 100);
    assert_answers(0, 100, false);
    assert_true(conn_is_reading(f.c));
}

static void choked_is_alive_while_it_takes(void **state)
{
    (void)state;
    f.budget = 0;
    say("AAAA");
    turns(2);
    assert_false(conn_is_reading(f.c));
    f.c->st.seen_ms = 1;
    turns(2);
    assert_int_equal(f.c->st.seen_ms, 1);
    f.budget = 10;
    turns(1);
    assert_true(f.c->st.seen_ms > 1);
}

static void choked_and_paused(void **state)
{
    (void)state;
    f.budget = 0;
    say("AAABab");
    turns(2);
    assert_true(conn_is_paused(f.c));
    f.budget = -1; /* no longer choked: still paused */
    turns(3);
    assert_answers(0, 4, false);
    assert_heard("");
    conn_resume(f.c);
    turns(2);
    assert_heard("ab");

    f.budget = 0;
    say("AAABcd");
    turns(2);
    conn_resume(f.c); /* no longer paused: still choked */
    turns(3);
    assert_heard("ab");
    f.budget = -1;
    turns(3);
    assert_heard("abcd");
    assert_answers(4, 4, false);
}

/* ---- drain ---- */

static void drained(void **state)
{
    (void)state;
    bool ended;
    f.step = 7;
    say("aADbAX");
    turns(1);
    assert_heard("a");
    assert_int_equal(f.c->st.phase, CONN_DRAINING);
    conn_reply(f.c, 1, STR("too late"));
    conn_raw(f.c, STR("too late"));
    struct buf b = hear(ANSWER_FRAME + 5, &ended);
    assert_int_equal(b.n, ANSWER_FRAME + 5);
    assert_memory_equal(b.p + ANSWER_FRAME,
                        "\x88\x03"
                        "bye",
                        5);
    buf_free(&b);
    assert_true(ended); /* our FIN, and it did not wait for theirs */
    assert_int_equal(f.gone, 0);
    say("whatever X");
    turns(3);
    assert_heard("a");
    assert_int_equal(f.gone, 0);
    shutdown(f.peer, SHUT_WR);
    turns(2);
    assert_over("EOF");
    assert_int_equal(f.finishes, 1);
}

static void drained_while_paused_or_choked(void **state)
{
    (void)state;
    f.budget = 0;
    say("AAABxyz");
    turns(1);
    conn_drain(f.c);
    assert_true(conn_is_reading(f.c)); /* to see the FIN */
    f.budget = -1;
    turns(3);
    assert_answers(0, 4, true);
    assert_heard(""); /* what was held means nothing now */
    conn_resume(f.c);
    turns(2);
    assert_heard("");
    shutdown(f.peer, SHUT_WR);
    turns(2);
    assert_over("EOF");
}

static void a_drain_is_bounded(void **state)
{
    (void)state;
    say("D");
    turns(2);
    later(f.net.close_timeout_ms - 200);
    assert_int_equal(f.gone, 0);
    later(f.net.close_timeout_ms + 200);
    assert_over("no FIN from the peer");
}

static void a_drain_that_advances_goes_on(void **state)
{
    (void)state;
    f.budget = 0;
    say("AAAD");
    turns(2);
    f.c->st.closing_ms -= f.net.close_timeout_ms - 300; /* long ago */
    conn_due(f.c, f.c->st.closing_ms + f.net.close_timeout_ms);
    f.budget = 10;
    turns(1);
    later(1000);
    assert_int_equal(f.gone, 0); /* ten bytes went out */
    later(f.net.close_timeout_ms + 200);
    assert_over("no FIN from the peer");
}

static void a_drain_does_not_listen_for_ever(void **state)
{
    (void)state;
    bool ended;
    say("D");
    turns(1);
    say("x");
    f.endless = true;
    turns(2 * (64 << 20) / INBOX_SIZE);
    assert_int_equal(f.gone, 0);
    assert_true(f.page.bytes_in < (64 << 20) + 2 * INBOX_SIZE);
    assert_heard("");
    struct buf b = hear(5, &ended);
    assert_int_equal(b.n, 5);
    assert_true(ended);
    buf_free(&b);
    later(f.net.close_timeout_ms + 200);
    assert_over("no FIN from the peer");
}

/* ---- the peer's end ---- */

/* `start`: what it said; `output`: the answers it must still get. */
static void half_close(const char *start, int answers, const char *heard)
{
    f.budget = 0;
    say(start);
    turns(2);
    shutdown(f.peer, SHUT_WR);
    turns(3);
    assert_int_equal(f.gone, 1); /* the owner knows at once … */
    assert_int_equal(f.net.conns_n, 1);
    conn_resume(f.c);
    conn_reply(f.c, 1, STR("too late"));
    turns(2);
    f.budget = 500;
    f.step = 100;
    turns(2);
    assert_int_equal(f.net.conns_n, 1);
    f.budget = -1;
    turns(3);
    assert_answers(0, answers, true); /* … and all that was said still goes out */
    assert_heard(heard);
    assert_over("EOF");
}

static void half_closed_with_output_left(void **state)
{
    (void)state;
    half_close("aAb", 1, "ab");
}

static void half_closed_after_three(void **state)
{
    (void)state;
    half_close("AAA", 3, "");
}

static void half_closed_and_never_read(void **state)
{
    (void)state;
    f.budget = 0;
    say("A");
    turns(1);
    shutdown(f.peer, SHUT_WR);
    turns(2);
    later(f.net.close_timeout_ms + 200);
    assert_over("EOF");
}

static void half_closed_while_draining(void **state)
{
    (void)state;
    bool ended;
    f.budget = 0;
    say("AD");
    turns(1);
    shutdown(f.peer, SHUT_WR);
    turns(3);
    assert_int_equal(f.net.conns_n, 1);
    f.budget = -1;
    turns(3);
    struct buf b = hear(ANSWER_FRAME + 5, &ended);
    assert_int_equal(b.n, ANSWER_FRAME + 5);
    assert_true(ended);
    buf_free(&b);
    assert_over("EOF");
}

static void reset_by_the_peer(void **state)
{
    (void)state;
    conn_reply(f.c, 1, STR("unread"));
    turns(1);
    say("abc");
    fd_close(&f.peer); /* with bytes unread: a reset */
    turns(4);
    assert_over(strerror(ECONNRESET));
}

static void written_to_nobody(void **state)
{
    (void)state;
    fd_close(&f.peer);
    answer(f.c);
    end_turn(); /* before the FIN is read; and no SIGPIPE */
    assert_over(strerror(EPIPE));
}

/* ---- close ---- */

static void closed_by_its_owner(void **state)
{
    (void)state;
    say("aAXbc");
    turns(1);
    assert_heard("a");
    assert_over("told to");
    assert_answers(0, 0, true); /* now means now */
}

static void closed_by_another(void **state)
{
    (void)state;
    int fds[2];
    struct err e;
    assert_int_equal(fd_pair(SOCK_STREAM, fds, &e), 0);
    struct conn *other = conn_new(&f.net, fds[0], &fake, &owner, 0);
    conn_reply(other, 1, STR("x"));
    conn_pause(other);
    conn_resume(other);
    conn_close(other, "first");         /* dirty, resumed, and dead */
    assert_int_equal(f.net.conns_n, 2); /* until the turn ends */
    say("a");
    turns(1);
    assert_heard("a");
    assert_int_equal(f.net.conns_n, 1);
    assert_ptr_equal(f.net.conns[0], f.c);
    assert_int_equal(f.c->index, 0);
    f.gone = 0;
    conn_close(f.c, "second");
    turns(1);
    assert_over("second");
    close(fds[1]);
}

static void many_live_and_die(void **state)
{
    (void)state;
    enum { MANY = 200 };
    int peers[MANY];
    struct conn *all[MANY];
    for (int i = 0; i < MANY; i++) {
        int fds[2];
        assert_int_equal(fd_pair(SOCK_STREAM, fds, NULL), 0);
        all[i] = conn_new(&f.net, fds[0], &fake, &owner, 0);
        peers[i] = fds[1];
    }
    for (int i = 0; i < MANY; i += 2)
        conn_close(all[i], "even");
    turns(1);
    assert_int_equal(f.net.conns_n, 1 + MANY / 2);
    for (size_t i = 0; i < f.net.conns_n; i++)
        assert_int_equal(f.net.conns[i]->index, i);
    for (int i = 0; i < MANY; i++)
        close(peers[i]);
    turns(8);
    assert_int_equal(f.net.conns_n, 1);
    assert_int_equal(f.gone, MANY);
}

/* ---- time ---- */

static void due(void **state)
{
    (void)state;
    int64_t now = clock_now_ms();
    later(f.net.handshake_timeout_ms - 200);
    assert_int_equal(f.dues, 0);
    f.next_due = now + 20000;
    later(f.net.handshake_timeout_ms + 200); /* born with it */
    assert_int_equal(f.dues, 1);
    later(19000);
    assert_int_equal(f.dues, 1);
    conn_due(f.c, now + 60000); /* never farther */
    f.next_due = 0;
    later(20200);
    assert_int_equal(f.dues, 2);
    later(70000);
    assert_int_equal(f.dues, 2); /* none was named */
    conn_due(f.c, now + 80000);
    conn_due(f.c, now + 75000);
    later(76000);
    assert_int_equal(f.dues, 3);
    conn_due(f.c, now + 77000);
    conn_close(f.c, "dead");
    conn_due(f.c, now + 78000);
    later(90000);
    assert_int_equal(f.dues, 3);
}

/* ---- borrowed buffers, words ---- */

static void buffers_are_borrowed(void **state)
{
    (void)state;
    struct buf *b = conn_partial(f.c);
    assert_ptr_equal(conn_partial(f.c), b);
    buf_str(b, STR("abc"));
    conn_partial_done(f.c);
    conn_partial_done(f.c);
    assert_null(f.c->partial);
    assert_int_equal(f.net.spare_n, 1);
    assert_ptr_equal(conn_partial(f.c), b);
    assert_int_equal(b->n, 0);
    buf_reserve(b, 1 << 20);
    conn_partial_done(f.c); /* too large to keep */
    assert_int_equal(f.net.spare_n, 0);
    struct buf *mine = conn_partial(f.c);
    f.c->partial = NULL;
    conn_give_back(f.c, mine);
    assert_int_equal(f.net.spare_n, 1);
    conn_partial(f.c); /* dies with the connection */
}

static void assert_address(const char *want, const char *with_port)
{
    struct buf b = {0};
    conn_address(f.c, &b, false);
    assert_string_equal(buf_cstr(&b), want);
    buf_clear(&b);
    conn_address(f.c, &b, true);
    assert_string_equal(buf_cstr(&b), with_port);
    buf_free(&b);
    assert_non_null(strstr(conn_esc(f.c), with_port));
}

static void addresses(void **state)
{
    (void)state;
    assert_address("unix", "unix");
    f.c->st.peer_port = 5000;
    f.c->st.peer =
        (struct in6_addr){{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}}};
    assert_address("192.0.2.1", "192.0.2.1:5000");
    f.c->st.peer = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
    assert_address("::1", "[::1]:5000");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_life),
        TEST(one_write_a_turn),
        TEST(short_writes),
        TEST(blocked_is_not_tried_again),
        TEST(a_full_socket),
        TEST(shared_frames_are_released),
        TEST(paused_reads_nothing),
        TEST(pauses_in_a_row),
        TEST(resumed_within_its_own_message),
        TEST(resumed_often_fed_once),
        TEST(paused_again_before_its_turn),
        TEST(nothing_is_lost_when_the_peer_vanishes_meanwhile),
        TEST(closed_while_paused),
        TEST(choked_until_its_answers_are_gone),
        TEST(choked_is_alive_while_it_takes),
        TEST(choked_and_paused),
        TEST(drained),
        TEST(drained_while_paused_or_choked),
        TEST(a_drain_is_bounded),
        TEST(a_drain_that_advances_goes_on),
        TEST(a_drain_does_not_listen_for_ever),
        TEST(half_closed_with_output_left),
        TEST(half_closed_after_three),
        TEST(half_closed_and_never_read),
        TEST(half_closed_while_draining),
        TEST(reset_by_the_peer),
        TEST(written_to_nobody),
        TEST(closed_by_its_owner),
        TEST(closed_by_another),
        TEST(many_live_and_die),
        TEST(due),
        TEST(buffers_are_borrowed),
        TEST(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
