// floors: common
#include "common/conf.h"

#include "common/log.h"
#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct err e;

/* The whole table, one leaf after the other: lists are entered through their first row.
 */

typedef void (*leaf_fn)(const char *path, const struct conf_key *key);

static void each_leaf_of(const struct conf_section *s, const char *around, leaf_fn fn)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        char path[256];
        snprintf(path, sizeof(path), "%s%s%s%s", around, *around ? "." : "", key->name,
                 key->kind == CONF_LIST ? "[0]" : "");
        if (key->sub)
            each_leaf_of(key->sub, path, fn);
        else
            fn(path, key);
    }
}

static void each_leaf(leaf_fn fn)
{
    each_leaf_of(&conf_main_section, "", fn);
}

static int set(struct conf *c, const char *path, const char *text)
{
    return conf_set(c, path, str_of(text), 7, &e);
}

struct found {
    const char *path;
    char *text; /* NULL: no such leaf, or removed */
    int line;
    unsigned n; /* leaves seen */
};

static void find_leaf(void *ctx, const char *path, const struct conf_key *key UNUSED,
                      struct str text, int line)
{
    struct found *f = ctx;
    f->n++;
    if (strcmp(path, f->path) != 0)
        return;
    f->text = text.p ? str_dup(text) : NULL;
    f->line = line;
}

/* The text of a leaf as conf_walk shows it; caller frees. */
static char *text_of(const struct conf *c, const char *path)
{
    struct found f = {.path = path};
    conf_walk(c, find_leaf, &f);
    return f.text;
}

static char *filled(size_t n)
{
    char *s = mem_new(n + 1);
    memset(s, 'x', n);
    return s;
}

/* A text that differs from the default and is within the bounds. */
static char *other_text(const struct conf_key *key)
{
    char text[64] = "";
    if (key->kind == CONF_BOOL)
        return mem_strdup(strcmp(key->dflt, "true") == 0 ? "false" : "true");
    if (key->kind == CONF_ENUM)
        return str_dup(conf_choice(key, str_is(conf_choice(key, 0), key->dflt)));
    if (key->kind == CONF_STR || key->kind == CONF_CONTENT)
        return filled((size_t)MAX(key->min, 3));
    if (key->kind == CONF_STRS)
        return mem_strdup("one, two");
    const char *unit = key->kind == CONF_SIZE ? "B" : key->kind == CONF_TIME ? "ms" : "";
    snprintf(text, sizeof(text), "%" PRId64 "%s", key->min + 1, unit);
    return mem_strdup(text);
}

static void check_sane(const char *path, const struct conf_key *key)
{
    if (!key->help || key->help[strlen(key->help) - 1] != '.')
        fail_msg("%s: its help is not a sentence", path);
    if (!(key->flags & CONF_LIVE) == !(key->flags & CONF_BOOT))
        fail_msg("%s: neither LIVE nor BOOT, or both", path);
    if (key->kind == CONF_STR || key->kind == CONF_CONTENT || key->kind == CONF_STRS)
        assert_true(key->max > 0);
}

static void test_table_is_sane(void **state UNUSED)
{
    each_leaf(check_sane);
}

static void check_default(const char *path, const struct conf_key *key)
{
    struct conf *c = conf_new(), *again = conf_new();
    /* a sibling brings rows into being */
    if (strstr(path, "auth.keys[0]"))
        assert_int_equal(set(c, "endpoints[0].auth.keys[0].kid", "k"), 0);
    else if (strstr(path, "ice_servers[0]"))
        assert_int_equal(set(c, "endpoints[0].ice_servers[0].ttl", "1h"), 0);
    else if (strstr(path, "endpoints[0]"))
        assert_int_equal(set(c, "endpoints[0].path", "/ws"), 0);
    else if (strstr(path, "listeners[0]"))
        assert_int_equal(set(c, "listeners[0].address", "*:1"), 0);
    else if (strstr(path, "api_keys[0]"))
        assert_int_equal(set(c, "api_keys[0].name", "n"), 0);
    char *shown = text_of(c, path);
    assert_non_null(shown);
    bool is_given = key->min > 0 && !*key->dflt;
    if (!is_given)
        assert_string_equal(shown, key->dflt); /* so that `show config` can be compared */
    if (*shown) {
        if (set(again, path, shown))
            fail_msg("the default does not parse: %s", e.text);
        char *twice = text_of(again, path);
        assert_string_equal(shown, twice);
        free(twice);
    }
    free(shown);
    conf_unref(c);
    conf_unref(again);
}

