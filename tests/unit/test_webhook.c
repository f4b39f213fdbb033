// floors: auth
#include "worker/auth/webhook.h"

#include "common/clock.h"
#include "common/digest.h"
#include "common/list.h"
#include "common/log.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_MS 20000

/* ── a back end: one thread, the same loop, raw sockets, so that it can also misbehave ──
 */

struct peer {
    struct list link;
    struct backend *b;
    int fd;
    struct event ev;
    struct buf in, out;
    bool is_held; /* a /hold request waits for backend_release */
    bool is_flooding;
};
struct backend {
    struct event_base *base;
    int fd;
    uint16_t port;
    struct event ev;
    struct list peers;
    unsigned connections, requests, held, held_max;
    struct buf bodies; /* of all requests, each with a blank behind */
    struct buf head, body;
};

static void peer_close(struct peer *p)
{
    event_del(&p->ev);
    list_unlink(&p->link);
    close(p->fd);
    buf_free(&p->in);
    buf_free(&p->out);
    free(p);
}

static void on_peer(evutil_socket_t fd, short what, void *arg);

static void peer_watch(struct peer *p, short events)
{
    event_del(&p->ev);
    event_assign(&p->ev, p->b->base, p->fd, (short)(events | EV_PERSIST), on_peer, p);
    event_add(&p->ev, NULL);
}

static void answer(struct peer *p, const char *status, struct str body)
{
    buf_printf(&p->out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, body.n);
    buf_str(&p->out, body);
    peer_watch(p, EV_READ | EV_WRITE);
}

static void say(struct peer *p, const char *text)
{
    buf_str(&p->out, str_of(text));
    peer_watch(p, EV_READ | EV_WRITE);
}

static void fill(struct buf *b, size_t n)
{
    memset(buf_reserve(b, n), 'x', n);
    b->n += n;
}

static void hold(struct peer *p)
{
    p->is_held = true;
    p->b->held++;
    p->b->held_max = MAX(p->b->held_max, p->b->held);
}

