// floors: protocols
#include "worker/protocols/signaling_ice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static struct conf_endpoint conf;
static struct conf_ice_server servers[2];
static struct str urls[] = {STR("turn:t.example.org?transport=udp"), STR("turns:\"x")};

static int setup(UNUSED void **state)
{
    memset(&conf, 0, sizeof(conf));
    memset(servers, 0, sizeof(servers));
    for (size_t i = 0; i < ARRAY_LEN(servers); i++)
        servers[i].urls = (struct conf_strs){urls, i + 1};
    conf.ice_servers.v = servers;
    conf.ice_servers.n = 1;
    return 0;
}

static void assert_written(struct str user, const char *want)
{
    struct buf b = {0};
    ice_write(&b, &conf, user, 1700000000);
    assert_string_equal(buf_cstr(&b), want);
    buf_free(&b);
}

static void none(UNUSED void **state)
{
    conf.ice_servers.n = 0;
    assert_written(STR("ann"), "");
}

static void without_credentials(UNUSED void **state)
{
    assert_written(STR("ann"),
                   ",\"iceServers\":[{\"urls\":[\"turn:t.example.org?transport=udp\"]}]");
}

static void fixed(UNUSED void **state)
{
    conf.ice_servers.n = 2;
    servers[1].username = STR("u\"");
    servers[1].credential.value = STR("p");
    assert_written(STR("ann"),
                   ",\"iceServers\":[{\"urls\":[\"turn:t.example.org?transport=udp\"]},"
                   "{\"urls\":[\"turn:t.example.org?transport=udp\",\"turns:\\\"x\"],"
                   "\"username\":\"u\\\"\",\"credential\":\"p\"}]");
}

/* python3 -c 'import hmac, base64; print(base64.b64encode(hmac.digest(b"north",
 * b"1700003600:ann", "sha1")))', and without the user */
static void minted(UNUSED void **state)
{
    servers[0].secret.value = STR("north");
    servers[0].ttl = 3600 * 1000;
    assert_written(STR("ann"),
                   ",\"iceServers\":[{\"urls\":[\"turn:t.example.org?transport=udp\"],"
                   "\"username\":\"1700003600:ann\","
                   "\"credential\":\"TwqKCcbzejRFa1sgGqGS7SEzCGg=\"}]");
    assert_written(STR_NONE,
                   ",\"iceServers\":[{\"urls\":[\"turn:t.example.org?transport=udp\"],"
                   "\"username\":\"1700003600\","
                   "\"credential\":\"xF4I6gruVt/PjGbjajGu2UlidPk=\"}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(none, setup),
        cmocka_unit_test_setup(without_credentials, setup),
        cmocka_unit_test_setup(fixed, setup),
        cmocka_unit_test_setup(minted, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