static void test_defaults_parse_and_format_back(void **state UNUSED)
{
    each_leaf(check_default);
}

/* want: 0 accepted, -1 refused with the path in front */
static void check_set(const char *path, const char *text, int want)
{
    struct conf *c = conf_new();
    e.text[0] = '\0';
    int got = set(c, path, text);
    if (got != want)
        fail_msg("%s: %.40s: %s %s", path, text, want ? "accepted" : "refused", e.text);
    if (want)
        assert_memory_equal(e.text, path, strlen(path));
    conf_unref(c);
}

static void check_number_bounds(const char *path, const struct conf_key *key)
{
    const char *unit = key->kind == CONF_SIZE ? "B" : key->kind == CONF_TIME ? "ms" : "";
    const struct {
        int64_t number;
        int want;
    } rows[] = {{key->min, 0},
                {key->max, 0},
                {key->min - 1, -1},
                {key->max + 1, -1},
                {1000000000000000000, -1}};
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), "%" PRId64 "%s", rows[i].number, unit);
        check_set(path, text, rows[i].want);
    }
    static const char *const nonsense[] = {"",
                                           " ",
                                           "x",
                                           "1x",
                                           "1 s",
                                           "01",
                                           "1.5s",
                                           "0x10",
                                           "+1",
                                           "1e3",
                                           "99999999999999999999d",
                                           "true"};
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
        check_set(path, nonsense[i], -1);
}

static void check_length_bounds(const char *path, const struct conf_key *key)
{
    char *most = filled((size_t)key->max), *more = filled((size_t)key->max + 1);
    check_set(path, most, 0);
    check_set(path, more, -1);
    if (key->min > 0)
        check_set(path, "", -1);
    if (key->kind == CONF_STR)
        check_set(path, "a\nbcd", -1);
    free(most);
    free(more);
}

static void check_count_bounds(const char *path, const struct conf_key *key)
{
    struct buf text = {0};
    for (int64_t i = 0; i < key->max; i++)
        buf_str(&text, i ? STR(",x") : STR("x"));
    check_set(path, buf_cstr(&text), 0);
    buf_str(&text, STR(",x"));
    check_set(path, buf_cstr(&text), -1);
    buf_free(&text);
    char *longest = filled(CONF_ELEMENT_MAX), *longer = filled(CONF_ELEMENT_MAX + 1);
    check_set(path, longest, 0);
    check_set(path, longer, -1);
    free(longest);
    free(longer);
}

static void check_choices(const char *path, const struct conf_key *key)
{
    struct str rest = str_of(key->choices);
    for (int i = 0; rest.p; i++) {
        struct str choice = str_split(rest, '|', &rest);
        assert_true(str_eq(choice, conf_choice(key, i)));
        char *text = str_dup(choice);
        check_set(path, text, 0);
        free(text);
    }
    check_set(path, "", -1);
    check_set(path, key->choices, -1);
}

static void check_bounds(const char *path, const struct conf_key *key)
{
    if (key->kind == CONF_ENUM) {
        check_choices(path, key);
    } else if (key->kind == CONF_BOOL) {
        check_set(path, "yes", -1);
        check_set(path, "True", -1);
        check_set(path, "", -1);
    } else if (key->kind == CONF_STRS) {
        check_count_bounds(path, key);
    } else if (key->kind == CONF_STR || key->kind == CONF_CONTENT) {
        check_length_bounds(path, key);
    } else {
        check_number_bounds(path, key);
    }
}

