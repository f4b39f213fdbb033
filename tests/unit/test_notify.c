// floors: supervisor
#include "supervisor/notify.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static char where[64];
static int manager;

/* A service manager: listens on a path, or in the abstract namespace when the name begins
 * with '@'. */
static void listen_at(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    memcpy(un.sun_path, name, n);
    if (name[0] == '@')
        un.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    socklen_t len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (name[0] != '@'));
    assert_int_equal(bind(manager, (struct sockaddr *)&un, len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
}

static const char *heard(void)
{
    static char text[512];
    ssize_t n = recv(manager, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void hear_all(void)
{
    char pid[32];
    snprintf(pid, sizeof pid, "MAINPID=%d\n", 4711);
    assert_int_equal(notify_ready(4711), 1);
    const char *text = heard();
    assert_non_null(strstr(text, "READY=1\n"));
    assert_non_null(strstr(text, pid));
    assert_int_equal(notify_reloading(), 1);
    text = heard();
    assert_non_null(strstr(text, "RELOADING=1\n"));
    assert_non_null(strstr(text, "MONOTONIC_USEC="));
    assert_int_equal(notify_stopping(), 1);
    assert_non_null(strstr(heard(), "STOPPING=1\n"));
    close(manager);
}

static void test_path(void **state UNUSED)
{
    snprintf(where, sizeof where, "/tmp/heliod-test-notify.%d", getpid());
    listen_at(where);
    hear_all();
    unlink(where);
}

static void test_abstract(void **state UNUSED)
{
    snprintf(where, sizeof where, "@heliod-test-notify.%d", getpid());
    listen_at(where);
    hear_all();
}

static void test_nobody_listens(void **state UNUSED)
{
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_ready(1), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(notify_ready(1), 0);
}

static void test_bad_addresses(void **state UNUSED)
{
    static const char *const bad[] = {"relative", "@", "/", "vsock:2:1234",
                                      "/nowhere/at/all"};
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[0] = '/';
    longer[sizeof longer - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        assert_int_equal(notify_ready(1), -1);
    }
    setenv("NOTIFY_SOCKET", longer, 1);
    assert_int_equal(notify_ready(1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_abstract),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_bad_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