static void serve(struct peer *p, struct str path, struct str body)
{
    struct buf text = {0};
    if (str_eq(path, STR("/echo")))
        answer(p, "200 OK", body);
    else if (str_starts(path, STR("/status/")))
        answer(p, (const char[]){path.p[8], path.p[9], path.p[10], ' ', 'X', 0},
               path.p[9] == '0' && path.p[10] == '4' ? STR("") : STR("{\"a\":1}"));
    else if (str_eq(path, STR("/hold")))
        hold(p);
    else if (str_eq(path, STR("/redirect")))
        say(p, "HTTP/1.1 302 Found\r\nLocation: /echo\r\nContent-Length: 0\r\n\r\n");
    else if (str_eq(path, STR("/garbage")))
        say(p, "SSH-2.0-hello\r\n\r\n");
    else if (str_eq(path, STR("/huge")))
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\nxxxx");
    else if (str_eq(path, STR("/cut")))
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxxxx");
    else if (str_eq(path, STR("/flood"))) {
        p->is_flooding = true;
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n");
    } else if (str_eq(path, STR("/heads"))) {
        p->is_flooding = true;
        say(p, "HTTP/1.1 200 OK\r\nX: y\r\n");
    } else if (str_eq(path, STR("/brim"))) {
        fill(&text, 1 << 20);
        answer(p, "200 OK", buf_view(&text));
    } else if (str_eq(path, STR("/drop")))
        shutdown(p->fd, SHUT_RDWR); /* the next read closes it */
    else if (str_eq(path, STR("/close")))
        say(p, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    else
        fail_msg("no such path: " STR_FMT, STR_ARG(path));
    buf_free(&text);
}

static size_t content_length(struct str head)
{
    uint64_t n;
    const char *at = memmem(head.p, head.n, "\r\nContent-Length: ", 18);
    assert_non_null(at);
    struct str rest = {at + 18, (size_t)(head.p + head.n - at) - 18};
    assert_true(str_to_u64(str_trim(str_split(rest, '\r', &rest)), 1 << 24, &n));
    return (size_t)n;
}

/* One whole request off p->in, if it is there. */
static bool next_request(struct peer *p)
{
    struct backend *b = p->b;
    const char *end = p->in.n ? memmem(p->in.p, p->in.n, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    size_t head_n = (size_t)(end - p->in.p) + 4;
    size_t body_n = content_length((struct str){p->in.p, head_n});
    if (p->in.n < head_n + body_n)
        return false;
    buf_clear(&b->head);
    buf_clear(&b->body);
    buf_put(&b->head, p->in.p, head_n);
    buf_put(&b->body, p->in.p + head_n, body_n);
    buf_drop(&p->in, head_n + body_n);
    b->requests++;
    if (body_n < 64) {
        buf_str(&b->bodies, buf_view(&b->body));
        buf_char(&b->bodies, ' ');
    }
    struct str rest, method = str_split(buf_view(&b->head), ' ', &rest);
    assert_true(str_is(method, "POST"));
    struct str query, path = str_split(str_split(rest, ' ', &rest), '?', &query);
    serve(p, path, buf_view(&b->body));
    return true;
}

static void flush(struct peer *p)
{
    if (p->is_flooding && p->out.n < 4096)
        for (int i = 0; i < 1000; i++)
            buf_str(&p->out, STR("Xxxxxxxx: xxxx\r\n"));
    ssize_t n = send(p->fd, p->out.p, p->out.n, MSG_NOSIGNAL);
    if (n > 0)
        buf_drop(&p->out, (size_t)n);
    if (p->out.n == 0 && !p->is_flooding)
        peer_watch(p, EV_READ);
    if (n < 0 && errno != EAGAIN)
        peer_watch(p, EV_READ); /* gone: the read says so */
}

/* False: the peer is gone. */
static bool take_in(struct peer *p)
{
    ssize_t n = recv(p->fd, buf_reserve(&p->in, 65536), 65536, 0);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0) {
        p->b->held -= p->is_held;
        peer_close(p);
        return false;
    }
    p->in.n += (size_t)n;
    while (next_request(p))
        ;
    return true;
}

static void on_peer(evutil_socket_t fd UNUSED, short what, void *arg)
{
    struct peer *p = arg;
    if (what & EV_READ && !take_in(p))
        return;
    if (what & EV_WRITE)
        flush(p);
}

static void on_accept(evutil_socket_t fd, short what UNUSED, void *arg)
{
    struct backend *b = arg;
    int c = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (c < 0)
        return;
    struct peer *p = NEW(struct peer);
    p->b = b;
    p->fd = c;
    list_init(&p->link);
    list_append(&b->peers, &p->link);
    event_assign(&p->ev, b->base, c, 0, on_peer, p);
    peer_watch(p, EV_READ);
    b->connections++;
}

/* Lets the oldest `n` held requests go. */
static void backend_release(struct backend *b, unsigned n)
{
    LIST_EACH (node, &b->peers) {
        struct peer *p = container_of(node, struct peer, link);
        if (!n || !p->is_held)
            continue;
        p->is_held = false;
        b->held--;
        n--;
        answer(p, "200 OK", STR("released"));
    }
    assert_int_equal(n, 0);
}

static void backend_open(struct backend *b, struct event_base *base, const char *ip)
{
    struct sockaddr_storage a;
    socklen_t n = address_parse(str_of(ip), 0, &a);
    *b = (struct backend){.base = base};
    list_init(&b->peers);
    b->fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(b->fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(b->fd, 128), 0);
    n = sizeof(a);
    assert_int_equal(getsockname(b->fd, (struct sockaddr *)&a, &n), 0);
    b->port = ntohs(((struct sockaddr_in *)&a)->sin_port); /* the same place in IPv6's */
    event_assign(&b->ev, base, b->fd, EV_READ | EV_PERSIST, on_accept, b);
    event_add(&b->ev, NULL);
}

static void backend_close(struct backend *b)
{
    LIST_EACH_SAFE (node, &b->peers)
        peer_close(container_of(node, struct peer, link));
    event_del(&b->ev);
    close(b->fd);
    buf_free(&b->bodies);
    buf_free(&b->head);
    buf_free(&b->body);
}

/* ── the stage ── */

struct stage {
    struct event_base *base;
    struct addresses book;
    struct counters counters;
    struct backend b;
    struct webhooks *w;
    struct conf_hooks conf;
    struct buf url;
};
struct result {
    int told;
    int status;
    struct buf body;
    char why[256];
    bool may_come;
    struct buf *order; /* name is appended when told */
    char name;
};

static int lines_logged;
static char last_line[1024];

static void keep_line(void *ctx UNUSED, enum log_level level, struct str line)
{
    assert_int_equal(level, LOG_LEVEL_WARN);
    lines_logged++;
    snprintf(last_line, sizeof(last_line), STR_FMT, STR_ARG(line));
}

static int stage_up(void **state)
{
    struct stage *s = NEW(struct stage);
    struct err e;
    log_init("test", keep_line, NULL);
    lines_logged = 0;
    s->base = event_base_new();
    backend_open(&s->b, s->base, "127.0.0.1");
    s->w = webhooks_new(s->base, &s->book, &s->counters, &e);
    assert_non_null(s->w);
    s->conf =
        (struct conf_hooks){.timeout = PATIENCE_MS, .concurrency = 64, .queue = 1024};
    *state = s;
    return 0;
}

static int stage_down(void **state)
{
    struct stage *s = *state;
    webhooks_free(s->w);
    backend_close(&s->b);
    addresses_fini(&s->book);
    buf_free(&s->url);
    event_base_free(s->base);
    log_init("test", NULL, NULL);
    free(s);
    return 0;
}

static void on_told(void *ctx, int status, struct str body, const char *why)
{
    struct result *r = ctx;
    assert_true(r->may_come);
    r->told++;
    r->status = status;
    buf_clear(&r->body);
    buf_str(&r->body, body);
    assert_int_equal(why != NULL, status == 0);
    snprintf(r->why, sizeof(r->why), "%s", why ? why : "");
    if (r->order)
        buf_char(r->order, r->name);
}

static struct str url_at(struct stage *s, const char *host, const char *path)
{
    buf_clear(&s->url);
    buf_printf(&s->url, "http://%s:%u%s", host, s->b.port, path);
    return buf_view(&s->url);
}

static struct webhook_call *post_as(struct stage *s, struct str url, struct str body,
                                    const void *order, struct result *r)
{
    r->may_come = false;
    struct webhook_call *call =
        webhook_post(s->w, &s->conf, url, body, order, on_told, r);
    r->may_come = true; /* never before webhook_post returned */
    return call;
}

static struct webhook_call *post(struct stage *s, const char *path, const char *body,
                                 const void *order, struct result *r)
{
    return post_as(s, url_at(s, "127.0.0.1", path), str_of(body), order, r);
}

static void on_patience(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    *(bool *)arg = true;
}

/* Turns the loop until cond holds. */
#define AWAIT(s, cond)                                                                   \
    do {                                                                                 \
        bool late = false;                                                               \
        struct timeval patience = {PATIENCE_MS / 1000, 0};                               \
        struct event clock;                                                              \
        event_assign(&clock, (s)->base, -1, 0, on_patience, &late);                      \
        event_add(&clock, &patience);                                                    \
        while (!(cond) && !late)                                                         \
            event_base_loop((s)->base, EVLOOP_ONCE);                                     \
        event_del(&clock);                                                               \
        if (!(cond))                                                                     \
            fail_msg("in vain: %s", #cond);                                              \
    } while (0)

static void call_once(struct stage *s, const char *path, const char *body,
                      struct result *r)
{
    *r = (struct result){.body = r->body};
    assert_non_null(post(s, path, body, NULL, r));
    AWAIT(s, r->told);
    assert_int_equal(r->told, 1);
}

/* ── the request ── */

static bool head_has(struct stage *s, const char *line)
{
    struct buf want = {0};
    buf_printf(&want, "\r\n%s\r\n", line);
    bool has = memmem(s->b.head.p, s->b.head.n, want.p, want.n);
    buf_free(&want);
    return has;
}

static bool head_holds(struct stage *s, const char *text)
{
    return memmem(s->b.head.p, s->b.head.n, text, strlen(text)) != NULL;
}

static void the_request(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    char host[64];
    call_once(s, "/echo?a=b", "{\"hook\":\"x\"}", &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(buf_cstr(&r.body), "{\"hook\":\"x\"}");
    assert_true(str_starts(buf_view(&s->b.head), STR("POST /echo?a=b HTTP/1.1\r\n")));
    assert_true(head_has(s, "Content-Type: application/json"));
    assert_true(head_has(s, "Content-Length: 12"));
    assert_true(head_has(s, "User-Agent: heliod/" HELIOD_VERSION));
    snprintf(host, sizeof(host), "Host: 127.0.0.1:%u", s->b.port);
    assert_true(head_has(s, host));
    assert_false(head_holds(s, "Heliod-Signature"));
    assert_false(head_holds(s, "Expect"));
    assert_false(head_holds(s, "Upgrade"));
    assert_int_equal(s->counters.hooks_called, 1);
    assert_int_equal(s->counters.hooks_failed, 0);
    assert_int_equal(s->counters.hooks_waiting, 0);
    buf_free(&r.body);
}

static void big_bodies_do_not_wait_for_100(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    struct buf body = {0};
    fill(&body, 3 << 20);
    assert_non_null(
        post_as(s, url_at(s, "127.0.0.1", "/status/200"), buf_view(&body), NULL, &r));
    AWAIT(s, r.told);
    assert_int_equal(r.status, 200);
    assert_int_equal(s->b.body.n, 3 << 20);
    assert_false(head_holds(s, "Expect"));
    buf_free(&body);
    buf_free(&r.body);
}

static void the_signature(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    static const char *const bodies[] = {"{}", "{\"a\":\"\xC3\xA9\"}", "", "{}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        s->conf.secret.value = STR("very secret");
        call_once(s, "/echo", bodies[i], &r);
        const char *at = memmem(s->b.head.p, s->b.head.n, "\r\nHeliod-Signature: t=", 22);
        assert_non_null(at);
        long long t = 0;
        char hex[65] = "", text[128];
        assert_int_equal(sscanf(at + 22, "%lld,v1=%64[0-9a-f]\r\n", &t, hex), 2);
        assert_true(llabs(t - clock_wall_ms() / 1000) <= 5);
        int n = snprintf(text, sizeof(text), "%lld.%s", t, bodies[i]);
        uint8_t mac[32];
        struct buf want = {0};
        HMAC(EVP_sha256(), "very secret", 11, (uint8_t *)text, (size_t)n, mac, NULL);
        buf_hex(&want, mac, sizeof(mac));
        assert_string_equal(hex, buf_cstr(&want));
        buf_free(&want);
    }
    s->conf.secret.value = STR("");
    call_once(s, "/echo", "{}", &r); /* the same line again, now unsigned */
    assert_false(head_holds(s, "Heliod-Signature"));
    buf_free(&r.body);
}

/* ── answers ── */

static void statuses(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    static const struct {
        const char *path;
        int status;
        bool fails;
    } rows[] = {
        {"/status/200", 200, false}, {"/status/204", 204, false},
        {"/status/401", 401, false}, {"/status/403", 403, false},
        {"/status/299", 299, false}, {"/status/404", 404, true},
        {"/status/500", 500, true},  {"/status/503", 503, true},
        {"/redirect", 302, true},
    };
    uint64_t failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        call_once(s, rows[i].path, "{}", &r);
        assert_int_equal(r.status, rows[i].status);
        failed += rows[i].fails;
        assert_int_equal(s->counters.hooks_failed, failed);
    }
    assert_int_equal(s->b.requests, ARRAY_LEN(rows)); /* the redirect was not followed */
    assert_int_equal(lines_logged, failed);
    assert_non_null(strstr(last_line, "status 302"));
    assert_non_null(strstr(last_line, "host=127.0.0.1"));
    buf_free(&r.body);
}

static void failures(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    static const struct {
        const char *path, *why;
    } rows[] = {
        {"/garbage", "HTTP/0.9"},           {"/huge", "an answer over 1 MiB"},
        {"/flood", "an answer over 1 MiB"}, {"/heads", "over 64 KiB of header fields"},
        {"/drop", "Empty reply"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        call_once(s, rows[i].path, "{}", &r);
        assert_int_equal(r.status, 0);
        assert_int_equal(r.body.n, 0);
        if (!strstr(r.why, rows[i].why))
            fail_msg("%s: %s", rows[i].path, r.why);
        assert_int_equal(s->counters.hooks_failed, i + 1);
    }
    call_once(s, "/echo", "fine", &r); /* and all of that harmed nothing */
    assert_string_equal(buf_cstr(&r.body), "fine");
    call_once(s, "/brim", "{}", &r);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body.n, 1 << 20);
    buf_free(&r.body);
}

static void timeouts(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    static const char *const paths[] = {"/hold", "/cut"};
    s->conf.timeout = 60;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int64_t from = clock_now_ms();
        call_once(s, paths[i], "{}", &r);
        assert_int_equal(r.status, 0);
        assert_non_null(strstr(r.why, "timed out"));
        assert_in_range(clock_now_ms() - from, 50, 10000);
    }
    assert_int_equal(s->counters.hooks_failed, 2);
    buf_free(&r.body);
}

static void nobody_listens(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    event_del(&s->b.ev);
    close(s->b.fd);
    call_once(s, "/echo", "{}", &r);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.why, "connect"));
    s->b.fd = -1;
    buf_free(&r.body);
}