static void test_bounds_refuse(void **state UNUSED)
{
    each_leaf(check_bounds);
}

/* A secret may be anything, so nothing of it may stand in an error. */
static void check_silence(const char *path, const struct conf_key *key)
{
    if (!(key->flags & CONF_SECRET))
        return;
    char *text = filled((size_t)key->max + 1);
    check_set(path, text, -1);
    assert_null(strstr(e.text, "xx"));
    free(text);
}

static void test_errors_never_show_secrets(void **state UNUSED)
{
    each_leaf(check_silence);
}

static void expect_same(const struct conf *a, const struct conf *b)
{
    struct found f = {.path = ""};
    conf_diff(a, b, find_leaf, &f);
    assert_int_equal(f.n, 0);
    conf_diff(b, a, find_leaf, &f);
    assert_int_equal(f.n, 0);
}

static struct conf *through_bytes(const struct conf *c)
{
    struct buf bytes = {0};
    conf_encode(c, &bytes);
    struct conf *decoded = conf_decode(buf_view(&bytes), &e);
    if (!decoded)
        fail_msg("%s", e.text);
    buf_free(&bytes);
    return decoded;
}

static void check_change(const char *path, const struct conf_key *key)
{
    struct conf *old = conf_new(), *new = conf_new();
    char *text = other_text(key);
    if (set(new, path, text))
        fail_msg("%s", e.text);
    assert_true(conf_is_given(new, path));
    assert_int_equal(conf_line(new, path), 7);
    struct found f = {.path = path};
    conf_diff(old, new, find_leaf, &f);
    assert_non_null(f.text);
    char *shown = text_of(new, path);
    assert_string_equal(f.text, shown);
    assert_int_equal(f.line, 7);
    if (!strchr(path, '[')) /* a row that was added shows all its leaves */
        assert_int_equal(f.n, 1);
    struct conf *decoded = through_bytes(new);
    expect_same(new, decoded);
    conf_unref(decoded);
    free(f.text);
    free(shown);
    free(text);
    conf_unref(old);
    conf_unref(new);
}

static void test_each_change_is_found_and_travels(void **state UNUSED)
{
    each_leaf(check_change);
}

static struct conf *everything;

static void set_other(const char *path, const struct conf_key *key)
{
    char *text = other_text(key);
    assert_int_equal(set(everything, path, text), 0);
    free(text);
}

static void set_everything(void)
{
    everything = conf_new();
    everything->generation = 5;
    each_leaf(set_other);
    assert_int_equal(set(everything, "endpoints[1].path", "/echo"), 0);
    assert_int_equal(conf_set_content(everything, "endpoints[1].auth.key", STR("a\0b"),
                                      "file:/k", 9, &e),
                     0);
}

static void test_decode_gives_everything_back(void **state UNUSED)
{
    set_everything();
    struct conf *c = through_bytes(everything);
    expect_same(everything, c);
    assert_int_equal(c->generation, 5);
    assert_null(c->origins);
    assert_int_equal(c->main.endpoints.n, 2);
    assert_string_equal(c->main.endpoints.v[1].auth.key.source, "file:/k");
    assert_int_equal(c->main.endpoints.v[1].auth.key.value.n, 3);
    assert_null(c->main.endpoints.v[1].hooks.ca.value.p);
    assert_non_null(c->main.endpoints.v[1].hooks.message.p);
    conf_unref(c);
    conf_unref(everything);
}

