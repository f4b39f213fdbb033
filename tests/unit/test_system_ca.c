// floors: supervisor
#include "supervisor/system_ca.h"

#include "supervisor/conf_yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define HEAD "endpoints: [{path: /ws, auth: {method: hook}, hooks: {authenticate: \""

static struct conf *read_conf(const char *text)
{
    struct conf *c = NULL;
    struct err e = {0};
    if (conf_yaml_read(str_of(text), "test.yaml", &c, &e) != 0 ||
        system_ca_fill(c, &e) != 0)
        fail_msg("%s", e.text);
    return c;
}

static void only_https_without_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool filled;
    } cases[] = {
        {HEAD "https://h/x\"}}]", true},
        {HEAD "http://h/x\"}}]", false},
        {HEAD "http://h/x\", message: \"https://h/x\"}}]", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *c = read_conf(cases[i].text);
        struct str ca = c->main.endpoints.v[0].hooks.ca.value;
        assert_int_equal(ca.n > 0, cases[i].filled);
        if (cases[i].filled)
            assert_non_null(memmem(ca.p, ca.n, "BEGIN CERTIFICATE", 17));
        conf_unref(c);
    }
}

static void its_own_stays(void **state)
{
    (void)state;
    struct conf *c = read_conf(HEAD "https://h/x\", ca: mine}}]");
    assert_true(str_is(c->main.endpoints.v[0].hooks.ca.value, "mine"));
    conf_unref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_https_without_its_own),
                                       cmocka_unit_test(its_own_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