static void the_log_is_limited(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    for (int i = 0; i < 30; i++)
        call_once(s, "/status/500", "{\"secret\":1}", &r);
    assert_int_equal(s->counters.hooks_failed, 30);
    assert_in_range(lines_logged, 1, 10);
    assert_null(strstr(last_line, "secret"));
    buf_free(&r.body);
}

/* ── connections and names ── */

static void connections_are_kept(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    for (int i = 0; i < 20; i++)
        call_once(s, "/echo", "{}", &r);
    assert_int_equal(s->b.connections, 1);
    call_once(s, "/close", "{}", &r);
    call_once(s, "/echo", "{}", &r);
    assert_int_equal(s->b.connections, 2);
    /* The back end closed an idle connection: the next call finds out and takes a new
     * one. */
    LIST_EACH_SAFE (node, &s->b.peers)
        peer_close(container_of(node, struct peer, link));
    call_once(s, "/echo", "{}", &r);
    assert_int_equal(r.status, 200);
    assert_int_equal(s->b.connections, 3);
    buf_free(&r.body);
}

static void descriptors_are_not_inherited(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    call_once(s, "/echo", "{}", &r);
    unsigned found = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in peer;
        socklen_t n = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &n) != 0 ||
            ntohs(peer.sin_port) != s->b.port)
            continue;
        found++;
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    assert_int_equal(found, 1);
    buf_free(&r.body);
}