static void test_decode_refuses_damage(void **state UNUSED)
{
    set_everything();
    struct buf bytes = {0};
    conf_encode(everything, &bytes);
    for (size_t n = 0; n < bytes.n; n++) {
        char *cut = n ? malloc(n) : NULL; /* exactly sized: an overrun is seen */
        if (n)
            memcpy(cut, bytes.p, n);
        assert_null(conf_decode((struct str){cut, n}, &e));
        free(cut);
    }
    for (size_t i = 0; i < bytes.n; i++) {
        bytes.p[i] ^= (char)0x81;
        conf_unref(conf_decode(buf_view(&bytes), &e));
        bytes.p[i] ^= (char)0x81;
    }
    bytes.p[0] ^= 1;
    assert_null(conf_decode(buf_view(&bytes), &e));
    assert_string_equal(e.text, "configuration: made by another version of heliod");
    bytes.p[0] ^= 1;
    buf_char(&bytes, 0);
    assert_null(conf_decode(buf_view(&bytes), &e));
    buf_free(&bytes);
    conf_unref(everything);
}

static void test_a_removed_row_shows_as_removed(void **state UNUSED)
{
    struct conf *two = conf_new(), *one = conf_new();
    assert_int_equal(set(two, "endpoints[0].path", "/a"), 0);
    assert_int_equal(set(two, "endpoints[1].path", "/b"), 0);
    assert_int_equal(set(one, "endpoints[0].path", "/a"), 0);
    struct found f = {.path = "endpoints[1].path", .line = -1};
    conf_diff(two, one, find_leaf, &f);
    assert_null(f.text);
    assert_int_equal(f.line, 0);
    assert_true(f.n > 10);
    conf_unref(one);
    conf_unref(two);
}

static void test_references_are_counted(void **state UNUSED)
{
    struct conf *c = conf_new();
    assert_ptr_equal(conf_ref(c), c);
    conf_unref(c);
    assert_int_equal(c->main.workers, 0);
    conf_unref(c);
    conf_unref(NULL);
}

/* The constants of conf.h and the choices of the table are one list. */

static const struct conf_key *key_at(const char *first, const char *second)
{
    const struct conf_key *key = conf_find(&conf_main_section, str_of(first), &e);
    assert_non_null(key);
    key = conf_find(key->sub, str_of(second), &e);
    assert_non_null(key);
    return key;
}

static void expect_choices(const struct conf_key *key, const char *const *names, size_t n)
{
    struct str rest = str_of(key->choices);
    for (size_t i = 0; i < n; i++)
        assert_true(str_is(str_split(rest, '|', &rest), names[i]));
    assert_null(rest.p);
}

static void test_constants_are_the_choices(void **state UNUSED)
{
    static const char *const methods[] = {[AUTH_ANONYMOUS] = "anonymous",
                                          [AUTH_STATIC] = "static",
                                          [AUTH_JWT] = "jwt",
                                          [AUTH_HOOK] = "hook",
                                          [AUTH_TICKET] = "ticket"};
    static const char *const protocols[] = {[PROTOCOL_EVENTS] = "events",
                                            [PROTOCOL_ECHO] = "echo",
                                            [PROTOCOL_SIGNALING] = "signaling",
                                            [PROTOCOL_NOTIFICATIONS] = "notifications"};
    static const char *const encryptions[] = {[ENCRYPTION_NONE] = "none",
                                              [ENCRYPTION_BUILTIN] = "builtin",
                                              [ENCRYPTION_HOOK] = "hook"};
    static const char *const inbounds[] = {
        [INBOUND_NONE] = "none", [INBOUND_REDIS] = "redis"};
    static const char *const refusals[] = {
        [REFUSALS_HTTP] = "http", [REFUSALS_CLOSE] = "close"};
    static const char *const levels[] = {[LOG_LEVEL_ERROR] = "error",
                                         [LOG_LEVEL_WARN] = "warn",
                                         [LOG_LEVEL_INFO] = "info",
                                         [LOG_LEVEL_DEBUG] = "debug"};
    const struct conf_key *auth = key_at("endpoints", "auth");
    expect_choices(conf_find(auth->sub, STR("method"), &e), methods, ARRAY_LEN(methods));
    expect_choices(key_at("endpoints", "protocol"), protocols, ARRAY_LEN(protocols));
    expect_choices(key_at("endpoints", "encryption"), encryptions,
                   ARRAY_LEN(encryptions));
    static const char *const io_urings[] = {
        [IO_URING_AUTO] = "auto", [IO_URING_ON] = "on", [IO_URING_OFF] = "off"};
    expect_choices(conf_find(&conf_main_section, STR("io_uring"), &e), io_urings,
                   ARRAY_LEN(io_urings));
    expect_choices(key_at("endpoints", "inbound"), inbounds, ARRAY_LEN(inbounds));
    expect_choices(key_at("endpoints", "refusals"), refusals, ARRAY_LEN(refusals));
    expect_choices(conf_find(&conf_main_section, STR("refusals"), &e), refusals,
                   ARRAY_LEN(refusals));
    expect_choices(key_at("log", "level"), levels, ARRAY_LEN(levels));
}

