// floors: protocols
#include "worker/protocols/signaling_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define FROM "\"from\":{\"id\":\"i\",\"userType\":\"r\"}}"

static void assert_type(const char *text, enum signal_type want)
{
    struct signal_parts parts;
    enum signal_type type = signal_read(str_of(text), &parts);
    if (type != want)
        fail_msg("%s: %d instead of %d", text, type, want);
    assert_int_equal(type == SIGNAL_BAD, parts.fault != NULL);
}

static void what_it_is(UNUSED void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "x",
        "null",
        "[]",
        "\"ping\"",
        "{}",
        "{\"type\":5}",
        "{\"type\":null}",
        "{\"type\":{\"type\":\"x\"}}",
        "{\"type\":\"x\",\"type\":\"x\"}",
        "{\"type\":\"x\",\"\\u0074ype\":1}",
        "{\"type\":\"joined\"}",
        "{\"type\":\"user-joined\"}",
        "{\"type\":\"user-left\"}",
        "{\"type\":\"user-returned\"}",
        "{\"type\":\"error\"}",
        "{\"type\":\"pong\"}",
        "{\"type\":\"p\\u006Fng\"}",
        "{\"type\":\"x\",}",
        "{\"type\":\"x\"}x",
        "{\"type\":\"\xff\"}",
        "\xef\xbb\xbf{\"type\":\"x\"}",
    };
    static const char *const relayed[] = {
        "{\"type\":\"\"}",        "{\"type\":\"Ping\"}",    "{\"type\":\"leave \"}",
        "{\"type\":\"joined2\"}", " { \"type\" : \"x\" } ", "{\"type\":\"x\",\"from\":1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_type(bad[i], SIGNAL_BAD);
    for (size_t i = 0; i < ARRAY_LEN(relayed); i++)
        assert_type(relayed[i], SIGNAL_RELAY);
    assert_type("{\"type\":\"ping\"}", SIGNAL_PING);
    assert_type("{\"x\":[{}],\"\\u0074ype\":\"p\\u0069ng\"}", SIGNAL_PING);
    assert_type("{\"type\":\"leave\",\"to\":5}", SIGNAL_LEAVE);
}

static void whom_it_is_for(UNUSED void **state)
{
    struct signal_parts p;
    assert_int_equal(signal_read(STR("{\"type\":\"x\"}"), &p), SIGNAL_RELAY);
    assert_int_equal(p.to.type, SCAN_BAD);
    signal_read(STR("{\"type\":\"x\",\"to\":\"a\",\"t\\u006f\":null}"), &p);
    assert_int_equal(p.to.type, SCAN_NULL); /* the last one, as in a page */
    signal_read(STR("{\"type\":\"x\",\"data\":{\"to\":\"a\"}}"), &p);
    assert_int_equal(p.to.type, SCAN_BAD);
}

static void nobody_speaks_for_another(UNUSED void **state)
{
    static const struct {
        const char *in, *out;
    } vectors[] = {
        {"{\"type\":\"x\"}", "{\"type\":\"x\"," FROM},
        {" {\t\"type\" : \"x\" , \"n\":1.0e+2\n} ", "{\"type\":\"x\",\"n\":1.0e+2," FROM},
        {"{\"from\":1,\"type\":\"x\"}", "{\"type\":\"x\"," FROM},
        {"{\"type\":\"x\",\"from\":{\"id\":\"me\"}}", "{\"type\":\"x\"," FROM},
        {"{\"fr\\u006fm\":1,\"type\":\"x\",\"\\u0066rom\":[2],\"from\":3}",
         "{\"type\":\"x\"," FROM},
        {"{\"type\":\"x\",\"\\u0046rom\":1,\"from \":2,\"\":3,\"fro\":4}",
         "{\"type\":\"x\",\"\\u0046rom\":1,\"from \":2,\"\":3,\"fro\":4," FROM},
        {"{\"type\":\"x\",\"a\":{\"from\":1},\"a\":[\"from\",\"}\\\"\"]}",
         "{\"type\":\"x\",\"a\":{\"from\":1},\"a\":[\"from\",\"}\\\"\"]," FROM},
        {"{\"t\\u0079pe\":\"\\ud800\\/\"}", "{\"t\\u0079pe\":\"\\ud800\\/\"," FROM},
    };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct buf b = {0};
        assert_type(vectors[i].in, SIGNAL_RELAY);
        signal_write(&b, str_of(vectors[i].in), STR("i"), STR("r"));
        assert_string_equal(buf_cstr(&b), vectors[i].out);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_is),
        cmocka_unit_test(whom_it_is_for),
        cmocka_unit_test(nobody_speaks_for_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
