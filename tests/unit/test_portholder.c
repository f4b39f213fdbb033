// floors: supervisor
#include "common/portholder.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static struct sockaddr_storage address(const char *ip, uint16_t port)
{
    struct sockaddr_storage sa = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&sa;
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sa;
    }
    memset(&sa, 0, sizeof(sa));
    assert_int_equal(inet_pton(AF_INET6, ip, &v6->sin6_addr), 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sa;
}

/* Listens at a free port, which is written to *port. */
static int listen_at(const char *ip, uint16_t *port)
{
    struct sockaddr_storage sa = address(ip, 0);
    socklen_t len = sa.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                            : sizeof(struct sockaddr_in6);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *port = ntohs(((struct sockaddr_in *)&sa)->sin_port); /* at the same place in both */
    return fd;
}

static bool found(const char *ip, uint16_t port)
{
    struct sockaddr_storage sa = address(ip, port);
    struct portholder h;
    bool is_found = portholder_tcp((struct sockaddr *)&sa, NULL, NULL, &h);
    assert_int_equal(h.pid, is_found ? getpid() : 0);
    return is_found;
}

static void test_overlap(void **state)
{
    static const struct {
        const char *held, *wanted;
        bool is_in_the_way;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.1", "0.0.0.0", true},
        {"0.0.0.0", "127.0.0.3", true},
        {"0.0.0.0", "0.0.0.0", true},
        {"::1", "::1", true},
        {"::1", "::", true},
        {"::1", "::2", false},
        {"::1", "127.0.0.1", false},
        {"::1", "0.0.0.0", false},
        {"127.0.0.1", "::1", false},
        {"0.0.0.0", "::", false},
        {"::", "::1", true},
        {"::", "127.0.0.1", true}, /* takes both families, perhaps */
        {"::ffff:127.0.0.1", "127.0.0.1", true},
        {"::ffff:127.0.0.1", "127.0.0.2", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint16_t port;
        int fd = listen_at(cases[i].held, &port);
        if (found(cases[i].wanted, port) != cases[i].is_in_the_way)
            fail_msg("%s held, %s wanted", cases[i].held, cases[i].wanted);
        assert_false(found(cases[i].held, (uint16_t)(port ^ 1)));
        close(fd);
        assert_false(found(cases[i].wanted, port));
    }
}

/* Connections of a port are not listeners. */
static void test_only_listening(void **state)
{
    uint16_t port;
    int fd = listen_at("127.0.0.1", &port);
    struct sockaddr_storage sa = address("127.0.0.1", port);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_int_equal(connect(client, (struct sockaddr *)&sa, sizeof(struct sockaddr_in)),
                     0);
    int served = accept(fd, NULL, NULL);
    assert_true(served >= 0);
    assert_true(found("127.0.0.1", port));
    close(fd);
    assert_false(found("127.0.0.1", port));
    close(served);
    close(client);
}

static bool skip_one(void *ctx, uint64_t inode)
{
    return *(uint64_t *)ctx == inode;
}

static void test_skip(void **state)
{
    uint16_t port;
    int fd = listen_at("127.0.0.1", &port);
    struct sockaddr_storage sa = address("127.0.0.1", port);
    struct portholder h;
    struct stat st;
    (void)state;
    assert_int_equal(fstat(fd, &st), 0);
    uint64_t inode = st.st_ino;
    assert_false(portholder_tcp((struct sockaddr *)&sa, skip_one, &inode, &h));
    inode++;
    assert_true(portholder_tcp((struct sockaddr *)&sa, skip_one, &inode, &h));
    close(fd);
}

static void test_unix(void **state)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct portholder h;
    char directory[] = "/tmp/test_portholder.XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/a b.sock", directory);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_false(portholder_unix(sa.sun_path, &h)); /* bound is not listening */
    assert_int_equal(listen(fd, 5), 0);
    assert_true(portholder_unix(sa.sun_path, &h));
    assert_int_equal(h.pid, getpid());
    assert_false(portholder_unix(directory, &h));
    close(fd);
    assert_false(portholder_unix(sa.sun_path, &h));
    unlink(sa.sun_path);
    rmdir(directory);
}

/* A name is text of a stranger. */
static void test_text(void **state)
{
    uint16_t port;
    int fd = listen_at("127.0.0.1", &port);
    struct sockaddr_storage sa = address("127.0.0.1", port);
    struct portholder h;
    char expected[128], old[32] = "";
    (void)state;
    prctl(PR_GET_NAME, old);
    prctl(PR_SET_NAME, "ev\033il");
    assert_true(portholder_tcp((struct sockaddr *)&sa, NULL, NULL, &h));
    prctl(PR_SET_NAME, old);
    snprintf(expected, sizeof(expected), "held by pid %d (ev\\x1bil)", (int)getpid());
    assert_string_equal(portholder_text(&h), expected);
    h.pid = 0;
    assert_string_equal(portholder_text(&h), "held by another process");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap), cmocka_unit_test(test_only_listening),
        cmocka_unit_test(test_skip),    cmocka_unit_test(test_unix),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