/* What texts mean */

static void test_units(void **state UNUSED)
{
    static const struct {
        const char *path, *text;
        int64_t size;
        const char *back;
    } rows[] = {
        {"redis.queue", "65536", 65536, "64KiB"},
        {"redis.queue", "65537B", 65537, "65537B"},
        {"redis.queue", "100KiB", 102400, "100KiB"},
        {"redis.queue", "3MiB", 3145728, "3MiB"},
        {"redis.queue", "1GiB", 1073741824, "1GiB"},
    };
    struct conf *c = conf_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(set(c, rows[i].path, rows[i].text), 0);
        assert_int_equal(c->main.redis.queue, rows[i].size);
        char *back = text_of(c, rows[i].path);
        assert_string_equal(back, rows[i].back);
        free(back);
    }
    static const struct {
        const char *text;
        int64_t ms;
        const char *back;
    } times[] = {{"0", 0, "0s"},        {"1500ms", 1500, "1500ms"},
                 {"90s", 90000, "90s"}, {"120s", 120000, "2m"},
                 {"0h", 0, "0s"},       {"10m", 600000, "10m"},
                 {"1ms", 1, "1ms"}};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        assert_int_equal(set(c, "shutdown_delay", times[i].text), 0);
        assert_int_equal(c->main.shutdown_delay, times[i].ms);
        char *back = text_of(c, "shutdown_delay");
        assert_string_equal(back, times[i].back);
        free(back);
    }
    assert_int_equal(set(c, "workers", "3"), 0);
    assert_int_equal(c->main.workers, 3);
    assert_int_equal(set(c, "workers", "auto"), 0);
    assert_int_equal(c->main.workers, 0);
    conf_unref(c);
}

