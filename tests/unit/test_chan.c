// floors: common
#include "common/chan.h"

#include "common/fd.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* What the handlers and the log of one test saw. */
static struct {
    unsigned messages, gone, drained, lines;
    uint32_t type;
    struct buf fixed, tail;
    int fd;       /* as the handler saw it */
    bool keep_fd; /* the handler keeps it */
    char why[128];
    struct buf line;
    struct chan *close_in_handler, *free_in_handler;
    unsigned replies; /* to send from inside a handler */
    struct chan *reply_to;
} saw;

static void act(void)
{
    if (saw.close_in_handler) {
        chan_close(saw.close_in_handler);
        chan_close(saw.close_in_handler);
    }
    if (saw.free_in_handler) {
        chan_close(saw.free_in_handler);
        free(saw.free_in_handler);
    }
}

static void note(uint32_t type, const void *m, size_t n, struct str tail, int *fd)
{
    saw.messages++;
    saw.type = type;
    assert_int_equal((uintptr_t)m % 8, 0);
    buf_clear(&saw.fixed);
    buf_put(&saw.fixed, m, n);
    buf_clear(&saw.tail);
    buf_str(&saw.tail, tail);
    saw.fd = *fd;
    if (*fd >= 0)
        assert_true(fcntl(*fd, F_GETFD) & FD_CLOEXEC);
    if (saw.keep_fd)
        *fd = -1;
    act();
}

static void on_gone(void *ctx, const char *why)
{
    assert_ptr_equal(ctx, &saw);
    saw.gone++;
    snprintf(saw.why, sizeof(saw.why), "%s", why);
    act();
}

#define MSG(num, name, dir, type)                                                        \
    static void on_##name(void *ctx, const type *m, struct str tail, int *fd)            \
    {                                                                                    \
        assert_ptr_equal(ctx, &saw);                                                     \
        note(num, m, sizeof(*m), tail, fd);                                              \
    }
#include "common/msg.def"

static const struct msg_handlers all = {
#define MSG(num, name, dir, type) .name = on_##name,
#include "common/msg.def"
    .gone = on_gone,
};
static const struct msg_handlers none = {.gone = on_gone};

static const uint32_t numbers[] = {
#define MSG(num, name, dir, type) num,
#include "common/msg.def"
};

static void on_line(void *ctx UNUSED, enum log_level level UNUSED, struct str line)
{
    saw.lines++;
    buf_clear(&saw.line);
    buf_str(&saw.line, line);
}

static struct event_base *base;
static struct chan chan; /* the one under test */
static int peer;         /* the other end, bare */

static void open_chan(const struct msg_handlers *handlers, unsigned accepts)
{
    int fds[2];
    struct err e;
    assert_int_equal(fd_pair(SOCK_SEQPACKET, fds, &e), 0);
    assert_int_equal(chan_open(&chan, base, fds[0], accepts, handlers, &saw, &e), 0);
    peer = fds[1];
}

