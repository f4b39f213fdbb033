// floors: hub
#include "worker/hub/hub.h"

#include "common/fd.h"
#include "common/mem.h"
#include "tests/unit/bus_fake.h"
#include "worker/ws/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define CLIENTS_MAX 8

/* A worker's hub with connections over socket pairs and the bus in our hand. */
struct fixture {
    struct event_base *base;
    struct counters *counters;
    int counters_fd;
    struct net net;
    struct hub *hub;
    struct bus_fake bus;
    struct session_env env;
    struct conn *c[CLIENTS_MAX];
    int peer[CLIENTS_MAX];
    char id[CLIENTS_MAX][UUID_TEXT + 1];
    size_t n;
    struct buf sealed;
} f;

static void ignore_opened(UNUSED struct conn *c, UNUSED const struct session_opening *how)
{
}
static void ignore_message(UNUSED struct conn *c, UNUSED bool is_text,
                           UNUSED struct str m)
{
}
static void forget_closed(struct conn *c, UNUSED unsigned code, UNUSED const char *cause)
{
    hub_forget(f.hub, c);
}
static const struct session_ops endpoint = {
    .opened = ignore_opened,
    .message = ignore_message,
    .closed = forget_closed,
};

static void seal(struct conn *c, struct str json)
{
    buf_str(&f.sealed, STR("sealed:"));
    buf_str(&f.sealed, json);
    session_send_text(c, STR("cipher"));
}

