// floors: http
#include "worker/http/assets.h"

#include "worker/http/assets_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static bool holds(struct str whole, const char *part)
{
    return memmem(whole.p, whole.n, part, strlen(part)) != NULL;
}

/* The sources are put into documents as they are. */
static void test_sources_stay_in_their_elements(void **state UNUSED)
{
    const struct str *html[] = {&asset_docs_html, &asset_demos_html, &asset_call_html,
                                &asset_bell_html};
    const struct str *css[] = {&asset_docs_css, &asset_demos_css};
    const struct str *js[] = {&asset_docs_js, &asset_demos_js, &asset_call_js,
                              &asset_bell_js};
    for (size_t i = 0; i < ARRAY_LEN(html); i++) {
        assert_false(holds(*html[i], " style=") || holds(*html[i], " onclick="));
        assert_false(holds(*html[i], "src=") || holds(*html[i], "<link"));
    }
    for (size_t i = 0; i < ARRAY_LEN(css); i++) {
        assert_false(holds(*css[i], "</"));
        assert_false(holds(*css[i], "url(") || holds(*css[i], "@import"));
    }
    for (size_t i = 0; i < ARRAY_LEN(js); i++) {
        assert_false(holds(*js[i], "</") || holds(*js[i], "<!--"));
        assert_false(holds(*js[i], "innerHTML"));
    }
}

static void test_each_has_its_switch(void **state UNUSED)
{
    static const struct {
        const char *path;
        bool with_docs, with_demos, with_none;
    } rows[] = {
        {"/docs", true, false, false},       {"/demos", false, true, false},
        {"/demos/call", false, true, false}, {"/demos/bell", false, true, false},
        {"/heliod.js", true, true, true},    {"/demos/", false, false, false},
        {"/docs/", false, false, false},     {"/", false, false, false},
    };
    const struct conf_main with_docs = {.docs = true}, with_demos = {.demos = true},
                           with_none = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str path = str_of(rows[i].path);
        assert_int_equal(assets_find(&with_docs, path) != NULL, rows[i].with_docs);
        assert_int_equal(assets_find(&with_demos, path) != NULL, rows[i].with_demos);
        assert_int_equal(assets_find(&with_none, path) != NULL, rows[i].with_none);
    }
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
        assets_embed_json(&out, str_of(rows[i][0]));
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
    const struct asset *page =
        assets_find(&(struct conf_main){.docs = true}, STR("/docs"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        assets_policy(&out, page, str_of(rows[i].host));
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
        cmocka_unit_test(test_each_has_its_switch),
        cmocka_unit_test(test_json_has_no_markup),
        cmocka_unit_test(test_only_a_plain_host_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