static void turn(void)
{
    assert_true(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

static void reset(void)
{
    chan_close(&chan);
    fd_close(&peer);
    buf_free(&saw.fixed);
    buf_free(&saw.tail);
    buf_free(&saw.line);
    memset(&saw, 0, sizeof(saw));
    saw.fd = -1;
}

static int set_up(void **state UNUSED)
{
    signal(SIGPIPE, SIG_DFL);
    base = event_base_new();
    peer = -1;
    memset(&chan, 0, sizeof(chan));
    chan_close(&chan); /* a zeroed one is closed */
    reset();
    log_init("test", on_line, NULL);
    log_set_level(LOG_LEVEL_DEBUG);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    reset();
    event_base_free(base);
    return 0;
}

static size_t open_fds(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* A datagram as a peer of any manners may send it. */
static void send_raw(const void *p, size_t n, const int *fds, size_t fds_n)
{
    char control[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {(void *)p, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fds_n) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(fds_n * sizeof(int));
        memcpy(CMSG_DATA(h), fds, fds_n * sizeof(int));
    }
    assert_int_equal(sendmsg(peer, &m, MSG_NOSIGNAL), n);
}

static void send_type(uint32_t type, size_t payload)
{
    char bytes[256] = {0};
    memcpy(bytes, &type, sizeof(type));
    send_raw(bytes, sizeof(type) + payload, NULL, 0);
}

static void assert_ended(const char *why)
{
    assert_int_equal(saw.gone, 1);
    assert_int_equal(saw.messages, 0);
    assert_int_equal(saw.lines, 1);
    assert_non_null(strstr(saw.why, why));
    assert_non_null(strstr(buf_cstr(&saw.line), why));
    assert_int_equal(chan.fd, -1);
    char c;
    assert_true(recv(peer, &c, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
    turn();
    assert_int_equal(saw.gone, 1);
}

/* ---- every message of the table ---- */

static void assert_arrives(const struct msg_row *row, struct str tail, int fd)
{
    unsigned char fixed[64];
    for (size_t i = 0; i < sizeof(fixed); i++)
        fixed[i] = (unsigned char)(row->type + i);
    struct chan sender;
    struct err e;
    open_chan(&all, row->direction);
    assert_int_equal(chan_open(&sender, base, peer, 0, &none, &saw, &e), 0);
    assert_int_equal(chan_send(&sender, row->type, fixed, tail, fd), 0);
    assert_int_equal(chan_queued(&sender), 0);
    turn();
    assert_int_equal(saw.messages, 1);
    assert_int_equal(saw.type, row->type);
    assert_true(str_eq(buf_view(&saw.fixed), (struct str){(char *)fixed, row->size}));
    assert_true(str_eq(buf_view(&saw.tail), tail));
    assert_int_equal(saw.fd >= 0, fd >= 0);
    chan_close(&sender);
    peer = -1;
    reset();
}

static void every_message_arrives_as_it_was_sent(void **state UNUSED)
{
    static char big[MSG_TAIL_MAX];
    size_t before = open_fds();
    memset(big, 'b', sizeof(big));
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const struct msg_row *row = msg_find(numbers[i]);
        assert_arrives(row, STR_NONE, -1);
        assert_arrives(row, STR("a\0tail"), -1);
        assert_arrives(row, STR("with a descriptor"), fd);
        assert_arrives(row, (struct str){big, sizeof(big)}, fd);
    }
    close(fd);
    assert_int_equal(open_fds(), before);
}

static void every_message_refuses_a_short_payload(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const struct msg_row *row = msg_find(numbers[i]);
        for (size_t n = 0; n < row->size; n++) {
            open_chan(&all, MSG_ANY);
            send_type(row->type, n);
            turn();
            assert_ended("is too short");
            assert_non_null(strstr(saw.why, row->name));
            reset();
        }
    }
}

static void every_message_refuses_a_wrong_direction(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const struct msg_row *row = msg_find(numbers[i]);
        open_chan(&all, MSG_ANY & ~row->direction);
        send_type(row->type, row->size);
        turn();
        assert_ended("comes from the wrong side");
        reset();
    }
}

static void every_message_refuses_an_absent_handler(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const struct msg_row *row = msg_find(numbers[i]);
        open_chan(&none, MSG_ANY);
        send_type(row->type, row->size);
        turn();
        assert_ended("is not expected here");
        reset();
    }
}

/* ---- nonsense ---- */

static void unknown_numbers_end_the_channel(void **state UNUSED)
{
    static const uint32_t bad[] = {0, 0x7f, 0xff, 0x10001, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        open_chan(&all, MSG_ANY);
        send_type(bad[i], 16);
        turn();
        assert_ended("is unknown");
        reset();
    }
}

static void impossible_lengths_end_the_channel(void **state UNUSED)
{
    static const size_t bad[] = {1, 2, 3, MSG_TAIL_MAX + 100};
    static char bytes[MSG_TAIL_MAX + 100] = {MSG_READY};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        open_chan(&all, MSG_ANY);
        send_raw(bytes, bad[i], NULL, 0);
        turn();
        assert_ended("has an impossible length");
        reset();
    }
}

static void several_descriptors_end_the_channel_and_are_closed(void **state UNUSED)
{
    size_t before = open_fds();
    struct {
        uint32_t type;
        struct msg_gen m;
    } bytes = {MSG_READY, {1}};
    for (size_t n = 2; n <= 8; n++) {
        int fds[8];
        for (size_t i = 0; i < n; i++)
            fds[i] = STDERR_FILENO;
        open_chan(&all, MSG_ANY);
        send_raw(&bytes, sizeof(bytes), fds, n);
        turn();
        assert_ended("several descriptors");
        reset();
    }
    open_chan(&all, MSG_ANY); /* one that comes with nonsense */
    send_raw(&bytes, 5, &(int){STDERR_FILENO}, 1);
    turn();
    assert_ended("is too short");
    reset();
    assert_int_equal(open_fds(), before);
}