static int setup(void **state)
{
    struct err e;
    (void)state;
    memset(&f, 0, sizeof(f));
    f.base = event_base_new();
    f.counters_fd = counters_create(&f.counters, &e);
    assert_true(f.counters_fd >= 0);
    assert_int_equal(net_init(&f.net, f.base, f.counters, &e), 0);
    f.env = (struct session_env){
        .ops = &endpoint, .max_message = 1 << 20, .backpressure = 1 << 20};
    f.hub = hub_new(&f.net, seal);
    bus_fake_init(&f.bus, &hub_bus_events, f.hub);
    hub_set_bus(f.hub, &f.bus.bus, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    net_fini(&f.net);
    hub_free(f.hub);
    f.bus.bus.ops->close(&f.bus.bus);
    event_base_free(f.base);
    counters_unmap(f.counters);
    close(f.counters_fd);
    for (size_t i = 0; i < f.n; i++)
        close(f.peer[i]);
    buf_free(&f.sealed);
    return 0;
}

/* An open connection that the hub does not know yet. */
static struct conn *client(void)
{
    int fds[2];
    struct err e;
    static const struct session_opening how;
    assert_int_equal(fd_pair(SOCK_STREAM, fds, &e), 0);
    struct conn *c = conn_new(&f.net, fds[0], &transport_plain, &session_conn_ops, 0);
    assert_non_null(c);
    session_start(c, &f.env, &how);
    uuid_text(&c->st.uuid, f.id[f.n]);
    f.peer[f.n] = fds[1];
    f.c[f.n++] = c;
    return c;
}

static struct conn *member(const char *user)
{
    struct conn *c = client();
    hub_register(f.hub, c, str_of(user));
    return c;
}

static void turn(void)
{
    event_base_loop(f.base, EVLOOP_NONBLOCK);
    net_flush(&f.net);
    net_bury(&f.net);
    net_end_turn(&f.net);
}

/* Runs until the log of the bus has that line. */
static void await_line(const char *line)
{
    while (!bus_fake_did(&f.bus, line)) {
        event_base_loop(f.base, EVLOOP_ONCE);
        net_bury(&f.net);
    }
}

static const char *received(size_t i)
{
    static char out[8][4096];
    static unsigned ring;
    char *text = out[ring++ % 8];
    uint8_t in[4096];
    size_t n = 0;
    net_flush(&f.net);
    ssize_t got = recv(f.peer[i], in, sizeof(in), 0);
    for (size_t at = 0; got > 0 && at < (size_t)got;) {
        struct wire_header h = {0};
        h.length = in[at + 1] & 127;
        h.size = 2;
        if (h.length == 126) {
            h.length = (uint64_t)in[at + 2] << 8 | in[at + 3];
            h.size = 4;
        }
        n += (size_t)snprintf(text + n, sizeof(out[0]) - n, "%s%.*s", n ? "|" : "",
                              (int)h.length, (const char *)in + at + h.size);
        at += h.size + h.length;
    }
    text[n] = 0;
    return text;
}

#define assert_received(i, text) assert_string_equal(received(i), text)

static size_t deliver(enum hub_kind kind, const char *target, const char *exclude)
{
    struct hub_message m = {kind, str_of(target), STR("{\"event\":\"x\"}"),
                            str_of(exclude), NULL};
    return hub_deliver(f.hub, &m);
}

#define X "{\"event\":\"x\"}"

static void receive(const char *json)
{
    bus_fake_receive(&f.bus, "ws:any", json);
}

/* ---- membership ---- */

static void rooms_are_sets(void **state)
{
    struct conn *c = member("u");
    (void)state;
    assert_true(hub_join(f.hub, c, STR("r")));
    assert_false(hub_join(f.hub, c, STR("r")));
    assert_true(hub_join(f.hub, c, STR("R")));
    assert_false(hub_join(f.hub, c, STR("")));
    assert_int_equal(hub_room_count(c), 2);
    assert_true(hub_is_member(f.hub, c, STR("r")));
    assert_false(hub_is_member(f.hub, c, STR("u")));
    assert_int_equal(deliver(HUB_ROOM, "r", NULL), 1);
    assert_int_equal(deliver(HUB_ROOM, "u", NULL), 0);
    assert_received(0, X);
    assert_true(hub_leave(f.hub, c, STR("r")));
    assert_false(hub_leave(f.hub, c, STR("r")));
    assert_int_equal(deliver(HUB_ROOM, "r", NULL), 0);
    assert_received(0, "");
    assert_int_equal(f.counters->rooms, 1);
    assert_int_equal(f.counters->users, 1);
    hub_forget(f.hub, c);
    hub_forget(f.hub, c);
    assert_int_equal(hub_room_count(c), 0);
    assert_int_equal(f.counters->rooms, 0);
    assert_int_equal(f.counters->users, 0);
}

static void add_name(void *ctx, struct str name)
{
    buf_str(ctx, name);
    buf_char(ctx, ' ');
}

static void user_is_no_room(void **state)
{
    struct buf names = {0};
    struct conn *c = client(), *anonymous = member(NULL);
    (void)state;
    assert_true(hub_join(f.hub, c, STR("before")));
    assert_int_equal(deliver(HUB_ROOM, "before", NULL),
                     0); /* not registered: hears nothing */
    hub_register(f.hub, c, STR("kim"));
    assert_true(hub_join(f.hub, c, STR("kim")));
    assert_true(str_is(hub_user_of(c), "kim"));
    assert_null(hub_user_of(anonymous).p);
    assert_int_equal(hub_room_count(c), 2);
    hub_each_room(c, add_name, &names);
    assert_string_equal(buf_cstr(&names), "before kim ");
    assert_true(hub_leave(f.hub, c, STR("kim")));
    assert_true(str_is(hub_user_of(c), "kim"));
    assert_int_equal(deliver(HUB_USER, "kim", NULL), 1);
    assert_int_equal(deliver(HUB_USER, "", NULL), 0);
    buf_free(&names);
}

/* PROTOCOL A5, own id. */
static void own_id(void **state)
{
    struct conn *c = member("u"), *other = member("u");
    (void)state;
    struct str own = str_of(f.id[0]);
    assert_true(hub_is_member(f.hub, c, own));
    assert_false(hub_join(f.hub, c, own));
    assert_int_equal(deliver(HUB_ROOM, f.id[0], NULL), 1);
    assert_true(hub_leave(f.hub, c, own));
    assert_false(hub_leave(f.hub, c, own));
    assert_false(hub_is_member(f.hub, c, own));
    assert_int_equal(deliver(HUB_ROOM, f.id[0], NULL), 0);
    assert_int_equal(deliver(HUB_CLIENT, f.id[0], NULL), 1);
    assert_true(hub_join(f.hub, c, own));
    assert_int_equal(hub_room_count(c), 0);
    /* another one in a room of that name */
    assert_true(hub_join(f.hub, other, own));
    assert_int_equal(hub_room_count(other), 1);
    assert_int_equal(deliver(HUB_ROOM, f.id[0], NULL), 2);
    assert_int_equal(deliver(HUB_CLIENT, f.id[0], NULL), 1);
    assert_true(hub_leave(f.hub, other, own));
    assert_int_equal(deliver(HUB_ROOM, f.id[0], NULL), 1);
}

static void many_members_come_and_go(void **state)
{
    enum { ROOMS = 60, STEPS = 4000 };
    bool in[CLIENTS_MAX][ROOMS] = {0};
    unsigned seed = 7;
    (void)state;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        member(i % 2 ? "odd" : "even");
    for (unsigned step = 0; step < STEPS; step++) {
        char name[16];
        seed = seed * 1103515245u + 12345u;
        size_t who = (seed >> 16) % CLIENTS_MAX, room = (seed >> 20) % ROOMS;
        struct str r = {name, (size_t)snprintf(name, sizeof(name), "r%zu", room)};
        bool joined =
            in[who][room] ? hub_leave(f.hub, f.c[who], r) : hub_join(f.hub, f.c[who], r);
        assert_true(joined);
        in[who][room] = !in[who][room];
        size_t members = 0;
        for (size_t i = 0; i < CLIENTS_MAX; i++) {
            members += in[i][room];
            assert_int_equal(hub_is_member(f.hub, f.c[i], r), in[i][room]);
        }
        if (step % 50 == 0) {
            assert_int_equal(deliver(HUB_ROOM, name, NULL), members);
            turn();
            for (size_t i = 0; i < CLIENTS_MAX; i++)
                assert_received(i, in[i][room] ? X : "");
        }
        assert_true(str_is(hub_user_of(f.c[who]), who % 2 ? "odd" : "even"));
    }
    assert_int_equal(deliver(HUB_USER, "odd", NULL), CLIENTS_MAX / 2);
}

/* ---- delivery ---- */

static void broadcast_reaches_the_registered(void **state)
{
    member("u");
    client();
    member(NULL);
    (void)state;
    assert_int_equal(deliver(HUB_BROADCAST, NULL, NULL), 2);
    assert_received(0, X);
    assert_received(1, "");
    assert_received(2, X);
    session_close(f.c[2], 1000, "");
    assert_int_equal(deliver(HUB_BROADCAST, NULL, NULL), 1);
}

static void excludes(void **state)
{
    char list[400];
    struct conn *a = member("u"), *b = member("u"), *c = member("u");
    (void)state;
    hub_join(f.hub, a, STR("r"));
    hub_join(f.hub, b, STR("r"));
    hub_join(f.hub, c, STR("r"));
    snprintf(list, sizeof(list), "[1,null,\"%s\",\"\\u0030\",\"%s\",[\"%s\"]]", f.id[0],
             f.id[2], f.id[1]);
    assert_int_equal(deliver(HUB_ROOM, "r", list), 1);
    assert_int_equal(deliver(HUB_BROADCAST, NULL, list), 1);
    assert_int_equal(deliver(HUB_USER, "u", list), 3);
    assert_int_equal(deliver(HUB_CLIENT, f.id[0], list), 1);
    assert_int_equal(deliver(HUB_ROOM, f.id[0], list), 0);
    assert_int_equal(deliver(HUB_ROOM, "r", "[]"), 3);
    assert_int_equal(deliver(HUB_ROOM, "r", "null"), 3);
    snprintf(list, sizeof(list), "\"%s\"", f.id[0]);
    assert_int_equal(deliver(HUB_ROOM, "r", list), 3);
    snprintf(list, sizeof(list), "{\"length\":1,\"0\":\"%s\"}", f.id[0]);
    assert_int_equal(deliver(HUB_ROOM, "r", list), 3);
    struct hub_message m = {HUB_ROOM, STR("r"), STR(X), STR_NONE, b};
    assert_int_equal(hub_deliver(f.hub, &m), 2);
    assert_received(1, X "|" X "|" X "|" X "|" X "|" X "|" X);
}

static void encrypted_ones_are_sealed(void **state)
{
    struct conn *a = member("u");
    member("u");
    (void)state;
    a->st.flags |= CONN_ENCRYPTED;
    assert_int_equal(deliver(HUB_USER, "u", NULL), 2);
    assert_received(0, "cipher");
    assert_received(1, X);
    assert_string_equal(buf_cstr(&f.sealed), "sealed:" X);
}

static void muted_ones_hear_nothing(void **state)
{
    struct conn *a = member("u"), *b = member("u");
    (void)state;
    a->st.flags |= CONN_MUTED;
    b->st.flags |= CONN_MUTED | CONN_ENCRYPTED;
    assert_int_equal(deliver(HUB_USER, "u", NULL), 0);
    assert_int_equal(deliver(HUB_BROADCAST, NULL, NULL), 0);
    a->st.flags &= ~(uint32_t)CONN_MUTED;
    assert_int_equal(deliver(HUB_USER, "u", NULL), 1);
    assert_received(0, X);
    assert_int_equal(f.sealed.n, 0);
}

static void one_frame_for_all(void **state)
{
    struct conn *a = member("u"), *b = member("u");
    (void)state;
    assert_int_equal(deliver(HUB_USER, "u", NULL), 2);
    assert_ptr_equal(a->out.inl[0], b->out.inl[0]);
    assert_int_equal(a->out.inl[0]->refs, 2);
}

/* Slow consumers fall while the message goes round: they are not counted, the others get
 * it. */
static void slow_consumer_in_a_room(void **state)
{
    static char big[2000];
    (void)state;
    memset(big, 'x', sizeof(big));
    for (size_t i = 0; i < 3; i++)
        hub_join(f.hub, member("u"), STR("r"));
    f.env.backpressure = 1000;
    while (send(conn_fd(f.c[1]), big, sizeof(big), MSG_DONTWAIT) > 0)
        ; /* its socket is full */
    session_send_text(f.c[1], (struct str){big, sizeof(big)});
    assert_int_equal(deliver(HUB_ROOM, "r", NULL), 2);
    assert_int_equal(f.c[1]->st.close_code, 1008);
    assert_received(0, X);
    assert_received(2, X);
}

/* What a delivery finds closed leaves the room it is walking through. */
static void receivers_may_vanish(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++)
        hub_join(f.hub, member("u"), STR("r"));
    f.env.backpressure = 1;
    assert_int_equal(deliver(HUB_ROOM, "r", NULL), 5);
    for (size_t i = 0; i < 5; i += 2) {
        close(f.peer[i]);
        f.peer[i] = -1;
    }
    assert_int_equal(deliver(HUB_ROOM, "r", NULL), 2);
    assert_int_equal(deliver(HUB_USER, "u", NULL), 2);
    turn();
    assert_int_equal(f.net.conns_n, 2);
}