static void names_come_from_the_book(void **state)
{
    struct stage *s = *state;
    static const struct {
        const char *book, *host;
        int status;
        const char *why;
    } rows[] = {
        {"", "nowhere.test", 0, "cannot resolve nowhere.test"},
        {"", "localhost", 0, "cannot resolve localhost"},
        {"other.test 127.0.0.1\n", "nowhere.test", 0, "cannot resolve"},
        {"hook.test 127.0.0.1\n", "hook.test", 200, ""},
        {"hook.test 127.0.0.9\n", "hook.test", 0, "connect"}, /* the book has changed */
        {"hook.test 127.0.0.9 127.0.0.1\n", "hook.test", 200, ""},
        {"HOOK.test 127.0.0.1\n", "hook.TEST", 200, ""},
        {"", "hook.test", 0, "cannot resolve"},
        {"hook.test ::1 127.0.0.1\n", "hook.test", 200, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct result r = {0};
        addresses_set(&s->book, str_of(rows[i].book));
        assert_non_null(
            post_as(s, url_at(s, rows[i].host, "/close"), STR("{}"), NULL, &r));
        AWAIT(s, r.told);
        if (r.status != rows[i].status || !strstr(r.why, rows[i].why))
            fail_msg("row %zu: %d %s", i, r.status, r.why);
        buf_free(&r.body);
    }
    assert_true(head_holds(s, "\r\nHost: hook.test:"));
}

static void numeric_ipv6(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_v6 = probe >= 0 && bind(probe, (struct sockaddr *)&a, sizeof(a)) == 0;
    if (probe >= 0)
        close(probe);
    if (!has_v6)
        skip();
    backend_close(&s->b);
    backend_open(&s->b, s->base, "::1");
    assert_non_null(post_as(s, url_at(s, "[::1]", "/echo"), STR("{}"), NULL, &r));
    AWAIT(s, r.told);
    assert_int_equal(r.status, 200);
    addresses_set(&s->book, STR("hook.test ::1\n"));
    r.told = 0;
    assert_non_null(post_as(s, url_at(s, "hook.test", "/echo"), STR("{}"), NULL, &r));
    AWAIT(s, r.told);
    assert_int_equal(r.status, 200);
    buf_free(&r.body);
}

static void only_http(void **state)
{
    struct stage *s = *state;
    static const char *const urls[] = {"file:///etc/passwd", "ftp://127.0.0.1/", "",
                                       "gopher://127.0.0.1:1/x", "127.0.0.1"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct result r = {0};
        assert_non_null(post_as(s, str_of(urls[i]), STR("{}"), NULL, &r));
        AWAIT(s, r.told);
        assert_int_equal(r.status, 0);
        assert_string_equal(r.why, "not an http or https URL");
        buf_free(&r.body);
    }
    assert_int_equal(s->counters.hooks_failed, ARRAY_LEN(urls));
}

static void the_environment_is_not_asked(void **state)
{
    struct stage *s = *state;
    struct result r = {0};
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    call_once(s, "/echo", "{}", &r);
    assert_int_equal(r.status, 200);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    buf_free(&r.body);
}

/* ── limits and order ── */

enum { MANY = 10 };

static void results_free(struct result *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_free(&r[i].body);
}

static size_t told(const struct result *r, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (size_t)r[i].told;
    return sum;
}

static void concurrency_is_bounded(void **state)
{
    struct stage *s = *state;
    struct result r[MANY] = {{0}};
    s->conf.concurrency = 3;
    for (int i = 0; i < MANY; i++)
        assert_non_null(post(s, "/hold", "{}", NULL, &r[i]));
    assert_int_equal(webhooks_waiting(s->w), MANY);
    assert_int_equal(s->counters.hooks_waiting, MANY);
    for (unsigned done = 0; done < MANY; done++) {
        AWAIT(s, s->b.held == MIN(3u, MANY - done));
        assert_int_equal(told(r, MANY), done);
        backend_release(&s->b, 1);
        AWAIT(s, told(r, MANY) == done + 1);
    }
    assert_int_equal(s->b.held_max, 3);
    assert_int_equal(s->b.connections, 3);
    assert_int_equal(webhooks_waiting(s->w), 0);
    assert_int_equal(s->counters.hooks_waiting, 0);
    results_free(r, MANY);
}

static void the_queue_is_bounded(void **state)
{
    struct stage *s = *state;
    struct result r[4] = {{0}};
    s->conf.concurrency = 1;
    s->conf.queue = 2;
    for (int i = 0; i < 3; i++)
        assert_non_null(post(s, "/hold", "{}", NULL, &r[i]));
    assert_null(post(s, "/hold", "{}", NULL, &r[3]));
    assert_int_equal(s->counters.hooks_dropped, 1);
    for (int i = 0; i < 3; i++) {
        AWAIT(s, s->b.held == 1);
        backend_release(&s->b, 1);
        AWAIT(s, r[i].told == 1);
    }
    assert_int_equal(r[3].told, 0);
    assert_int_equal(s->b.requests, 3);
    results_free(r, 4);
}

static void without_a_queue(void **state)
{
    struct stage *s = *state;
    struct result r[2] = {{0}};
    int key = 0;
    s->conf.concurrency = 2;
    s->conf.queue = 0;
    assert_non_null(post(s, "/hold", "{}", &key, &r[0]));
    assert_null(
        post(s, "/hold", "{}", &key, &r[1])); /* a place is free, but not its turn */
    assert_non_null(post(s, "/hold", "{}", NULL, &r[1]));
    assert_null(post(s, "/hold", "{}", NULL, &r[1]));
    assert_int_equal(s->counters.hooks_dropped, 2);
    r[1].may_come = true;
    AWAIT(s, s->b.held == 2);
    backend_release(&s->b, 2);
    AWAIT(s, told(r, 2) == 2);
    results_free(r, 2);
}

/* Each endpoint's limits are its own. */
static void limits_are_per_configuration(void **state)
{
    struct stage *s = *state;
    struct result r[2] = {{0}};
    struct conf_hooks other;
    s->conf.concurrency = 1;
    s->conf.queue = 0;
    other = s->conf;
    assert_non_null(post(s, "/hold", "{}", NULL, &r[0]));
    assert_null(post(s, "/hold", "{}", NULL, &r[1]));
    assert_non_null(webhook_post(s->w, &other, url_at(s, "127.0.0.1", "/hold"), STR("{}"),
                                 NULL, on_told, &r[1]));
    AWAIT(s, s->b.held == 2);
    r[0].may_come = r[1].may_come = true;
    backend_release(&s->b, 2);
    AWAIT(s, told(r, 2) == 2);
    results_free(r, 2);
}

static void order_is_kept(void **state)
{
    struct stage *s = *state;
    struct result r[2 * MANY] = {{0}};
    int keys[2] = {0};
    char body[8];
    for (int i = 0; i < 2 * MANY; i++) {
        snprintf(body, sizeof(body), "%c%d", "ab"[i & 1], i / 2);
        assert_non_null(post(s, "/hold", body, &keys[i & 1], &r[i]));
    }
    for (unsigned done = 0; done < 2 * MANY; done += 2) {
        AWAIT(s, s->b.held == 2); /* one of each key, never more */
        backend_release(&s->b, 2);
        AWAIT(s, told(r, 2 * MANY) == done + 2);
        assert_int_equal(told(r, done + 2), done + 2);
    }
    assert_int_equal(s->b.held_max, 2);
    int next[2] = {0, 0};
    for (struct str rest = buf_view(&s->b.bodies); rest.n;) {
        struct str word = str_split(rest, ' ', &rest);
        int which = word.p[0] - 'a';
        assert_int_equal(word.p[1] - '0', next[which]++);
    }
    assert_int_equal(next[0], MANY);
    assert_int_equal(next[1], MANY);
    results_free(r, 2 * MANY);
}

/* Failures of all kinds hold their place in the row. */
static void order_survives_failures(void **state)
{
    struct stage *s = *state;
    static const char *const urls[] = {"http://nowhere.test/", NULL, "nonsense",
                                       "http://nowhere.test/", NULL};
    struct result r[5] = {{0}};
    struct buf order = {0};
    for (int i = 0; i < 5; i++) {
        struct str url = urls[i] ? str_of(urls[i]) : url_at(s, "127.0.0.1", "/drop");
        r[i].order = &order;
        r[i].name = (char)('0' + i);
        assert_non_null(post_as(s, url, STR("{}"), s, &r[i]));
    }
    AWAIT(s, told(r, 5) == 5);
    assert_string_equal(buf_cstr(&order), "01234");
    assert_int_equal(s->counters.hooks_failed, 5);
    assert_int_equal(webhooks_waiting(s->w), 0);
    buf_free(&order);
    results_free(r, 5);
}

/* ── cancelling, posting from fn ── */

static void cancelled_calls_are_not_told(void **state)
{
    struct stage *s = *state;
    struct result r[5] = {{0}};
    struct webhook_call *call[5];
    int key = 0;
    s->conf.concurrency = 2;
    for (int i = 0; i < 4; i++)
        call[i] =
            post(s, "/hold", (const char *[]){"c0", "c1", "c2", "c3"}[i], &key, &r[i]);
    call[4] = post(s, "/hold", "c4", NULL, &r[4]);
    AWAIT(s, s->b.held == 2);
    webhook_cancel(call[1]); /* waits for its turn: never sent */
    webhook_cancel(call[0]); /* under way: goes on unheard, its order with it */
    webhook_cancel(call[4]);
    for (int i = 0; i < 5; i++)
        r[i].may_come = i == 2 || i == 3;
    assert_int_equal(s->b.held, 2);
    backend_release(&s->b, 2);
    AWAIT(s, s->b.requests == 3);
    backend_release(&s->b, 1);
    AWAIT(s, r[2].told);
    AWAIT(s, s->b.held == 1);
    backend_release(&s->b, 1);
    AWAIT(s, r[3].told);
    assert_int_equal(told(r, 5), 2);
    assert_int_equal(s->b.requests, 4);
    assert_null(memmem(s->b.bodies.p, s->b.bodies.n, "c1", 2));
    assert_int_equal(webhooks_waiting(s->w), 0);
    results_free(r, 5);
}

/* The first of a row is cancelled while it waits for a place: the second moves up. */
static void cancelling_moves_others_up(void **state)
{
    struct stage *s = *state;
    struct result r[3] = {{0}};
    int key = 0;
    s->conf.concurrency = 1;
    assert_non_null(post(s, "/hold", "a", NULL, &r[0]));
    struct webhook_call *first = post(s, "/hold", "b", &key, &r[1]);
    assert_non_null(post(s, "/hold", "c", &key, &r[2]));
    webhook_cancel(first);
    for (int i = 0; i < 3; i += 2) {
        AWAIT(s, s->b.held == 1);
        backend_release(&s->b, 1);
        AWAIT(s, r[i].told);
    }
    assert_string_equal(buf_cstr(&s->b.bodies), "a c ");
    results_free(r, 3);
}

struct chain {
    struct stage *s;
    int left, told;
    const void *order;
    struct webhook_call *self, *victim;
};

static void on_link(void *ctx, int status UNUSED, struct str body UNUSED,
                    const char *why UNUSED)
{
    struct chain *c = ctx;
    c->told++;
    webhook_cancel(c->self); /* of the ending call itself: harmless */
    if (c->victim)
        webhook_cancel(c->victim);
    c->victim = NULL;
    if (c->left-- > 0) {
        c->self = webhook_post(c->s->w, &c->s->conf, buf_view(&c->s->url), STR("{}"),
                               c->order, on_link, c);
        assert_non_null(c->self);
    }
}

static void fn_may_post_and_cancel(void **state)
{
    struct stage *s = *state;
    static const char *const paths[] = {"/echo", "/drop"};
    s->conf.concurrency = 1;
    s->conf.queue = 1;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        for (int ordered = 0; ordered < 2; ordered++) {
            struct chain c = {.s = s, .left = 5, .order = ordered ? &c : NULL};
            struct result never = {0};
            url_at(s, "127.0.0.1", paths[i]);
            c.self = webhook_post(s->w, &s->conf, buf_view(&s->url), STR("{}"), c.order,
                                  on_link, &c);
            c.victim = post_as(s, buf_view(&s->url), STR("victim"), c.order, &never);
            assert_non_null(c.victim);
            AWAIT(s, c.told == 6);
            assert_int_equal(never.told, 0);
            assert_int_equal(webhooks_waiting(s->w), 0);
        }
    assert_null(memmem(s->b.bodies.p, s->b.bodies.n, "victim", 6));
}

/* queue 0: in fn, the place of the call that ended is free again. */
static void fn_may_post_without_a_queue(void **state)
{
    struct stage *s = *state;
    s->conf.concurrency = 1;
    s->conf.queue = 0;
    struct chain c = {.s = s, .left = 3, .order = s};
    url_at(s, "127.0.0.1", "/echo");
    c.self = webhook_post(s->w, &s->conf, buf_view(&s->url), STR("{}"), s, on_link, &c);
    assert_non_null(c.self);
    AWAIT(s, c.told == 4);
    assert_int_equal(s->counters.hooks_dropped, 0);
}

static void fire_and_forget(void **state)
{
    struct stage *s = *state;
    struct conf_hooks *conf = NEW(struct conf_hooks);
    char *secret = mem_strdup("gone soon");
    *conf = s->conf;
    conf->secret.value = str_of(secret);
    char *body = mem_strdup("{\"k\":1}");
    for (int i = 0; i < 3; i++)
        assert_non_null(webhook_post(s->w, conf, url_at(s, "127.0.0.1", "/echo"),
                                     str_of(body), s, NULL, NULL));
    free(body); /* all of these were only read during the call */
    memset(secret, 0, 9);
    free(secret);
    free(conf);
    buf_clear(&s->url);
    AWAIT(s, webhooks_waiting(s->w) == 0);
    assert_int_equal(s->b.requests, 3);
    assert_true(head_holds(s, "Heliod-Signature"));
    assert_int_equal(s->counters.hooks_called, 3);
    assert_int_equal(s->counters.hooks_failed, 0);
}

/* More configurations than gates are kept, and more calls than lines. */
static void many_configurations(void **state)
{
    enum { N = 200 };
    struct stage *s = *state;
    static struct conf_hooks confs[N];
    struct result r[N] = {{0}};
    for (int i = 0; i < N; i++) {
        confs[i] = s->conf;
        confs[i].queue = i;
        assert_non_null(webhook_post(s->w, &confs[i], url_at(s, "127.0.0.1", "/hold"),
                                     STR("{}"), NULL, on_told, &r[i]));
        r[i].may_come = true;
        if (i % 50 == 49) {
            AWAIT(s, s->b.held == 50);
            backend_release(&s->b, 50);
            AWAIT(s, told(r, N) == (size_t)i + 1);
        }
    }
    results_free(r, N);
}

static void freed_with_calls_under_way(void **state)
{
    struct stage *s = *state;
    struct result r[6] = {{0}};
    struct err e;
    s->conf.concurrency = 2;
    for (int i = 0; i < 3; i++)
        assert_non_null(post(s, "/hold", "{}", s, &r[i]));
    for (int i = 3; i < 6; i++)
        assert_non_null(
            post_as(s, i == 5 ? STR("nonsense") : url_at(s, "127.0.0.1", "/hold"),
                    STR("{}"), NULL, &r[i]));
    AWAIT(s, s->b.held == 2);
    webhooks_free(s->w);
    s->w = webhooks_new(s->base, &s->book, &s->counters, &e);
    assert_non_null(post(s, "nonsense", "{}", NULL, &r[5])); /* stillborn, not yet told */
    webhooks_free(s->w);
    AWAIT(s, s->b.held == 0);
    assert_int_equal(told(r, 6), 6 + 1);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(r[i].status, 0);
    results_free(r, 6);
    s->w = NULL;
    webhooks_free(NULL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, stage_up, stage_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_request),
        TEST(big_bodies_do_not_wait_for_100),
        TEST(the_signature),
        TEST(statuses),
        TEST(failures),
        TEST(timeouts),
        TEST(nobody_listens),
        TEST(the_log_is_limited),
        TEST(connections_are_kept),
        TEST(descriptors_are_not_inherited),
        TEST(names_come_from_the_book),
        TEST(numeric_ipv6),
        TEST(only_http),
        TEST(the_environment_is_not_asked),
        TEST(concurrency_is_bounded),
        TEST(the_queue_is_bounded),
        TEST(without_a_queue),
        TEST(limits_are_per_configuration),
        TEST(order_is_kept),
        TEST(order_survives_failures),
        TEST(cancelled_calls_are_not_told),
        TEST(cancelling_moves_others_up),
        TEST(fn_may_post_and_cancel),
        TEST(fn_may_post_without_a_queue),
        TEST(fire_and_forget),
        TEST(many_configurations),
        TEST(freed_with_calls_under_way),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