/* ---- descriptors ---- */

static void a_descriptor_can_be_kept_or_is_closed(void **state UNUSED)
{
    int ends[2];
    char c = 0;
    struct chan sender;
    struct err e;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    for (int keep = 0; keep < 2; keep++) {
        open_chan(&all, MSG_ANY);
        assert_int_equal(chan_open(&sender, base, peer, 0, &none, &saw, &e), 0);
        peer = -1;
        saw.keep_fd = keep;
        CHAN_SEND(&sender, LISTENER, struct msg_listener, STR_NONE, ends[1], .id = 3);
        turn();
        assert_true(saw.fd >= 0 && saw.fd != ends[1]);
        assert_int_equal(fcntl(saw.fd, F_GETFD) >= 0, keep);
        if (keep) {
            assert_int_equal(write(saw.fd, "k", 1), 1);
            assert_int_equal(read(ends[0], &c, 1), 1);
            assert_int_equal(c, 'k');
            close(saw.fd);
        }
        chan_close(&sender);
        reset();
    }
    close(ends[0]);
    close(ends[1]);
}

static void without_free_descriptors_the_message_still_arrives(void **state UNUSED)
{
    struct {
        uint32_t type;
        struct msg_gen m;
    } bytes = {MSG_CONF_COMMIT, {5}};
    struct rlimit r, low;
    open_chan(&all, MSG_ANY);
    send_raw(&bytes, sizeof(bytes), &(int){STDERR_FILENO}, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    int lowest_free = dup(STDERR_FILENO);
    close(lowest_free);
    low = (struct rlimit){(rlim_t)lowest_free, r.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    turn();
    setrlimit(RLIMIT_NOFILE, &r);
    assert_int_equal(saw.messages, 1);
    assert_int_equal(saw.fd, -1);
    assert_int_equal(saw.gone, 0);
    assert_non_null(strstr(buf_cstr(&saw.line), "CONF_COMMIT lost its descriptor"));
}

/* ---- the queue ---- */

static int send_gen(uint32_t gen, struct str tail, int fd)
{
    return CHAN_SEND(&chan, CONF_READY, struct msg_gen, tail, fd, .gen = gen);
}

/* Reads one datagram on the bare end; its number, or UINT32_MAX: nothing. */
static uint32_t receive_gen(int *fd)
{
    static char bytes[MSG_TAIL_MAX + 64];
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {bytes, sizeof(bytes)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    uint32_t type, gen;
    if (recvmsg(peer, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
        return UINT32_MAX;
    memcpy(&type, bytes, 4);
    memcpy(&gen, bytes + 4, 4);
    assert_int_equal(type, MSG_CONF_READY);
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *fd = -1;
    if (h)
        memcpy(fd, CMSG_DATA(h), sizeof(*fd));
    return gen;
}

static void on_drained(void *ctx)
{
    assert_ptr_equal(ctx, &saw);
    assert_int_equal(chan_queued(&chan), 0);
    saw.drained++;
}

/* Fills until the channel refuses; returns how many it took. */
static uint32_t fill(struct str tail)
{
    uint32_t n = 0;
    while (send_gen(n, tail, -1) == 0)
        assert_true(++n < 1000000);
    return n;
}

static void assert_all_arrive_in_order(uint32_t n)
{
    int fd;
    for (uint32_t expected = 0; expected < n;) {
        uint32_t gen = receive_gen(&fd);
        if (gen == UINT32_MAX) {
            turn();
            continue;
        }
        assert_int_equal(gen, expected++);
        assert_int_equal(fd, -1);
    }
    assert_int_equal(receive_gen(&fd), UINT32_MAX);
}

static void the_queue_is_bounded_and_keeps_its_order(void **state UNUSED)
{
    static char big[60000];
    static const size_t lengths[] = {0, 1000, sizeof(big)};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        open_chan(&all, MSG_ANY);
        chan_on_drained(&chan, on_drained);
        uint32_t n = fill((struct str){big, lengths[i]});
        assert_true(chan_queued(&chan) <= CHAN_QUEUE_MAX);
        assert_true(chan_queued(&chan) > CHAN_QUEUE_MAX - sizeof(big) - 100);
        assert_int_equal(send_gen(n, (struct str){big, lengths[i]}, -1), -1);
        assert_all_arrive_in_order(n);
        turn();
        assert_int_equal(chan_queued(&chan), 0);
        assert_int_equal(saw.drained, 1);
        assert_int_equal(saw.gone, 0);
        assert_int_equal(send_gen(0, STR_NONE, -1), 0); /* and goes on */
        reset();
    }
}

static void nothing_is_called_when_nothing_was_queued(void **state UNUSED)
{
    open_chan(&all, MSG_ANY);
    chan_on_drained(&chan, on_drained);
    assert_int_equal(send_gen(1, STR_NONE, -1), 0);
    turn();
    assert_int_equal(saw.drained, 0);
}

static void queued_descriptors_are_the_queues_own(void **state UNUSED)
{
    static char big[60000];
    size_t before = open_fds();
    int ends[2], fd = -1;
    char c = 0;
    open_chan(&all, MSG_ANY);
    uint32_t n = 0;
    while (chan_queued(&chan) == 0)
        assert_int_equal(send_gen(n++, (struct str){big, sizeof(big)}, -1), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(send_gen(n, STR_NONE, ends[1]), 0);
    close(ends[1]);
    for (uint32_t got = 0; got != n;) {
        uint32_t gen = receive_gen(&fd);
        if (gen == UINT32_MAX)
            turn();
        else
            got = gen;
    }
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "q", 1), 1);
    assert_int_equal(read(ends[0], &c, 1), 1);
    close(fd);
    assert_int_equal(read(ends[0], &c, 1), 0); /* nobody else holds it */
    assert_int_equal(chan_queued(&chan), 0);
    fill((struct str){big, sizeof(big)});
    send_gen(0, STR_NONE, ends[0]);
    close(ends[0]);
    reset(); /* closing gives the queue's descriptors back */
    assert_int_equal(open_fds(), before);
}

static void what_the_socket_can_never_take_is_an_error(void **state UNUSED)
{
    static char big[MSG_TAIL_MAX];
    int small = 1;
    open_chan(&all, MSG_ANY);
    setsockopt(chan.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_int_equal(send_gen(0, (struct str){big, sizeof(big)}, -1), -1);
    assert_int_equal(chan_queued(&chan), 0);
    assert_int_equal(send_gen(0, STR_NONE, -1), 0);
    assert_int_equal(send_gen(1, STR_NONE, 100000), -1); /* no such descriptor */
    assert_all_arrive_in_order(1);
}

/* ---- ends ---- */

static void the_peers_end_is_told_once(void **state UNUSED)
{
    open_chan(&all, MSG_ANY);
    send_type(MSG_READY, sizeof(struct msg_gen));
    fd_close(&peer);
    assert_int_equal(send_gen(0, STR_NONE, -1), -1); /* no SIGPIPE, no call from within */
    assert_int_equal(saw.gone, 0);
    turn();
    assert_int_equal(saw.messages, 1); /* what it said before still counts */
    assert_int_equal(saw.gone, 1);
    assert_int_equal(saw.lines, 0);
    assert_string_equal(saw.why, "the peer closed it");
    assert_int_equal(send_gen(0, STR_NONE, -1), -1);
    turn();
    assert_int_equal(saw.gone, 1);
}

static void a_peer_that_leaves_with_our_words_unread(void **state UNUSED)
{
    static char big[60000];
    for (int is_queued = 0; is_queued < 2; is_queued++) {
        open_chan(&all, MSG_ANY);
        if (is_queued)
            fill((struct str){big, sizeof(big)});
        else
            assert_int_equal(send_gen(0, STR_NONE, -1), 0);
        fd_close(&peer);
        turn();
        turn();
        assert_int_equal(saw.gone, 1);
        assert_int_equal(chan_queued(&chan), 0);
        reset();
    }
}

static void last_words_are_heard_though_nobody_takes_ours(void **state UNUSED)
{
    static char big[60000];
    open_chan(&all, MSG_ANY);
    fill((struct str){big, sizeof(big)});
    send_type(MSG_READY, sizeof(struct msg_gen));
    send_type(MSG_READY, sizeof(struct msg_gen));
    fd_close(&peer);
    turn();
    turn();
    assert_int_equal(saw.messages, 2);
    assert_int_equal(saw.gone, 1);
    assert_int_equal(saw.drained, 0);
}

static void closing_inside_a_handler_stops_delivery(void **state UNUSED)
{
    size_t before = open_fds();
    open_chan(&all, MSG_ANY);
    saw.close_in_handler = &chan;
    send_type(MSG_READY, sizeof(struct msg_gen));
    send_type(MSG_READY, sizeof(struct msg_gen));
    turn();
    turn();
    assert_int_equal(saw.messages, 1);
    assert_int_equal(saw.gone, 0);
    fd_close(&peer);
    assert_int_equal(open_fds(), before);
}

static struct chan *open_on_heap(void)
{
    int fds[2];
    struct err e;
    struct chan *c = malloc(sizeof(*c));
    assert_int_equal(fd_pair(SOCK_SEQPACKET, fds, &e), 0);
    assert_int_equal(chan_open(c, base, fds[0], MSG_ANY, &all, &saw, &e), 0);
    peer = fds[1];
    return c;
}

static void freeing_inside_a_handler_is_safe(void **state UNUSED)
{
    saw.free_in_handler = open_on_heap();
    send_type(MSG_READY, sizeof(struct msg_gen));
    send_type(MSG_READY, sizeof(struct msg_gen));
    turn();
    assert_int_equal(saw.messages, 1);
    reset();
    saw.free_in_handler = open_on_heap(); /* in `gone`, for a loss */
    fd_close(&peer);
    turn();
    assert_int_equal(saw.gone, 1);
    reset();
    saw.free_in_handler = open_on_heap(); /* in `gone`, for nonsense */
    send_type(0x7f, 0);
    turn();
    assert_int_equal(saw.gone, 1);
    reset();
}

static void a_chatterer_cannot_hold_the_loop(void **state UNUSED)
{
    open_chan(&all, MSG_ANY);
    for (int i = 0; i < 100; i++)
        send_type(MSG_READY, sizeof(struct msg_gen));
    turn();
    assert_int_equal(saw.messages, 32);
    for (int i = 0; i < 3; i++)
        turn();
    assert_int_equal(saw.messages, 100);
}

static void pause_in_handler(void *ctx UNUSED, const struct msg_gen *m UNUSED,
                             struct str tail UNUSED, int *fd UNUSED)
{
    saw.messages++;
    chan_pause(&chan, true);
}

static void a_pause_takes_effect_at_once_and_is_lifted(void **state UNUSED)
{
    static const struct msg_handlers pausing = {.READY = pause_in_handler,
                                                .gone = on_gone};
    open_chan(&pausing, MSG_ANY);
    for (int i = 0; i < 3; i++)
        send_type(MSG_READY, sizeof(struct msg_gen));
    fd_close(&peer);
    for (unsigned n = 1; n <= 3; n++) {
        turn();
        turn();
        assert_int_equal(saw.messages, n);
        assert_int_equal(saw.gone, 0);
        chan_pause(&chan, false);
    }
    turn();
    assert_int_equal(saw.gone, 1);
    chan_pause(&chan, false);
    assert_int_equal(chan.fd, -1);
}

static void opening_takes_the_descriptor_even_when_it_fails(void **state UNUSED)
{
    struct err e = {""};
    int fd = dup(STDERR_FILENO);
    close(fd);
    assert_int_equal(chan_open(&chan, base, fd, MSG_ANY, &all, &saw, &e), -1);
    assert_true(e.text[0]);
    assert_int_equal(chan.fd, -1);
    assert_int_equal(send_gen(0, STR_NONE, -1), -1);
    chan_close(&chan);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_message_arrives_as_it_was_sent),
        TEST(every_message_refuses_a_short_payload),
        TEST(every_message_refuses_a_wrong_direction),
        TEST(every_message_refuses_an_absent_handler),
        TEST(unknown_numbers_end_the_channel),
        TEST(impossible_lengths_end_the_channel),
        TEST(several_descriptors_end_the_channel_and_are_closed),
        TEST(a_descriptor_can_be_kept_or_is_closed),
        TEST(without_free_descriptors_the_message_still_arrives),
        TEST(the_queue_is_bounded_and_keeps_its_order),
        TEST(nothing_is_called_when_nothing_was_queued),
        TEST(queued_descriptors_are_the_queues_own),
        TEST(what_the_socket_can_never_take_is_an_error),
        TEST(the_peers_end_is_told_once),
        TEST(a_peer_that_leaves_with_our_words_unread),
        TEST(last_words_are_heard_though_nobody_takes_ours),
        TEST(closing_inside_a_handler_stops_delivery),
        TEST(freeing_inside_a_handler_is_safe),
        TEST(a_chatterer_cannot_hold_the_loop),
        TEST(a_pause_takes_effect_at_once_and_is_lifted),
        TEST(opening_takes_the_descriptor_even_when_it_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