static void list_row(void *ctx, struct str name, size_t members)
{
    buf_printf(ctx, STR_FMT "=%zu ", STR_ARG(name), members);
}

static void each_room_and_user(void **state)
{
    struct buf b = {0};
    (void)state;
    hub_join(f.hub, member("u"), STR("r"));
    hub_join(f.hub, member("u"), STR("gone"));
    hub_leave(f.hub, f.c[1], STR("gone"));
    hub_each(f.hub, HUB_ROOM, list_row, &b);
    hub_each(f.hub, HUB_USER, list_row, &b);
    assert_string_equal(buf_cstr(&b), "r=1 u=2 ");
    buf_free(&b);
}

/* ---- the bus ---- */

static bool did(const char *prefix, const char *name)
{
    char line[256];
    snprintf(line, sizeof(line), "%s%s", prefix, name);
    return bus_fake_did(&f.bus, line) == 1;
}

static void interest_follows_membership(void **state)
{
    (void)state;
    bus_fake_up(&f.bus);
    assert_true(did("+", "ws:broadcast"));
    struct conn *a = member("kim"), *b = member("kim");
    hub_join(f.hub, a, STR("r"));
    hub_join(f.hub, b, STR("r"));
    turn();
    assert_true(did("+ws:client:", f.id[0]));
    assert_true(did("+ws:room:", f.id[0]));
    assert_true(did("+", "ws:user:kim"));
    assert_true(did("+", "ws:room:r"));
    hub_leave(f.hub, a, STR("r"));
    turn();
    assert_int_equal(bus_fake_did(&f.bus, "-ws:room:r"), 0);
    hub_forget(f.hub, b);
    assert_true(did("-ws:client:", f.id[1]));
    assert_true(did("-ws:room:", f.id[1]));
    await_line("-ws:room:r");
    assert_int_equal(bus_fake_did(&f.bus, "-ws:user:kim"), 0);
    hub_forget(f.hub, a);
    await_line("-ws:user:kim");
    assert_int_equal(bus_fake_did(&f.bus, "-ws:broadcast"), 0);
}