static void test_lists_of_texts(void **state UNUSED)
{
    static const struct {
        const char *text;
        size_t n;
        const char *first, *last, *back;
    } rows[] = {
        {"", 0, NULL, NULL, ""},
        {"  ", 0, NULL, NULL, ""},
        {"a", 1, "a", "a", "a"},
        {" a ,b", 2, "a", "b", "a, b"},
        {"a b, c", 2, "a b", "c", "a b, c"},
        {"a\\,b, c", 2, "a,b", "c", "a\\,b, c"},
        {"\\ a\\ , \\\\", 2, " a ", "\\", "\\ a\\ , \\\\"},
        {"a\\", 1, "a\\", "a\\", "a\\\\"},
    };
    struct conf *c = conf_new();
    assert_int_equal(set(c, "endpoints[0].path", "/"), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(set(c, "endpoints[0].rooms.join", rows[i].text), 0);
        const struct conf_strs *l = &c->main.endpoints.v[0].rooms.join;
        assert_int_equal(l->n, rows[i].n);
        if (l->n) {
            assert_string_equal(l->v[0].p, rows[i].first);
            assert_string_equal(l->v[l->n - 1].p, rows[i].last);
        }
        char *back = text_of(c, "endpoints[0].rooms.join");
        assert_string_equal(back, rows[i].back);
        free(back);
    }
    static const char *const bad[] = {",", "a,", ",a", "a,,b", "a, ,b", "a\tb"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(set(c, "endpoints[0].rooms.join", bad[i]), -1);
    conf_unref(c);
}

static void test_elements_by_index(void **state UNUSED)
{
    struct conf *c = conf_new();
    assert_int_equal(set(c, "endpoints[0].path", "/"), 0);
    const struct conf_strs *l = &c->main.endpoints.v[0].default_rooms;
    assert_int_equal(l->n, 2);
    assert_int_equal(set(c, "endpoints[0].default_rooms[0]", "a, b"), 0);
    assert_int_equal(l->n, 1);
    assert_string_equal(l->v[0].p, "a, b");
    assert_int_equal(set(c, "endpoints[0].default_rooms[1]", "c"), 0);
    assert_int_equal(l->n, 2);
    assert_int_equal(set(c, "endpoints[0].default_rooms[3]", "d"), -1);
    assert_string_equal(e.text, "endpoints[0].default_rooms[3]: elements have to come in "
                                "order: [2] is next");
    assert_int_equal(l->n, 2);
    conf_unref(c);
}

static void test_bad_paths_change_nothing(void **state UNUSED)
{
    static const struct {
        const char *path, *text, *error;
    } rows[] = {
        {"", "1",
         ": unknown key; known here: workers, user, admin_group, run_dir, log, "
         "listeners, redis, client, limits, shutdown_delay, shutdown_timeout, "
         "retire_timeout, io_uring, watchdog, reload_timeout, allowed_origins, api_keys, "
         "inbox, refusals, docs, demos, endpoints"},
        {"wrokers", "1", "wrokers: unknown key; did you mean workers?"},
        {"auth_timeout", "1s",
         "auth_timeout: unknown key here; it belongs in endpoints[]"},
        {"log.user", "x", "log.user: unknown key here; it belongs at the top level"},
        {"endpoints[0].key_file", "x",
         "endpoints[0].key_file: unknown key here; it belongs in auth"},
        {"endpoints[0].auth.key_fil", "x",
         "endpoints[0].auth.key_fil: unknown key; did you mean key_file?"},
        {"log", "x", "log: a block of keys, not a value"},
        {"log.level.x", "info", "log.level.x: level holds no further keys"},
        {"workers[0]", "1", "workers[0]: workers holds no further keys"},
        {"endpoints", "x", "endpoints: an index such as [0] is needed"},
        {"endpoints[0]", "x", "endpoints[0]: a block of keys, not a value"},
        {"endpoints[x].path", "x", "endpoints[x].path: an index such as [0] is needed"},
        {"endpoints[0.path", "x", "endpoints[0.path: an index such as [0] is needed"},
        {"endpoints[1].path", "/x",
         "endpoints[1].path: rows have to come in order: [0] is next"},
        {"endpoints[256].path", "/x",
         "endpoints[256].path: rows have to come in order: [0] is next"},
        {"endpoints[0].auth.keys[1].kid", "k",
         "endpoints[0].auth.keys[1].kid: rows have to come in order: [0] is next"},
        {"endpoints[0].max_message", "12x",
         "endpoints[0].max_message: \"12x\" has an unknown unit: B, KiB, MiB and GiB are "
         "known"},
        {"endpoints[0].rooms.join[0]", "",
         "endpoints[0].rooms.join[0]: must not be empty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf *c = conf_new(), *fresh = conf_new();
        assert_int_equal(set(c, rows[i].path, rows[i].text), -1);
        assert_string_equal(e.text, rows[i].error);
        expect_same(c, fresh);
        conf_unref(c);
        conf_unref(fresh);
    }
}

static void test_too_many_rows(void **state UNUSED)
{
    struct conf *c = conf_new();
    char path[64];
    for (int i = 0; i < 64; i++) {
        snprintf(path, sizeof(path), "listeners[%d].address", i);
        assert_int_equal(set(c, path, "*:1"), 0);
    }
    assert_int_equal(set(c, "listeners[64].address", "*:1"), -1);
    assert_string_equal(e.text, "listeners[64].address: too many rows: the most is 64");
    conf_unref(c);
}

/* What the wrong thing is called, word for word. */
static void test_messages(void **state UNUSED)
{
    static const struct {
        const char *path, *text, *error;
    } rows[] = {
        {"limits.header", "1MiB",
         "limits.header: \"1MiB\" is too large: the most is 64KiB"},
        {"limits.header", "1", "limits.header: \"1\" is too small: the least is 1KiB"},
        {"limits.header", "x",
         "limits.header: \"x\" is not a size: a whole number with a "
         "unit, such as 64KiB or 1MiB"},
        {"watchdog", "5", "watchdog: \"5\" has no unit: ms, s, m, h or d"},
        {"watchdog", "5.5s",
         "watchdog: \"5.5s\" has an unknown unit: ms, s, m, h and d are "
         "known"},
        {"watchdog", "soon",
         "watchdog: \"soon\" is not a time: a whole number with a unit, "
         "such as 500ms or 30s"},
        {"limits.header_fields", "many",
         "limits.header_fields: \"many\" is not a whole number"},
        {"limits.header_fields", "-1",
         "limits.header_fields: \"-1\" is too small: the least is 8"},
        {"workers", "0", "workers: \"0\" is too small: the least is 1"},
        {"workers", "all", "workers: \"all\" is neither a whole number nor auto"},
        {"log.level", "wran",
         "log.level: \"wran\" is none of error, warn, info, debug; did you mean warn?"},
        {"log.level", "chatty",
         "log.level: \"chatty\" is none of error, warn, info, debug"},
        {"log.target", "", "log.target: must not be empty"},
        {"log.target", "/a\nb", "log.target: must not hold a control character"},
        {"endpoints[0].acknowledge", "no",
         "endpoints[0].acknowledge: \"no\" is neither true nor false"},
        {"log.level", "a\x1b[31m\"b",
         "log.level: \"a\\x1b[31m\"b\" is none of error, warn, info, debug"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf *c = conf_new();
        assert_int_equal(set(c, rows[i].path, rows[i].text), -1);
        assert_string_equal(e.text, rows[i].error);
        conf_unref(c);
    }
}

static void test_content_from_elsewhere(void **state UNUSED)
{
    struct conf *c = conf_new();
    assert_int_equal(conf_set_content(c, "redis.password", STR("a\0b"), "env:PW", 3, &e),
                     0);
    assert_int_equal(c->main.redis.password.value.n, 3);
    assert_string_equal(c->main.redis.password.source, "env:PW");
    assert_int_equal(set(c, "redis.password", ""), 0);
    assert_non_null(c->main.redis.password.value.p);
    assert_null(c->main.redis.password.source);
    assert_int_equal(conf_set_content(c, "redis.url", STR("x"), "env:URL", 3, &e), -1);
    assert_string_equal(e.text, "redis.url: takes no content from elsewhere");
    conf_unref(c);
}

static void test_origins(void **state UNUSED)
{
    struct conf *c = conf_new();
    assert_int_equal(conf_set(c, "endpoints[0].rooms.join[0]", STR("a"), 4, &e), 0);
    assert_int_equal(conf_set(c, "endpoints[0].path", STR("/"), 9, &e), 0);
    assert_int_equal(conf_line(c, "endpoints"), 4);
    assert_int_equal(conf_line(c, "endpoints[0]"), 4);
    assert_int_equal(conf_line(c, "endpoints[0].rooms"), 4);
    assert_int_equal(conf_line(c, "endpoints[0].path"), 9);
    assert_int_equal(conf_line(c, "endpoints[0].hooks"), 0);
    assert_false(conf_is_given(c, "endpoints[0].hooks"));
    assert_true(conf_is_given(c, "endpoints[0].rooms.join"));
    conf_unref(c);
}

static void test_an_absent_listener_becomes_the_default(void **state UNUSED)
{
    struct conf *c = conf_new();
    int line = -1;
    assert_int_equal(set(c, "endpoints[0].path", "/ws"), 0);
    assert_int_equal(conf_check(c, &line, &e), 0);
    assert_int_equal(c->main.listeners.n, 1);
    assert_string_equal(c->main.listeners.v[0].address.p, "127.0.0.1:8000");
    assert_int_equal(conf_check(c, &line, &e), 0);
    assert_int_equal(c->main.listeners.n, 1);
    conf_unref(c);
}

static void test_defaults_depend_on_the_protocol(void **state UNUSED)
{
    struct conf *c = conf_new();
    int line = -1;
    assert_int_equal(set(c, "endpoints[0].path", "/ws"), 0);
    assert_int_equal(set(c, "endpoints[1].path", "/echo"), 0);
    assert_int_equal(set(c, "endpoints[1].protocol", "echo"), 0);
    assert_int_equal(set(c, "endpoints[2].path", "/open"), 0);
    assert_int_equal(set(c, "endpoints[2].protocol", "echo"), 0);
    assert_int_equal(set(c, "endpoints[2].allowed_origins", "*"), 0);
    assert_int_equal(set(c, "endpoints[3].path", "/c/{room}/{role}"), 0);
    assert_int_equal(set(c, "endpoints[3].protocol", "signaling"), 0);
    assert_int_equal(set(c, "endpoints[4].path", "/d/{room}/{role}"), 0);
    assert_int_equal(set(c, "endpoints[4].protocol", "signaling"), 0);
    assert_int_equal(set(c, "endpoints[4].auth.method", "ticket"), 0);
    assert_int_equal(set(c, "endpoints[4].refusals", "http"), 0);
    assert_int_equal(set(c, "endpoints[5].path", "/n/"), 0);
    assert_int_equal(set(c, "endpoints[5].protocol", "notifications"), 0);
    assert_int_equal(set(c, "endpoints[5].auth.method", "ticket"), 0);
    assert_int_equal(conf_check(c, &line, &e), 0);
    static const char *const want[] = {"*", "same", "*", "same", "*", "*"};
    static const int refusals[] = {REFUSALS_HTTP,  REFUSALS_HTTP, REFUSALS_HTTP,
                                   REFUSALS_CLOSE, REFUSALS_HTTP, REFUSALS_CLOSE};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_int_equal(c->main.endpoints.v[i].allowed_origins.n, 1);
        assert_string_equal(c->main.endpoints.v[i].allowed_origins.v[0].p, want[i]);
        assert_int_equal(c->main.endpoints.v[i].refusals, refusals[i]);
    }
    conf_unref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sane),
        cmocka_unit_test(test_defaults_parse_and_format_back),
        cmocka_unit_test(test_bounds_refuse),
        cmocka_unit_test(test_errors_never_show_secrets),
        cmocka_unit_test(test_each_change_is_found_and_travels),
        cmocka_unit_test(test_decode_gives_everything_back),
        cmocka_unit_test(test_decode_refuses_damage),
        cmocka_unit_test(test_a_removed_row_shows_as_removed),
        cmocka_unit_test(test_references_are_counted),
        cmocka_unit_test(test_constants_are_the_choices),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_lists_of_texts),
        cmocka_unit_test(test_elements_by_index),
        cmocka_unit_test(test_bad_paths_change_nothing),
        cmocka_unit_test(test_too_many_rows),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_content_from_elsewhere),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_an_absent_listener_becomes_the_default),
        cmocka_unit_test(test_defaults_depend_on_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
