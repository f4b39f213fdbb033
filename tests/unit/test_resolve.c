// floors: supervisor
#include "supervisor/resolve.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_S 20

static struct event_base *base;
static struct event *impatience;
static struct resolve *r;
static unsigned dones, other_dones, changes;
static struct buf logged;
static char directory[64], resolv_conf[96], hosts[96];

/* ---- a name server ---- */

struct record {
    const char *name;    /* NULL ends the zone */
    const char *v4, *v6; /* blank-separated; "" no data; "NX", "FAIL", "SILENT" */
};

static const struct record *zone;
static int server_fd = -1;
static struct event *server_ev;
static unsigned questions;

static size_t read_name(const uint8_t *p, size_t n, char *out)
{
    size_t at = 12, used = 0;
    while (at < n && p[at]) {
        for (unsigned i = 0; i < p[at]; i++)
            out[used++] = (char)p[at + 1 + i];
        out[used++] = '.';
        at += 1u + p[at];
    }
    out[used ? used - 1 : 0] = '\0';
    return at + 1; /* of the type */
}

static const char *find_data(const char *name, bool v6)
{
    for (const struct record *rec = zone; rec->name; rec++)
        if (strcasecmp(rec->name, name) == 0)
            return v6 ? rec->v6 : rec->v4;
    return "NX";
}

/* Appends one record per address; a CNAME goes ahead of them. Returns how many records.
 */
static unsigned put_records(uint8_t *p, size_t *n, const char *data, bool v6)
{
    static const uint8_t cname[] = {0xc0, 12, 0, 5, 0, 1,   0,    0,
                                    0,    9,  0, 4, 1, 'x', 0xc0, 12};
    unsigned count = 1;
    memcpy(p + *n, cname, sizeof(cname));
    *n += sizeof(cname);
    char copy[2048], *save = NULL;
    strcpy(copy, data);
    for (char *ip = strtok_r(copy, " ", &save); ip;
         ip = strtok_r(NULL, " ", &save), count++) {
        uint8_t head[] = {0xc0, 12, 0, v6 ? 28 : 1, 0, 1, 0, 0, 0, 9, 0, v6 ? 16 : 4};
        memcpy(p + *n, head, sizeof(head));
        assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, ip, p + *n + sizeof(head)),
                         1);
        *n += sizeof(head) + (v6 ? 16 : 4);
    }
    return count;
}

static void on_question(evutil_socket_t fd, short what, void *ctx)
{
    uint8_t p[2048];
    char name[512];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    ssize_t got = recvfrom(fd, p, 512, 0, (struct sockaddr *)&from, &len);
    (void)what;
    (void)ctx;
    assert_true(got > 12);
    questions++;
    size_t at = read_name(p, (size_t)got, name), n = at + 4;
    bool v6 = p[at + 1] == 28;
    const char *data = find_data(name, v6);
    if (strcmp(data, "SILENT") == 0)
        return;
    p[2] = 0x81;
    p[3] = strcmp(data, "NX") == 0 ? 0x83 : strcmp(data, "FAIL") == 0 ? 0x82 : 0x80;
    p[7] = p[3] == 0x80 && *data ? (uint8_t)put_records(p, &n, data, v6) : 0;
    p[11] = 0;
    sendto(fd, p, n, 0, (struct sockaddr *)&from, len);
}

static void server_open(const char *options)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(server_fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(getsockname(server_fd, (struct sockaddr *)&sa, &len), 0);
    server_ev = event_new(base, server_fd, EV_READ | EV_PERSIST, on_question, NULL);
    event_add(server_ev, NULL);
    FILE *f = fopen(resolv_conf, "w");
    fprintf(f, "nameserver 127.0.0.1:%u\noptions %s\n", ntohs(sa.sin_port), options);
    fclose(f);
}

/* ---- tools ---- */

static void on_impatience(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
    fail_msg("waited %d s in vain; log: %s", PATIENCE_S, buf_cstr(&logged));
}