static void rejoin_within_the_linger(void **state)
{
    (void)state;
    hub_set_bus(f.hub, &f.bus.bus, 60000);
    bus_fake_up(&f.bus);
    struct conn *c = member(NULL);
    hub_join(f.hub, c, STR("r"));
    for (int i = 0; i < 5; i++) {
        hub_leave(f.hub, c, STR("r"));
        turn();
        hub_join(f.hub, c, STR("r"));
    }
    hub_set_bus(f.hub, &f.bus.bus, 0);
    turn();
    assert_true(did("+", "ws:room:r"));
    assert_int_equal(bus_fake_did(&f.bus, "-ws:room:r"), 0);
}

/* Ever new rooms, joined and left, do not pile up. */
static void few_rooms_linger(void **state)
{
    char name[16];
    (void)state;
    hub_set_bus(f.hub, &f.bus.bus, 60000);
    bus_fake_up(&f.bus);
    struct conn *c = member(NULL);
    for (int i = 0; i < 30000; i++) {
        struct str room = {name, (size_t)snprintf(name, sizeof(name), "r%d", i)};
        hub_join(f.hub, c, room);
        hub_leave(f.hub, c, room);
        if (i % 1000 == 0)
            turn();
    }
    turn();
    assert_true(did("-", "ws:room:r19999"));
    assert_int_equal(bus_fake_did(&f.bus, "-ws:room:r20000"), 0);
}

