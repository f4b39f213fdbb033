// floors: http
#include "worker/http/docs.h"

#include "worker/http/docs_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static bool holds(struct str whole, const char *part)
{
    return memmem(whole.p, whole.n, part, strlen(part)) != NULL;
}

/* The sources are put into the document as they are. */
static void test_sources_stay_in_their_elements(void **state UNUSED)
{
    assert_false(holds(docs_css, "</"));
    assert_false(holds(docs_js, "</"));
    assert_false(holds(docs_js, "<!--"));
    assert_false(holds(docs_js, "innerHTML"));
    assert_false(holds(docs_html, " style=") || holds(docs_html, " onclick="));
    assert_false(holds(docs_html, "src=") || holds(docs_html, "<link"));
    assert_false(holds(docs_css, "url(") || holds(docs_css, "@import"));
}

static void test_json_has_no_markup(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"{\"a\":1}", "{\"a\":1}"},
        {"\"</script><!--\"", "\"\\u003c/script>\\u003c!--\""},
        {"<", "\\u003c"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        docs_embed_json(&out, str_of(rows[i][0]));
        assert_string_equal(buf_cstr(&out), rows[i][1]);
        buf_free(&out);
    }
}

static void test_only_a_plain_host_is_named(void **state UNUSED)
{
    static const struct {
        const char *host, *sources;
    } rows[] = {
        {"localhost", "'self' ws://localhost wss://localhost;"},
        {"a-1.example:8000", "'self' ws://a-1.example:8000 wss://a-1.example:8000;"},
        {"127.0.0.1:1", "'self' ws://127.0.0.1:1 wss://127.0.0.1:1;"},
        {"[::1]:8000", "'self';"},
        {"a;script-src", "'self';"},
        {"a,b", "'self';"},
        {"*", "'self';"},
        {"*.example", "'self';"},
        {"a'b", "'self';"},
        {"a%20b", "'self';"},
        {"a_b", "'self';"},
        {"a:b", "'self';"},
        {"", "'self';"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        docs_policy(&out, str_of(rows[i].host));
        const char *connect = strstr(buf_cstr(&out), "connect-src ");
        assert_non_null(connect);
        connect += strlen("connect-src ");
        assert_memory_equal(connect, rows[i].sources, strlen(rows[i].sources));
        assert_string_equal(connect + strlen(rows[i].sources),
                            " base-uri 'none'; form-action 'none'; "
                            "frame-ancestors 'none'");
        buf_free(&out);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources_stay_in_their_elements),
        cmocka_unit_test(test_json_has_no_markup),
        cmocka_unit_test(test_only_a_plain_host_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