static void count(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void keep_line(void *ctx, enum log_level level, struct str line)
{
    (void)ctx;
    if (level == LOG_LEVEL_DEBUG)
        return;
    buf_str(&logged, line);
    buf_char(&logged, '\n');
}

#define WAIT_FOR(condition)                                                              \
    while (!(condition))                                                                 \
    event_base_loop(base, EVLOOP_ONCE)

static void write_hosts(const char *text)
{
    FILE *f = fopen(hosts, "w");
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    struct timeval patience = {PATIENCE_S, 0};
    static const struct record nothing[] = {{0}};
    (void)state;
    strcpy(directory, "/tmp/test_resolve.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(resolv_conf, sizeof(resolv_conf), "%s/resolv.conf", directory);
    snprintf(hosts, sizeof(hosts), "%s/hosts", directory);
    base = event_base_new();
    impatience = evtimer_new(base, on_impatience, NULL);
    event_add(impatience, &patience);
    log_init("test", keep_line, NULL);
    log_set_level(LOG_LEVEL_DEBUG);
    zone = nothing;
    dones = other_dones = changes = questions = 0;
    r = resolve_new(base, count, &changes);
    resolve_use_files(r, resolv_conf, hosts);
    server_open("timeout:1 attempts:1");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    resolve_free(r);
    event_free(server_ev);
    close(server_fd);
    event_free(impatience);
    event_base_free(base);
    buf_free(&logged);
    unlink(hosts);
    unlink(resolv_conf);
    return rmdir(directory);
}

struct wish {
    struct conf conf;
    struct conf_endpoint endpoint;
};

/* A configuration with up to three URLs of hooks. */
static const struct conf *wish(struct wish *w, const char *a, const char *b,
                               const char *c)
{
    memset(w, 0, sizeof(*w));
    w->conf.main.redis.url = STR("managed");
    w->conf.main.endpoints.v = &w->endpoint;
    w->conf.main.endpoints.n = 1;
    w->endpoint.hooks.authenticate = str_of(a);
    w->endpoint.hooks.rooms = str_of(b);
    w->endpoint.hooks.disconnected = str_of(c);
    return &w->conf;
}

static void want(const struct conf *c)
{
    unsigned before = dones;
    resolve_want(r, c, count, &dones);
    assert_int_equal(dones, before); /* never before it returns */
    WAIT_FOR(dones == before + 1);
}

static void assert_book(const char *text)
{
    if (!str_is(resolve_book(r), text))
        fail_msg("book is `" STR_FMT "`, not `%s`", STR_ARG(resolve_book(r)), text);
}

static unsigned times_logged(const char *words)
{
    unsigned n = 0;
    for (const char *p = buf_cstr(&logged); (p = strstr(p, words)); p++)
        n++;
    return n;
}

/* ---- tests ---- */

static void test_nothing_to_ask(void **state)
{
    struct wish w;
    (void)state;
    want(wish(&w, "http://127.0.0.1:9000/hook", "https://[::1]/", ""));
    assert_book("");
    w.conf.main.redis.url = STR("redis://10.0.0.1:6379");
    want(&w.conf);
    w.conf.main.redis.url = STR("unix:///run/redis.sock");
    want(&w.conf);
    assert_book("");
    assert_int_equal(questions, 0);
    assert_int_equal(changes, 0);
}

static void test_hosts_file(void **state)
{
    struct wish w;
    (void)state;
    write_hosts("# 9.9.9.9 backend\n"
                "10.0.0.2\tother Backend alias # backend2\n"
                "fd00::5   backend\r\n"
                "10.0.0.1 backend\n"
                "nonsense backend\n"
                "10.0.0.3 xbackend backendx\n"
                "10.0.0.4 last");
    want(wish(&w, "http://backend:9000/hook", "https://LAST/", "http://localhost/x"));
    assert_book("backend 10.0.0.1 10.0.0.2 fd00::5\n"
                "LAST 10.0.0.4\n"
                "localhost 127.0.0.1 ::1\n");
    assert_int_equal(questions, 0);
    assert_int_equal(changes, 0); /* done tells it */
    write_hosts("10.0.0.9 backend\n10.0.0.4 last\n127.0.0.5 localhost\n");
    resolve_refresh(r);
    WAIT_FOR(changes == 1);
    assert_book("backend 10.0.0.9\nLAST 10.0.0.4\nlocalhost 127.0.0.5\n");
}

static void test_every_place(void **state)
{
    static const struct record records[] = {
        {"a.test", "10.0.0.1", ""},     {"b.test", "10.0.0.2", ""},
        {"c.test", "10.0.0.3", ""},     {"d.test", "10.0.0.4", ""},
        {"e.test", "10.0.0.5", ""},     {"f.test", "10.0.0.6", ""},
        {"redis.test", "10.0.0.7", ""}, {0}};
    struct wish w;
    (void)state;
    zone = records;
    wish(&w, "http://a.test/", "http://b.test/", "http://c.test/");
    w.endpoint.hooks.handshake = STR("http://d.test");
    w.endpoint.hooks.message = STR("http://e.test:81/x?y");
    w.endpoint.hooks.connected = STR("https://f.test/");
    w.conf.main.redis.url = STR("redis://:secret@redis.test:6379/1");
    want(&w.conf);
    assert_book("redis.test 10.0.0.7\na.test 10.0.0.1\nd.test 10.0.0.4\nb.test 10.0.0.2\n"
                "e.test 10.0.0.5\nf.test 10.0.0.6\nc.test 10.0.0.3\n");
    assert_int_equal(questions, 14);
}

static void test_both_families(void **state)
{
    static const struct record first[] = {
        {"two.test", "10.0.0.2 10.0.0.1 10.0.0.2", "fd00::2 fd00::1"},
        {"six.test", "", "fd00::6"},
        {"four.test", "10.0.0.4", "NX"},
        {0}};
    static const struct record rotated[] = {
        {"two.test", "10.0.0.1 10.0.0.2", "fd00::1 fd00::2"},
        {"six.test", "", "fd00::6"},
        {"four.test", "10.0.0.4", "NX"},
        {0}};
    static const struct record moved[] = {{"two.test", "10.0.0.1 10.0.0.2", ""},
                                          {"six.test", "", "fd00::6"},
                                          {"four.test", "10.0.0.4", "NX"},
                                          {0}};
    struct wish w;
    (void)state;
    zone = first;
    want(wish(&w, "http://two.test/", "http://six.test/", "http://four.test/"));
    assert_book("two.test 10.0.0.1 10.0.0.2 fd00::1 fd00::2\nsix.test fd00::6\nfour.test "
                "10.0.0.4\n");
    zone = rotated;
    resolve_refresh(r);
    WAIT_FOR(questions == 12);
    zone = moved;
    WAIT_FOR((resolve_refresh(r), questions == 18));
    WAIT_FOR(changes == 1); /* by `moved` alone */
    assert_book("two.test 10.0.0.1 10.0.0.2\nsix.test fd00::6\nfour.test 10.0.0.4\n");
    assert_int_equal(dones, 1);
}

static void test_many_addresses(void **state)
{
    char all[1024] = "", expected[1024] = "big.test";
    struct record records[] = {{"big.test", all, ""}, {0}};
    struct wish w;
    (void)state;
    for (int i = 10; i < 30; i++) {
        snprintf(all + strlen(all), 32, "10.0.0.%d ", i);
        if (i < 10 + RESOLVE_IPS_MAX)
            snprintf(expected + strlen(expected), 32, " 10.0.0.%d", i);
    }
    zone = records;
    want(wish(&w, "http://big.test/", "", ""));
    assert_book(strcat(expected, "\n"));
}

/* A name that fails is not in the book, is logged once, and comes when it can be
 * resolved. */
static void test_failure_and_return(void **state)
{
    static const struct record down[] = {
        {"up.test", "10.0.0.1", ""}, {"fail.test", "FAIL", "FAIL"}, {0}};
    static const struct record up[] = {{"up.test", "10.0.0.1", ""},
                                       {"fail.test", "10.0.0.8", ""},
                                       {"nx.test", "10.0.0.9", ""},
                                       {0}};
    struct wish w;
    (void)state;
    zone = down;
    want(wish(&w, "http://up.test/", "http://nx.test/", "http://fail.test/"));
    assert_book("up.test 10.0.0.1\n");
    assert_int_equal(times_logged("cannot resolve nx.test"), 1);
    assert_int_equal(times_logged("cannot resolve fail.test"), 1);
    want(&w.conf); /* asks for those two again */
    assert_int_equal(times_logged("cannot resolve nx.test"), 1);
    assert_int_equal(changes, 0);
    zone = up;
    resolve_refresh(r);
    WAIT_FOR(times_logged("is resolved again") == 2);
    WAIT_FOR(changes >= 1);
    assert_book("up.test 10.0.0.1\nnx.test 10.0.0.9\nfail.test 10.0.0.8\n");
}

static void test_nothing_is_forgotten(void **state)
{
    static const struct record good[] = {{"a.test", "10.0.0.1", "fd00::1"}, {0}};
    static const struct record partly[] = {{"a.test", "10.0.0.2", "FAIL"}, {0}};
    static const struct record silent[] = {{"a.test", "SILENT", "SILENT"}, {0}};
    static const struct record empty[] = {{"a.test", "", ""}, {0}};
    struct wish w;
    (void)state;
    zone = good;
    want(wish(&w, "http://a.test/", "", ""));
    assert_book("a.test 10.0.0.1 fd00::1\n");
    zone = partly;
    resolve_refresh(r);
    WAIT_FOR(changes == 1);
    assert_book("a.test 10.0.0.2 fd00::1\n");
    zone = silent;
    resolve_refresh(r);
    WAIT_FOR(times_logged("cannot resolve a.test") == 1);
    assert_int_equal(times_logged("last addresses stay in use"), 1);
    assert_book("a.test 10.0.0.2 fd00::1\n");
    unsigned before = questions;
    zone = empty;
    resolve_refresh(r);
    WAIT_FOR(questions == before + 2);
    zone = good;
    WAIT_FOR((resolve_refresh(r), times_logged("is resolved again") == 1));
    assert_book("a.test 10.0.0.1 fd00::1\n");
}

/* resolv.conf grants more time than a want has. */
static void test_deadline(void **state)
{
    static const struct record records[] = {
        {"good.test", "10.0.0.1", ""}, {"silent.test", "SILENT", "SILENT"}, {0}};
    static const struct record later[] = {
        {"good.test", "10.0.0.1", ""}, {"silent.test", "10.0.0.2", ""}, {0}};
    struct wish w;
    (void)state;
    event_free(server_ev);
    close(server_fd);
    server_open("timeout:7 attempts:2");
    zone = records;
    int64_t at = clock_now_ms();
    want(wish(&w, "http://good.test/", "http://silent.test/", ""));
    int64_t took = clock_now_ms() - at;
    assert_true(took >= RESOLVE_TIMEOUT_MS - 50 && took < 6900);
    assert_book("good.test 10.0.0.1\n");
    zone = later; /* the question is repeated; its answer comes too late for `done` */
    WAIT_FOR(changes == 1);
    assert_book("good.test 10.0.0.1\nsilent.test 10.0.0.2\n");
    assert_int_equal(dones, 1);
}

static void test_want_replaced(void **state)
{
    static const struct record records[] = {
        {"a.test", "10.0.0.1", ""}, {"b.test", "10.0.0.2", ""}, {0}};
    struct wish w, v;
    (void)state;
    zone = records;
    resolve_want(r, wish(&w, "http://a.test/", "", ""), count, &other_dones);
    want(wish(&v, "http://b.test/", "", ""));
    assert_int_equal(other_dones, 0);
    /* a reload that was abandoned: both are still there */
    resolve_want(r, &w.conf, count, &other_dones);
    WAIT_FOR(changes >= 1 &&
             str_is(resolve_book(r), "a.test 10.0.0.1\nb.test 10.0.0.2\n"));
    resolve_want(r, &w.conf, NULL, NULL);
    resolve_refresh(r);
    assert_book("a.test 10.0.0.1\nb.test 10.0.0.2\n");
    changes = 0;
    WAIT_FOR((resolve_refresh(r), changes > 0));
    assert_book("a.test 10.0.0.1\n");
}

static void test_new_name_of_a_reload_without_done(void **state)
{
    static const struct record records[] = {{"a.test", "10.0.0.1", ""}, {0}};
    struct wish w;
    (void)state;
    zone = records;
    resolve_want(r, wish(&w, "http://a.test/", "", ""), NULL, NULL);
    WAIT_FOR(changes == 1);
    assert_book("a.test 10.0.0.1\n");
}

static void test_hundreds(void **state)
{
    struct conf c;
    static struct conf_endpoint endpoints[256];
    static struct record records[257];
    static char urls[256][64], names[256][32];
    (void)state;
    memset(&c, 0, sizeof(c));
    c.main.redis.url = STR("managed");
    c.main.endpoints.v = endpoints;
    c.main.endpoints.n = 256;
    for (int i = 0; i < 256; i++) {
        snprintf(names[i], sizeof(names[i]), "h%d.test", i);
        snprintf(urls[i], sizeof(urls[i]), "http://%s/", names[i]);
        endpoints[i].hooks.message = str_of(urls[i]);
        records[i] = (struct record){names[i], "10.0.0.1", "fd00::1"};
    }
    zone = records;
    want(&c);
    unsigned lines = 0;
    for (size_t i = 0; i < resolve_book(r).n; i++)
        lines += resolve_book(r).p[i] == '\n';
    assert_int_equal(lines, 256);
}

/* Freed in the midst of questions: whatever still arrives touches nothing. */
static void test_free_while_asking(void **state)
{
    static const struct record records[] = {{"a.test", "10.0.0.1", "fd00::1"}, {0}};
    struct wish w;
    (void)state;
    zone = records;
    for (unsigned turns = 0; turns < 8; turns++) {
        resolve_want(r, wish(&w, "http://a.test/", "http://b.test/", ""), count, &dones);
        for (unsigned i = 0; i < turns && dones == 0; i++)
            event_base_loop(base, EVLOOP_NONBLOCK);
        unsigned before = dones;
        resolve_free(r);
        for (int i = 0; i < 8; i++)
            event_base_loop(base, EVLOOP_NONBLOCK);
        assert_int_equal(dones, before);
        dones = 0;
        r = resolve_new(base, count, &changes);
        resolve_use_files(r, resolv_conf, hosts);
    }
}

static void test_no_files(void **state)
{
    struct wish w;
    (void)state;
    resolve_use_files(r, "/no/such/file", "/no/such/file");
    want(wish(&w, "http://localhost/", "", ""));
    assert_book("localhost 127.0.0.1 ::1\n");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_to_ask),
        TEST(test_hosts_file),
        TEST(test_every_place),
        TEST(test_both_families),
        TEST(test_many_addresses),
        TEST(test_failure_and_return),
        TEST(test_nothing_is_forgotten),
        TEST(test_deadline),
        TEST(test_want_replaced),
        TEST(test_new_name_of_a_reload_without_done),
        TEST(test_hundreds),
        TEST(test_free_while_asking),
        TEST(test_no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