/* The channel of a client's own id is also that of a room others may be in. */
static void own_channel_is_shared(void **state)
{
    char minus[80];
    (void)state;
    bus_fake_up(&f.bus);
    struct conn *a = member(NULL), *b = member(NULL);
    turn();
    snprintf(minus, sizeof(minus), "-ws:room:%s", f.id[0]);
    hub_join(f.hub, b, str_of(f.id[0]));
    hub_leave(f.hub, b, str_of(f.id[0]));
    turn();
    turn();
    assert_int_equal(bus_fake_did(&f.bus, minus), 0); /* a is there */
    hub_join(f.hub, b, str_of(f.id[0]));
    hub_forget(f.hub, a);
    assert_int_equal(bus_fake_did(&f.bus, minus), 0); /* b is */
    hub_forget(f.hub, b);
    await_line(minus);
    assert_int_equal(bus_fake_did(&f.bus, minus), 1);
}

static void reconnect_declares_everything(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        hub_join(f.hub, member("kim"), STR("r"));
    hub_join(f.hub, f.c[0], STR("only"));
    hub_join(f.hub, f.c[1], STR("left"));
    assert_int_equal(f.bus.log.n, 0); /* down: nothing is asked */
    hub_leave(f.hub, f.c[1], STR("left"));
    for (int round = 1; round <= 3; round++) {
        bus_fake_up(&f.bus);
        hub_join(f.hub, f.c[2], STR("fresh"));
        turn();
        turn();
        assert_int_equal(bus_fake_did(&f.bus, "+ws:broadcast"), round);
        assert_int_equal(bus_fake_did(&f.bus, "+ws:room:r"), round);
        assert_int_equal(bus_fake_did(&f.bus, "+ws:room:only"), round);
        assert_int_equal(bus_fake_did(&f.bus, "+ws:room:fresh"), round);
        assert_int_equal(bus_fake_did(&f.bus, "+ws:user:kim"), round);
        assert_int_equal(bus_fake_did(&f.bus, "+ws:room:left"), 0);
        assert_int_equal(f.bus.marked, (uint64_t)round * 13);
        bus_fake_down(&f.bus);
    }
}

/* A large worker comes back in steps, each only when what went before has been confirmed.
 */
static void reconnect_waits_for_confirmations(void **state)
{
    enum { ROOMS = 34000 }; /* half of them is more than may be unconfirmed */
    struct conn *c[2] = {member(NULL), member(NULL)};
    (void)state;
    for (unsigned i = 0; i < ROOMS; i++) {
        char name[16];
        struct str r = {name, (size_t)snprintf(name, sizeof(name), "r%u", i)};
        hub_join(f.hub, c[i / (ROOMS / 2)], r);
    }
    bus_fake_up(&f.bus);
    for (int i = 0; i < 20; i++)
        turn();
    assert_in_range(f.bus.marked, ROOMS / 2,
                    ROOMS / 2 + 3); /* one connection is one step */
    bus_fake_confirm(&f.bus, f.bus.marked - 10);
    turn();
    turn();
    assert_int_equal(f.bus.marked, ROOMS + 5);
}

struct waiter {
    struct hub_wait wait;
    unsigned called;
    struct hub_wait *cancels;
};
static void on_waited(struct hub_wait *w)
{
    struct waiter *me = container_of(w, struct waiter, wait);
    me->called++;
    if (me->cancels)
        hub_await_cancel(me->cancels);
}

static void waits_for_confirmation(void **state)
{
    struct waiter a = {0}, b = {0}, c = {0}, d = {0}, never = {0};
    (void)state;
    hub_await(f.hub, &a.wait, on_waited); /* down: at once */
    assert_int_equal(a.called, 1);
    bus_fake_up(&f.bus);
    member(NULL);
    hub_await(f.hub, &b.wait, on_waited);
    uint64_t first = f.bus.marked;
    hub_join(f.hub, f.c[0], STR("r"));
    hub_await(f.hub, &c.wait, on_waited);
    hub_await(f.hub, &d.wait, on_waited);
    c.cancels = &d.wait;
    assert_int_equal(b.called + c.called, 0);
    bus_fake_confirm(&f.bus, first - 1);
    assert_int_equal(b.called, 0);
    bus_fake_confirm(&f.bus, first);
    assert_int_equal(b.called, 1);
    assert_int_equal(c.called, 0);
    bus_fake_confirm(&f.bus, f.bus.marked);
    assert_int_equal(c.called, 1);
    assert_int_equal(d.called, 0);
    hub_await_cancel(&never.wait);
    hub_await_cancel(&c.wait);
    turn();
    bus_fake_confirm(&f.bus, f.bus.marked);
    hub_await(f.hub, &a.wait, on_waited); /* all confirmed: at once */
    assert_int_equal(a.called, 2);
    hub_join(f.hub, f.c[0], STR("q"));
    hub_await(f.hub, &a.wait, on_waited);
    assert_int_equal(a.called, 2);
    bus_fake_down(&f.bus);
    assert_int_equal(a.called, 3);
    assert_int_equal(d.called, 0);
}

static void publishes_local_first(void **state)
{
    char expected[400];
    struct conn *a = member(NULL), *b = member(NULL);
    struct hub_event ev = {HUB_ROOM,          STR("r"), STR("\"news\""),
                           STR("{\"n\": 1}"), STR_NONE, a};
    (void)state;
    hub_join(f.hub, a, STR("r"));
    hub_join(f.hub, b, STR("r"));
    assert_false(hub_publish(f.hub, &ev));
    assert_received(1, "{\"event\":\"news\",\"data\":{\"n\": 1}}");
    assert_int_equal(f.counters->bus_publish_lost, 1);
    bus_fake_up(&f.bus);
    assert_true(hub_publish(f.hub, &ev));
    assert_received(0, "");
    assert_received(1, "{\"event\":\"news\",\"data\":{\"n\": 1}}");
    snprintf(expected, sizeof(expected),
             "P ws:room:r "
             "{\"serverId\":\"%s\",\"type\":\"room\",\"target\":\"r\",\"event\":\"news\","
             "\"data\":{\"n\": 1},\"exclude\":[\"%s\"]}",
             hub_server_id(f.hub), f.id[0]);
    assert_int_equal(bus_fake_did(&f.bus, expected), 1);
    assert_true(hub_publish_raw(f.hub, STR("ws:inbound"), STR("{}")));
    assert_int_equal(bus_fake_did(&f.bus, "P ws:inbound {}"), 1);
    f.bus.refuses = true;
    assert_false(hub_publish_raw(f.hub, STR("ws:inbound"), STR("{}")));
    assert_int_equal(f.counters->bus_publish_lost, 2);
}

static void on_ack(void *ctx, bool ok, UNUSED const char *why)
{
    *(int *)ctx += ok ? 1 : 100;
}

static void publishes_acked_over_the_bus_only(void **state)
{
    int acks = 0;
    struct hub_event ev = {HUB_BROADCAST, STR_NONE, STR("\"n\""),
                           STR_NONE,      STR_NONE, NULL};
    const char *json = "{\"serverId\":\"heliod\",\"type\":\"broadcast\",\"event\":\"n\"}";
    (void)state;
    member(NULL);
    hub_publish_acked(f.hub, &ev, on_ack, &acks);
    assert_int_equal(acks, 100);
    bus_fake_up(&f.bus);
    hub_publish_acked(f.hub, &ev, on_ack, &acks);
    assert_int_equal(acks, 100);
    assert_received(0, "");
    assert_true(did("P ws:broadcast ", json));
    receive(json);
    assert_received(0, "{\"event\":\"n\"}");
    f.bus.ack(f.bus.ack_ctx, true, "");
    assert_int_equal(acks, 101);
}

/* PROTOCOL A8, receiving rules. */
static void receives(void **state)
{
    char json[400];
    struct conn *a = member("kim"), *b = member("kim");
    (void)state;
    hub_join(f.hub, a, STR("r"));
    hub_join(f.hub, b, STR("r"));
    receive("{\"serverId\":\"s\",\"type\":\"room\",\"target\":\"r\",\"event\":\"e\","
            "\"extra\":1}");
    assert_received(0, "{\"event\":\"e\"}");
    assert_received(1, "{\"event\":\"e\"}");
    receive("{\"serverId\":\"s\",\"type\":\"user\",\"target\":\"kim\",\"event\":\"\","
            "\"data\":null}");
    assert_received(0, "{\"event\":\"\",\"data\":null}");
    assert_received(1, "{\"event\":\"\",\"data\":null}");
    snprintf(json, sizeof(json),
             "{\"serverId\":\"s\",\"type\":\"room\",\"target\":\"r\",\"event\":\"e\","
             "\"data\":9007199254740993,\"exclude\":[\"%s\"]}",
             f.id[0]);
    receive(json);
    receive(json);
    assert_received(0, "");
    assert_received(1, "{\"event\":\"e\",\"data\":9007199254740993}|"
                       "{\"event\":\"e\",\"data\":9007199254740993}");
    snprintf(json, sizeof(json),
             "{\"serverId\":\"s\",\"type\":\"room\",\"target\":\"%s\",\"event\":\"e\"}",
             f.id[1]);
    receive(json);
    assert_received(1, "{\"event\":\"e\"}");
    receive("{\"serverId\":\"s\",\"type\":\"room\",\"target\":\"ws:internal:broadcast\","
            "\"event\":\"e\"}");
    receive("{\"serverId\":\"s\",\"type\":\"room\",\"target\":\"kim\",\"event\":\"e\"}");
    assert_int_equal(f.counters->bus_malformed, 0);
    snprintf(json, sizeof(json),
             "{\"serverId\":\"%s\",\"type\":\"broadcast\",\"event\":\"e\"}",
             hub_server_id(f.hub));
    receive(json);
    assert_int_equal(f.counters->bus_own, 1);
    receive("{\"serverId\":\"s\"}");
    receive("garbage");
    receive("{\"serverId\":\"s\",\"type\":\"room\",\"target\":7,\"event\":\"e\"}");
    assert_int_equal(f.counters->bus_malformed, 3);
    assert_received(0, "");
    assert_received(1, "");
}

/* An idle client in two rooms, with a user of its own, ≤ 250 bytes beside the rooms. */
static void costs_little(void **state)
{
    enum { MANY = 1000 };
    struct conn *c = mem_new(MANY * sizeof(*c));
    size_t before = hub_memory(f.hub);
    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        char user[24];
        uuid_make(&c[i].st.uuid);
        snprintf(user, sizeof(user), "user-%08u", i);
        hub_register(f.hub, &c[i], str_of(user));
        hub_join(f.hub, &c[i], STR("ws-default"));
        hub_join(f.hub, &c[i], STR("ws-notification"));
    }
    size_t subs = 0;
    for (unsigned i = 0; i < MANY; i++)
        subs += c[i].subs.cap * 12u;
    assert_in_range((hub_memory(f.hub) - before + subs) / MANY, 100, 250);
    for (unsigned i = 0; i < MANY; i++)
        hub_forget(f.hub, &c[i]);
    free(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(rooms_are_sets),
        TEST(user_is_no_room),
        TEST(own_id),
        TEST(many_members_come_and_go),
        TEST(broadcast_reaches_the_registered),
        TEST(excludes),
        TEST(encrypted_ones_are_sealed),
        TEST(muted_ones_hear_nothing),
        TEST(one_frame_for_all),
        TEST(slow_consumer_in_a_room),
        TEST(receivers_may_vanish),
        TEST(each_room_and_user),
        TEST(interest_follows_membership),
        TEST(rejoin_within_the_linger),
        TEST(few_rooms_linger),
        TEST(own_channel_is_shared),
        TEST(reconnect_declares_everything),
        TEST(reconnect_waits_for_confirmations),
        TEST(waits_for_confirmation),
        TEST(publishes_local_first),
        TEST(publishes_acked_over_the_bus_only),
        TEST(receives),
        TEST(costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
