// floors: supervisor
#include "supervisor/conf_yaml.h"

#include "common/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#define MINIMAL "endpoints:\n- path: /ws\n"

static struct err e;
static char dir[] = "/tmp/heliod-conf-XXXXXX";

/* A path below the test's own directory. */
static const char *in_dir(const char *name)
{
    static char path[4][256];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
    return p;
}

static void put_file(const char *name, struct str bytes)
{
    FILE *f = fopen(in_dir(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    assert_int_equal(fclose(f), 0);
}

static int make_files(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    put_file("secret", STR("hush\n"));
    put_file("crlf", STR("hush\r\n"));
    put_file("two", STR("hush\n\n"));
    put_file("binary", STR("a\0b\n"));
    put_file("nothing", STR(""));
    put_file("newline", STR("\n"));
    put_file("public.pem", STR("-----BEGIN PUBLIC KEY-----\nAAAA\n"));
    put_file("private.pem", STR("-----BEGIN PRIVATE KEY-----\nAAAA\n"));
    /* the names in the manual's examples */
    put_file("jwt.key", STR("hush"));
    put_file("hook.secret", STR("hush"));
    put_file("tokens", STR("a:sha256:00\n"));
    put_file("2025.pem", STR("-----BEGIN PUBLIC KEY-----\nAAAA\n"));
    put_file("2026.pem", STR("-----BEGIN PUBLIC KEY-----\nBBBB\n"));
    char big[513 + 2];
    memset(big, 'x', sizeof(big));
    put_file("big", (struct str){big, sizeof(big)});
    setenv("HELIOD_TEST_SECRET", "from env", 1);
    setenv("HELIOD_TEST_EMPTY", "", 1);
    unsetenv("HELIOD_TEST_UNSET");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    static const char *const names[] = {
        "secret",  "crlf",        "two",         "binary",   "nothing",
        "newline", "public.pem",  "private.pem", "big",      "heliod.yaml",
        "jwt.key", "hook.secret", "tokens",      "2025.pem", "2026.pem"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(in_dir(names[i]));
    return rmdir(dir);
}

static struct conf *good(const char *text)
{
    struct conf *c = NULL;
    if (conf_yaml_read(str_of(text), in_dir("heliod.yaml"), &c, &e))
        fail_msg("%s", e.text);
    assert_int_equal(c->refs, 1);
    assert_string_equal(c->file, in_dir("heliod.yaml"));
    return c;
}

struct row {
    const char *text, *error;
};

/* want: without the name of the file, which is "x.yaml" */
static void bad(struct str text, const char *want)
{
    struct conf *c = NULL;
    char whole[sizeof(e.text) + 16];
    if (conf_yaml_read(text, "x.yaml", &c, &e) == 0)
        fail_msg("accepted: " STR_FMT, STR_ARG(text));
    assert_null(c);
    snprintf(whole, sizeof(whole), "x.yaml%s", want);
    assert_string_equal(e.text, whole);
}

static void all_bad(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bad(str_of(rows[i].text), rows[i].error);
}
#define ALL_BAD(...)                                                                     \
    do {                                                                                 \
        static const struct row rows[] = {__VA_ARGS__};                                  \
        all_bad(rows, ARRAY_LEN(rows));                                                  \
    } while (0)

/* As issue and manual show it; only the key files are elsewhere. */
static const char reference[] =
    "workers: 2                     # or auto\n"
    "user: heliod                   # used when started as root\n"
    "run_dir: /run/heliod           # pidfile, control socket heliod.sock, managed "
    "Redis\n"
    "log: {level: info, target: stderr}     # stderr | syslog | a file's path\n"
    "listeners:\n"
    "  - {address: \"127.0.0.1:8000\"}        # [::]:8000, unix:/path too\n"
    "redis: {url: managed}          # block absent = managed\n"
    "shutdown_timeout: 10s\n"
    "endpoints:\n"
    "  - path: /ws\n"
    "    protocol: events\n"
    "    auth: {method: jwt, key_file: secret, algorithms: [HS256], user_claim: sub}\n"
    "    # auth: {method: anonymous} | {method: static, tokens_file: t} | {method: "
    "hook}\n"
    "    hooks:                     # every URL optional\n"
    "      authenticate: \"http://127.0.0.1:9000/hook\"\n"
    "      rooms: \"http://127.0.0.1:9000/hook\"\n"
    "      message: \"http://127.0.0.1:9000/hook\"\n"
    "      timeout: 5s\n"
    "      secret_file: crlf\n"
    "    auth_timeout: 5s\n"
    "    heartbeat_interval: 30s\n"
    "    heartbeat_timeout: 90s\n"
    "    default_rooms: [ws-default, ws-notification]\n"
    "    rooms: {join: [\"public-*\", \"user-{userId}\"], publish: [\"public-*\"]}\n"
    "    require_encryption: false\n"
    "    encryption: none           # none | builtin | hook\n"
    "    max_message: 128KiB\n"
    "    backpressure: 1MiB\n"
    "  - {path: /echo, protocol: echo, max_message: 16MiB}\n";

static void expect_text(struct str s, const char *want)
{
    assert_int_equal(s.n, strlen(want));
    assert_string_equal(s.p, want);
}

static void test_reference_configuration(void **state UNUSED)
{
    struct conf *c = good(reference);
    const struct conf_main *m = &c->main;
    assert_int_equal(m->workers, 2);
    expect_text(m->user, "heliod");
    assert_int_equal(m->log.level, 2);
    expect_text(m->log.target, "stderr");
    assert_int_equal(m->listeners.n, 1);
    expect_text(m->listeners.v[0].address, "127.0.0.1:8000");
    assert_int_equal(m->listeners.v[0].backlog, 4096);
    expect_text(m->redis.url, "managed");
    assert_int_equal(m->shutdown_timeout, 10000);
    assert_int_equal(m->endpoints.n, 2);
    const struct conf_endpoint *ws = &m->endpoints.v[0], *echo = &m->endpoints.v[1];
    assert_int_equal(ws->auth.method, AUTH_JWT);
    expect_text(ws->auth.key.value, "hush");
    assert_string_equal(ws->auth.key.source + strlen("file:"), in_dir("secret"));
    assert_int_equal(ws->auth.algorithms.n, 1);
    expect_text(ws->hooks.secret.value, "hush");
    expect_text(ws->hooks.message, "http://127.0.0.1:9000/hook");
    expect_text(ws->hooks.connected, "");
    assert_int_equal(ws->heartbeat_timeout, 90000);
    assert_int_equal(ws->default_rooms.n, 2);
    assert_int_equal(ws->rooms.join.n, 2);
    expect_text(ws->rooms.join.v[1], "user-{userId}");
    assert_int_equal(ws->max_message, 131072);
    assert_int_equal(echo->protocol, PROTOCOL_ECHO);
    assert_int_equal(echo->max_message, 16777216);
    assert_int_equal(conf_line(c, "endpoints[0].auth.algorithms"), 12);
    assert_int_equal(conf_line(c, "endpoints[1].path"), 29);
    conf_unref(c);
}

static void test_what_is_left_out_has_its_default(void **state UNUSED)
{
    struct conf *c = good("workers: auto\nlog:\nredis: {}\n" MINIMAL);
    assert_int_equal(c->main.workers, 0);
    expect_text(c->main.redis.url, "managed");
    expect_text(c->main.listeners.v[0].address, "127.0.0.1:8000");
    const struct conf_endpoint *p = &c->main.endpoints.v[0];
    assert_int_equal(p->protocol, PROTOCOL_EVENTS);
    assert_int_equal(p->auth.method, AUTH_ANONYMOUS);
    expect_text(p->default_rooms.v[1], "ws-notification");
    assert_null(p->hooks.secret.value.p);
    conf_unref(c);
}

static void test_forms_that_are_fine(void **state UNUSED)
{
    static const char *const rows[] = {
        MINIMAL,
        "\xef\xbb\xbf" MINIMAL,
        "---\n" MINIMAL "...\n",
        "%YAML 1.1\n---\n" MINIMAL,
        "{endpoints: [{path: /ws}]}",
        "{\"endpoints\": [{\"path\": \"/ws\", \"acknowledge\": true, \"max_rooms\": 5}]}",
        "endpoints:\r\n- path: /ws\r\n",
        "workers: \"auto\"\nwatchdog: '5s'\nlimits: {header: 2048}\n" MINIMAL,
        "user: 1000\n" MINIMAL,
        "listeners: []\n" MINIMAL,
        "listeners: [{address: '*:1'}, {address: '[::1]:2', backlog: 5},"
        " {address: 'unix:/a', mode: 0600}]\n" MINIMAL,
        "listeners: [{address: '127.0.0.1:1'}, {address: '[::]:1'}]\n" MINIMAL,
        "redis: {url: 'redis://:p@h:1/2', password_env: HELIOD_TEST_SECRET}\n" MINIMAL,
        MINIMAL "  require_encryption: true\n  encryption: none\n",
        MINIMAL "  encryption: hook\n  hooks: {handshake: 'https://h/x?y'}\n",
        MINIMAL "  auth: {method: hook}\n  hooks: {authenticate: 'http://[::1]:80'}\n",
        MINIMAL "  auth: {method: static, tokens: 'a:sha256:00'}\n",
        MINIMAL "  auth: {method: jwt, key: k, algorithms: HS256}\n",
        MINIMAL "  auth: {method: jwt, algorithms: [HS512, EdDSA],"
                " keys: [{kid: a, key: k}, {kid: b, key_file: public.pem}]}\n",
        MINIMAL
        "  allowed_origins: [https://a.example, 'https://*.b.example:8443', same]\n",
        MINIMAL "- path: /ws/\n- {path: /e, protocol: echo, allowed_origins: ['*']}\n",
        "api_keys: [{name: a, key: k}, {name: b, key: k}]\n" MINIMAL,
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        conf_unref(good(rows[i]));
}

static void test_lists(void **state UNUSED)
{
    struct conf *c =
        good(MINIMAL "  default_rooms: []\n"
                     "  rooms:\n    join: 'a, b'\n    publish:\n    - x\n    - y\n");
    const struct conf_endpoint *p = &c->main.endpoints.v[0];
    assert_int_equal(p->default_rooms.n, 0);
    assert_int_equal(p->rooms.join.n, 1); /* one value is one element, commas or not */
    expect_text(p->rooms.join.v[0], "a, b");
    assert_int_equal(p->rooms.publish.n, 2);
    conf_unref(c);
}

static void test_content_comes_from_files_and_variables(void **state UNUSED)
{
    static const struct {
        const char *line;
        struct str want;
    } rows[] = {
        {"secret: 'in line'", STR("in line")},
        {"secret: |\n      in line\n", STR("in line\n")},
        {"secret_file: secret", STR("hush")},
        {"secret_file: ./crlf", STR("hush")},
        {"secret_file: two", STR("hush\n")},
        {"secret_file: binary", STR("a\0b")},
        {"secret_env: HELIOD_TEST_SECRET", STR("from env")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        snprintf(text, sizeof(text), MINIMAL "  hooks:\n    %s\n", rows[i].line);
        struct conf *c = good(text);
        struct str got = c->main.endpoints.v[0].hooks.secret.value;
        assert_true(str_eq(got, rows[i].want));
        conf_unref(c);
    }
}

static void test_load_reads_the_file(void **state UNUSED)
{
    struct conf *c;
    char want[512];
    put_file("heliod.yaml", str_of(reference));
    assert_int_equal(conf_yaml_load(in_dir("heliod.yaml"), &c, &e), 0);
    conf_unref(c);
    assert_int_equal(conf_yaml_load(in_dir("none.yaml"), &c, &e), -1);
    snprintf(want, sizeof(want), "%s: No such file or directory", in_dir("none.yaml"));
    assert_string_equal(e.text, want);
    put_file("heliod.yaml", STR("workers: x\n"));
    assert_int_equal(conf_yaml_load(in_dir("heliod.yaml"), &c, &e), -1);
    snprintf(want, sizeof(want),
             "%s:1: workers: \"x\" is neither a whole number nor auto",
             in_dir("heliod.yaml"));
    assert_string_equal(e.text, want);
}

static void test_load_refuses_a_huge_file(void **state UNUSED)
{
    struct conf *c;
    char want[512];
    put_file("heliod.yaml", STR("# big\n"));
    assert_int_equal(truncate(in_dir("heliod.yaml"), CONF_YAML_MAX + 1), 0);
    assert_int_equal(conf_yaml_load(in_dir("heliod.yaml"), &c, &e), -1);
    snprintf(want, sizeof(want), "%s: longer than 1048576 bytes", in_dir("heliod.yaml"));
    assert_string_equal(e.text, want);
}

static void test_unreadable_content(void **state UNUSED)
{
    static const struct {
        const char *line, *want;
    } rows[] = {
        {"secret_file: none", "/none: No such file or directory"},
        {"secret_file: .", "/.: cannot read: Is a directory"},
        {"secret_file: nothing", "/nothing is empty"},
        {"secret_file: newline", "/newline is empty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256], want[512];
        struct conf *c;
        snprintf(text, sizeof(text), MINIMAL "  hooks:\n    %s\n", rows[i].line);
        snprintf(want, sizeof(want), "%s:4: endpoints[0].hooks.secret_file: %s%s",
                 in_dir("heliod.yaml"), dir, rows[i].want);
        assert_int_equal(conf_yaml_read(str_of(text), in_dir("heliod.yaml"), &c, &e), -1);
        assert_string_equal(e.text, want);
    }
    struct conf *c;
    char want[512];
    snprintf(want, sizeof(want),
             "%s:1: redis.password_file: %s/big: longer than 514 bytes",
             in_dir("heliod.yaml"), dir);
    assert_int_equal(conf_yaml_read(STR("redis: {password_file: big}\n" MINIMAL),
                                    in_dir("heliod.yaml"), &c, &e),
                     -1);
    assert_string_equal(e.text, want);
}

static void test_content_that_is_refused(void **state UNUSED)
{
    ALL_BAD(
        {MINIMAL "  hooks: {secret_env: HELIOD_TEST_UNSET}\n",
         ":3: endpoints[0].hooks.secret_env: the environment variable HELIOD_TEST_UNSET "
         "is not set"},
        {MINIMAL "  hooks: {secret_env: HELIOD_TEST_EMPTY}\n",
         ":3: endpoints[0].hooks.secret_env: the environment variable HELIOD_TEST_EMPTY "
         "is empty"},
        /* somebody put the secret itself there: it is not repeated */
        {MINIMAL "  hooks: {secret_env: 'my secret!'}\n",
         ":3: endpoints[0].hooks.secret_env: is not the name of an environment "
         "variable"},
        {MINIMAL "  hooks: {secret_file: ''}\n",
         ":3: endpoints[0].hooks.secret_file: is not the path of a file"},
        {MINIMAL "  hooks: {secret_file: \"a\\0b\"}\n",
         ":3: endpoints[0].hooks.secret_file: is not the path of a file"},
        {MINIMAL "  hooks: {secret_file: [a]}\n",
         ":3: endpoints[0].hooks.secret_file: the path of a file is expected here, not a "
         "list"},
        {MINIMAL "  hooks: {secret_env: }\n", ":3: endpoints[0].hooks.secret_env: the "
                                              "name of a variable is expected here, not "
                                              "nothing"},
        {MINIMAL "  hooks:\n    secret: a\n    secret_file: b\n",
         ":5: endpoints[0].hooks.secret_file: cannot stand beside secret, given in line "
         "4"},
        {MINIMAL "  hooks:\n    secret_env: HELIOD_TEST_SECRET\n    secret: b\n",
         ":5: endpoints[0].hooks.secret: cannot stand beside secret_env, given in line "
         "4"},
        {MINIMAL "  hooks: {timeout_file: x}\n",
         ":3: endpoints[0].hooks.timeout_file: unknown key; timeout can only be given "
         "itself"});
}

static void test_documents_that_are_none(void **state UNUSED)
{
    ALL_BAD(
        {"", ":1: nothing but comments or blanks is in it"},
        {"\n# workers: 2\n", ":1: nothing but comments or blanks is in it"},
        {"---\n", ":2: nothing is in it"}, {"null", ":1: nothing is in it"},
        {"hello", ":1: a block of keys (key: value) is expected here, not a single "
                  "value"},
        {"- a", ":1: a block of keys (key: value) is expected here, not a list"},
        {MINIMAL "---\nworkers: 2\n",
         ":3: a second document begins here; only one is supported"},
        {"%TAG ! tag:x,2000:\n---\n" MINIMAL, ":1: the %TAG directive is not supported"},
        {"{}", ": endpoints: is missing; at least one has to be given"});
    bad(STR_NONE, ":1: nothing but comments or blanks is in it");
}

static void test_yaml_that_is_not_supported(void **state UNUSED)
{
#define QUOTE(sign)                                                                      \
    " are not supported; a text that begins with " sign " has to be quoted"
    /* none of them shows what stands behind the sign: it may be a secret */
    ALL_BAD({"log: &a {level: info}\n", ":1: log: anchors" QUOTE("&")},
            {"workers: 2\nuser: *a\n", ":2: user: aliases" QUOTE("*")},
            {"redis: {password: *S3cret}\n", ":1: redis.password: aliases" QUOTE("*")},
            {"redis: {password: &S3cret}\n", ":1: redis.password: anchors" QUOTE("&")},
            {"redis:\n  password: !S3cret\n", ":2: redis.password: tags" QUOTE("!")},
            {"workers: !!int 2\n", ":1: workers: tags" QUOTE("!")},
            {"workers: ! 2\n", ":1: workers: tags" QUOTE("!")},
            {"log: !mine {level: info}\n", ":1: log: tags" QUOTE("!")},
            {"listeners: !!seq []\n", ":1: listeners: tags" QUOTE("!")},
            {"<<: {workers: 2}\n", ":1: merge keys (<<) are not supported"},
            {"? [a]\n: b\n", ":1: a key has to be a single word"},
            {"\"\": b\n", ":1: a key is missing before the colon"});
}

static void test_yaml_that_is_broken(void **state UNUSED)
{
    ALL_BAD(
        {"log:\n\tlevel: info\n",
         ":2: not YAML: found character that cannot start any token; a tab is there: "
         "indent with spaces"},
        {"listeners:\n- address: *:8000\n",
         ":2: not YAML: did not find expected alphabetic or numeric character (while "
         "scanning an alias that begins in line 2); a text that begins with *, & or ! "
         "has "
         "to be quoted"},
        {"user: @x\n",
         ":1: not YAML: found character that cannot start any token; a text "
         "that begins with @, ` or % has to be quoted"},
        {"log: {level: info\n",
         ":2: not YAML: did not find expected ',' or '}' (while parsing a flow mapping "
         "that begins in line 1)"},
        {"log: {level: info}}\n", ":1: not YAML: did not find expected key (while "
                                  "parsing a block mapping that begins in line 1)"},
        {"user: x\n  workers: 2\n",
         ":2: not YAML: mapping values are not allowed in this context"},
        {"workers\nuser: x\n",
         ":1: a block of keys (key: value) is expected here, not a single value"},
        {"user: \"x\n", ":2: not YAML: found unexpected end of stream (while scanning a "
                        "quoted scalar that begins in line 1)"},
        {"workers: 2\nuser: \xff\n",
         ":2: not readable as UTF-8: invalid leading UTF-8 octet"},
        {"workers: 2\n\nuser: \xc0\x80\n",
         ":3: not readable as UTF-8: invalid length of a UTF-8 sequence"},
        {"\xff\xfe", ":1: not readable as UTF-8: invalid leading UTF-8 octet"},
        {"user: a\x01\n", ":1: not readable as UTF-8: control characters are not "
                          "allowed"});
    bad(STR("user: a\0\n"),
        ":1: not readable as UTF-8: control characters are not allowed");
}

static void test_depth_is_bounded_by_the_table(void **state UNUSED)
{
    static char text[200000];
    memset(text, '[', sizeof(text));
    bad((struct str){text, sizeof(text)},
        ":1: a block of keys (key: value) is expected here, not a list");
    memcpy(text, "log: ", 5);
    bad((struct str){text, sizeof(text)},
        ":1: log: a block of keys is expected here, not a list");
    for (size_t i = 5; i + 1 < sizeof(text); i += 2)
        memcpy(text + i, "{?", 2);
    bad((struct str){text, sizeof(text)}, ":1: log: a key has to be a single word");
}

static void test_keys_given_twice(void **state UNUSED)
{
    ALL_BAD({"workers: 2\nuser: x\nworkers: 2\n",
             ":3: workers: is given twice; first in line 1"},
            {"log: {level: info, level: info}\n",
             ":1: log.level: is given twice; first in line 1"},
            {"log: {level: info}\nuser: x\nlog: {}\n",
             ":3: log: is given twice; first in line 1"},
            {"log:\nlog:\n", ":2: log: is given twice; first in line 1"},
            {"endpoints: []\nendpoints: []\n",
             ":2: endpoints: is given twice; first in line 1"},
            {MINIMAL "  auth:\n    key: x\n    \"key\": y\n",
             ":5: endpoints[0].auth.key: is given twice; first in line 4"},
            {MINIMAL "  auth:\n    keys:\n    - kid: x\n      kid: y\n",
             ":6: endpoints[0].auth.keys[0].kid: is given twice; first in line 5"});
}

static void test_unknown_keys(void **state UNUSED)
{
    ALL_BAD(
        {"worker: 2\n", ":1: worker: unknown key; did you mean workers?"},
        {"log: {file: x}\n", ":1: log.file: unknown key; known here: level, target"},
        {"auth: {}\n", ":1: auth: unknown key here; it belongs in endpoints[]"},
        {MINIMAL "  timeout: 5s\n",
         ":3: endpoints[0].timeout: unknown key here; it belongs in hooks"},
        {MINIMAL "  heartbeat_intervall: 5s\n",
         ":3: endpoints[0].heartbeat_intervall: unknown key; did you mean "
         "heartbeat_interval?"},
        {MINIMAL "  auth: {method: jwt, keyfile: x}\n",
         ":3: endpoints[0].auth.keyfile: unknown key; did you mean key_file?"},
        {"listeners: [{port: 1}]\n",
         ":1: listeners[0].port: unknown key; known here: address, backlog, mode"},
        {"\"a\\n\\eb\": 1\nworkers: 2\n",
         ":1: a\\n\\x1bb: unknown key; known here: workers, user, admin_group, run_dir, "
         "log, listeners, redis, client, limits, shutdown_delay, shutdown_timeout, "
         "retire_timeout, io_uring, watchdog, reload_timeout, allowed_origins, api_keys, "
         "inbox, refusals, docs, demos, endpoints"});
}

static void test_values_of_a_wrong_type(void **state UNUSED)
{
    ALL_BAD(
        {"log: info\n", ":1: log: a block of keys is expected here, not a single value"},
        {"log: [level]\n", ":1: log: a block of keys is expected here, not a list"},
        {"listeners: {address: x}\n",
         ":1: listeners: a list of blocks (each begins with -) is "
         "expected here, not a block of keys"},
        {"listeners: '*:1'\n", ":1: listeners: a list of blocks (each begins with -) is "
                               "expected here, not a single value"},
        {"listeners:\n",
         ":1: listeners: a list of blocks (each begins with -) is expected "
         "here, not nothing"},
        {"listeners: ['*:1']\n",
         ":1: listeners[0]: a block of keys is expected here, not a single value"},
        {"endpoints:\n- path: /\n-\n",
         ":3: endpoints[1]: a block of keys is expected here, not nothing"},
        {"endpoints: [{}]\n", ":1: endpoints[0]: is empty; it needs at least path"},
        {"workers: [2]\n",
         ":1: workers: a whole number or auto is expected here, not a list"},
        {"watchdog: {s: 5}\n",
         ":1: watchdog: a time such as 30s is expected here, not a block of keys"},
        {"user:\n", ":1: user: has no value; a text is expected"},
        {"user: ~\n", ":1: user: has no value; a text is expected"},
        {"log: {level: null}\n",
         ":1: log.level: has no value; one of error|warn|info|debug is expected"},
        {"limits: {connections: \"5\"}\n",
         ":1: limits.connections: a whole number is expected, without quotes"},
        {MINIMAL "  acknowledge: 'true'\n",
         ":3: endpoints[0].acknowledge: true or false is expected, without quotes"},
        {MINIMAL "  acknowledge: yes\n",
         ":3: endpoints[0].acknowledge: \"yes\" is neither true nor false"},
        {MINIMAL "  default_rooms: {a: b}\n", ":3: endpoints[0].default_rooms: a list of "
                                              "texts is expected here, not a block of "
                                              "keys"},
        {MINIMAL "  default_rooms: [a, [b]]\n",
         ":3: endpoints[0].default_rooms[1]: a text is expected here, not a list"},
        {MINIMAL "  default_rooms: [a, ]\n  rooms: {join: [~]}\n",
         ":4: endpoints[0].rooms.join[0]: a text is expected here, not nothing"},
        {MINIMAL "  default_rooms:\n",
         ":3: endpoints[0].default_rooms: has no value; a list of texts is expected"},
        {MINIMAL "  auth: {key: {file: x}}\n",
         ":3: endpoints[0].auth.key: a text is expected here, not a block of keys"});
}

static void test_values_out_of_range(void **state UNUSED)
{
    ALL_BAD(
        {"workers: 257\n", ":1: workers: \"257\" is too large: the most is 256"},
        {"user: x\nwatchdog: 999ms\n",
         ":2: watchdog: \"999ms\" is too small: the least is 1s"},
        {MINIMAL "  max_message: 2GiB\n",
         ":3: endpoints[0].max_message: \"2GiB\" is too large: the most is 1GiB"},
        {MINIMAL "  max_message: 1MB\n",
         ":3: endpoints[0].max_message: \"1MB\" has an unknown unit: B, KiB, MiB and GiB "
         "are known"},
        {MINIMAL "  rooms: {join: ['']}\n",
         ":3: endpoints[0].rooms.join[0]: must not be empty"},
        {"api_keys: [{name: a, key: ''}]\n", ":1: api_keys[0].key: must not be empty"},
        {"user: abcdefghijabcdefghijabcdefghijabc\n",
         ":1: user: 33 bytes are too many: the most is 32"},
        {"user: \"a\\nb\"\n", ":1: user: must not hold a control character"});
}

static void test_rules_of_the_whole(void **state UNUSED)
{
    ALL_BAD(
        {"workers: 2\n", ": endpoints: is missing; at least one has to be given"},
        {"workers: 2\nendpoints: []\n",
         ": endpoints: is missing; at least one has to be given"},
        {"run_dir: run\n" MINIMAL, ":1: run_dir: \"run\" is not an absolute path"},
        {"run_dir: "
         "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaa\n" MINIMAL,
         ":1: run_dir: 94 bytes are too many: the addresses of the sockets in it would "
         "be "
         "longer than a Unix address may be; the most is 90"},
        {"log: {target: sterr}\n" MINIMAL,
         ":1: log.target: \"sterr\" is neither stderr, syslog nor an absolute path"},
        {"redis: {url: ''}\n" MINIMAL,
         ":1: redis.url: Invalid redis connection! redis.url is empty"},
        {"redis:\n  url: redis://:s3cret@h:x\n" MINIMAL,
         ":2: redis.url: Invalid redis connection! the port must be a number from 1 to "
         "65535"},
        {"redis:\n  prefix: x\n  password: y\n" MINIMAL,
         ":3: redis.password: the managed Redis takes none; it is for a redis.url of "
         "your "
         "own"},
        {"client: {ping_after: 60s}\n" MINIMAL,
         ":1: client.ping_after: client.ping_after (60000ms) has to be shorter than "
         "client.idle_timeout (60000ms), or no ping is ever sent"},
        {"client: {idle_timeout: 1s}\n" MINIMAL,
         ":1: client.idle_timeout: client.ping_after (44000ms) has to be shorter than "
         "client.idle_timeout (1000ms), or no ping is ever sent"},
        {"api_keys:\n- {name: a, key: b}\n- {name: a, key: c}\n" MINIMAL,
         ":3: api_keys[1].name: \"a\" is taken by the key in line 2"},
        {"api_keys: [{name: a}]\n" MINIMAL,
         ":1: api_keys[0].key: is missing; it has to be given"});
}

static void test_rules_of_listeners(void **state UNUSED)
{
#define LISTEN(rest) "listeners:\n- " rest "\n" MINIMAL
    ALL_BAD(
        {LISTEN("backlog: 5"),
         ":2: listeners[0].address: is missing; it has to be given"},
        {LISTEN("address: '8000'"),
         ":2: listeners[0].address: \"8000\" is not an address: host:port, [ipv6]:port, "
         "*:port or unix:/path"},
        {LISTEN("address: '::1:8000'"), ":2: listeners[0].address: \"::1:8000\" is not "
                                        "an address: host:port, [ipv6]:port, "
                                        "*:port or unix:/path"},
        {LISTEN("address: '[127.0.0.1]:1'"),
         ":2: listeners[0].address: \"[127.0.0.1]:1\" is not an address: host:port, "
         "[ipv6]:port, *:port or unix:/path"},
        {LISTEN("address: '[::1]8000'"),
         ":2: listeners[0].address: \"[::1]8000\" is not an address: host:port, "
         "[ipv6]:port, *:port or unix:/path"},
        {LISTEN("address: localhost:8000"),
         ":2: listeners[0].address: \"localhost:8000\" has no numeric host: 127.0.0.1, "
         "[::1] "
         "or * for all addresses"},
        {LISTEN("address: ':8000'"), ":2: listeners[0].address: \":8000\" has no numeric "
                                     "host: 127.0.0.1, [::1] or * for "
                                     "all addresses"},
        {LISTEN("address: '*:0'"),
         ":2: listeners[0].address: \"*:0\" has no proper port: 1 to 65535"},
        {LISTEN("address: '*:65536'"),
         ":2: listeners[0].address: \"*:65536\" has no proper port: 1 to 65535"},
        {LISTEN("address: 'unix:a'"), ":2: listeners[0].address: \"unix:a\": a Unix "
                                      "address is unix: and an absolute path"},
        {LISTEN("address: 'unix:/run/heliod/heliod.sock'"),
         ":2: listeners[0].address: \"/run/heliod/heliod.sock\" is heliod's control "
         "socket"},
        {LISTEN("{address: 'unix:/a', mode: 0888}"),
         ":2: listeners[0].mode: \"0888\" is not octal, such as 0660"},
        {LISTEN("{address: 'unix:/a', mode: 4755}"),
         ":2: listeners[0].mode: \"4755\" has more than permission bits"},
        {LISTEN("{address: '*:1', mode: 0600}"),
         ":2: listeners[0].mode: is for unix: addresses only"},
        {LISTEN("address: '1.1.1.1:1'\n- address: '1.1.1.1:1'"),
         ":3: listeners[1].address: \"1.1.1.1:1\" is already listened on, as given in "
         "line "
         "2"},
        {LISTEN("address: '[::1]:1'\n- address: '[0::1]:1'"),
         ":3: listeners[1].address: \"[0::1]:1\" is already listened on, as given in "
         "line 2"},
        {LISTEN("address: '*:1'\n- address: '[::]:1'"),
         ":3: listeners[1].address: \"[::]:1\" is already listened on, as given in line "
         "2"},
        {LISTEN("address: '0.0.0.0:1'\n- address: '*:1'"),
         ":3: listeners[1].address: \"*:1\" is already listened on, as given in line 2"},
        {LISTEN("address: unix:/a\n- address: unix:/a"),
         ":3: listeners[1].address: \"unix:/a\" is already listened on, as given in line "
         "2"});
}

#define CALL(path, more) "endpoints:\n- {path: " path ", protocol: signaling" more "}\n"
#define ICE(more) CALL("'/c/{room}/{role}'", ", ice_servers: [{" more "}]")
#define BELL                                                                             \
    "endpoints:\n- {path: /n/, protocol: notifications, auth: {method: ticket}}\n"

static void test_rules_of_endpoints(void **state UNUSED)
{
    ALL_BAD(
        {"endpoints:\n- protocol: echo\n",
         ":2: endpoints[0].path: is missing; it has to be given"},
        {"endpoints: [{path: ws}]\n",
         ":1: endpoints[0].path: \"ws\" does not begin with /"},
        {"endpoints: [{path: /ws?a}]\n",
         ":1: endpoints[0].path: \"/ws?a\" is not the path of a URL: a blank, ?, # or a "
         "character that has to be percent-encoded is in it"},
        {"endpoints: [{path: /ready}]\n",
         ":1: endpoints[0].path: \"/ready\" is one of heliod's own pages"},
        {"endpoints: [{path: /heliod.js}]\n",
         ":1: endpoints[0].path: \"/heliod.js\" is one of heliod's own pages"},
        {"endpoints: [{path: /demos/mine}]\n",
         ":1: endpoints[0].path: \"/demos/mine\" is one of heliod's own pages"},
        {MINIMAL "- path: /echo\n- path: /ws\n",
         ":4: endpoints[2].path: \"/ws\" is taken by the endpoint in line 2"},
        {MINIMAL "  protocol: echo\n  auth: {method: anonymous}\n",
         ":4: endpoints[0].auth: is for protocol: events, but the protocol is echo"},
        {MINIMAL "  grace: 1s\n",
         ":3: endpoints[0].grace: is for protocol: signaling, but the protocol is "
         "events"},
        {MINIMAL "  ice_servers: [{urls: [stun:a]}]\n",
         ":3: endpoints[0].ice_servers: is for protocol: signaling, but the protocol is "
         "events"},
        {MINIMAL "  backlog: 1\n",
         ":3: endpoints[0].backlog: is for protocol: notifications, but the protocol is "
         "events"},
        {"endpoints: [{path: '/c/{room}'}]\n",
         ":1: endpoints[0].path: \"/c/{room}\": {room} and {role}, each a whole "
         "segment, are the only placeholders, and for protocol: signaling only"},
        {CALL("'/c/{room}/x{role}'", ""),
         ":2: endpoints[0].path: \"/c/{room}/x{role}\": {room} and {role}, each a whole "
         "segment, are the only placeholders, and for protocol: signaling only"},
        {CALL("'/c/{room}/x'", ""),
         ":2: endpoints[0].path: \"/c/{room}/x\" must have the segments {room} and "
         "{role}, each once, as in /ws/signaling/{room}/{role}"},
        {CALL("'/c/{room}/{role}'",
              "") "- {path: '/c/{role}/{room}', protocol: signaling}\n",
         ":3: endpoints[1].path: \"/c/{role}/{room}\" is taken by the endpoint in line "
         "2"},
        {BELL "- path: /n\n",
         ":3: endpoints[1].path: \"/n\" is taken by the endpoint in line 2"},
        {CALL("'/c/{room}/{role}'", ", roles: [a b]"),
         ":2: endpoints[0].roles[0]: \"a b\" is no role: 1 to 128 of A-Z a-z 0-9 . _ ~ "
         "-"},
        {CALL("'/c/{room}/{role}'", ", roles: [a, a]"),
         ":2: endpoints[0].roles[1]: \"a\" stands there twice"},
        {CALL("'/c/{room}/{role}'", ", auth: {method: hook}"),
         ":2: endpoints[0].auth.method: hook is for protocol: events only"},
        {ICE("urls: [http://a]"),
         ":2: endpoints[0].ice_servers[0].urls[0]: \"http://a\" is not a stun:, stuns:, "
         "turn: or turns: URL"},
        {ICE("urls: [stun://a]"),
         ":2: endpoints[0].ice_servers[0].urls[0]: \"stun://a\" is not a stun:, stuns:, "
         "turn: or turns: URL"},
        {ICE("urls: [turn:a]"),
         ":2: endpoints[0].ice_servers[0]: has a turn: URL, which needs secret, or "
         "username and credential"},
        {ICE("urls: [turn:a], username: u"),
         ":2: endpoints[0].ice_servers[0]: has only one of username and credential"},
        {ICE("urls: [turn:a], secret: s, username: u"),
         ":2: endpoints[0].ice_servers[0].secret: and a fixed username or credential "
         "exclude each other"},
        {ICE("ttl: 1h"),
         ":2: endpoints[0].ice_servers[0].urls: is missing; it has to be given"},
        {"endpoints: [{path: /n, protocol: notifications}]\n",
         ":1: endpoints[0].auth.method: anonymous gives no user to notify; use jwt, "
         "static or ticket"},
        {MINIMAL "  auth: {method: ticket}\n",
         ":3: endpoints[0].auth.method: ticket is for signaling and notifications, whose "
         "token comes in the URL"},
        {"redis: {url: 'redis://h', persist: /d}\n" MINIMAL,
         ":1: redis.persist: is for redis.url: managed; another server has its own "
         "configuration"},
        {MINIMAL "  allowed_origins: [https://a/b]\n",
         ":3: endpoints[0].allowed_origins[0]: \"https://a/b\" is not an origin: "
         "https://host[:port] without a path, https://*.example.com, same, or *"},
        {MINIMAL "  allowed_origins: ['*', a.example]\n",
         ":3: endpoints[0].allowed_origins[1]: \"a.example\" is not an origin: "
         "https://host[:port] without a path, https://*.example.com, same, or *"},
        {MINIMAL "  default_rooms: ['ws:x']\n",
         ":3: endpoints[0].default_rooms[0]: \"ws:x\" is no room name: at most 256 "
         "bytes, not "
         "beginning with ws:"},
        {MINIMAL "  max_rooms: 2\n", ":3: endpoints[0].max_rooms: 2 is too small: the "
                                     "default rooms and the client's own "
                                     "are 3"},
        {MINIMAL "  rooms: {join: ['a-{userid}']}\n",
         ":3: endpoints[0].rooms.join[0]: \"a-{userid}\": {userId} is the only "
         "placeholder"},
        {MINIMAL "  encryption: hook\n", ":2: endpoints[0].hooks.handshake: is missing; "
                                         "encryption: hook asks that URL for "
                                         "the session key"});
}

static void test_rules_of_authentication(void **state UNUSED)
{
#define AUTH(rest) MINIMAL "  auth:\n    " rest "\n"
    ALL_BAD(
        {AUTH("algorithms: [HS256]"),
         ":4: endpoints[0].auth.algorithms: is for method: jwt, "
         "but the method is anonymous"},
        {AUTH("{method: jwt, key: k, tokens: t}"),
         ":4: endpoints[0].auth.tokens: is for method: static, but the method is jwt"},
        {AUTH("method: static"),
         ":4: endpoints[0].auth.tokens: is missing; method: static "
         "needs tokens_file or tokens"},
        {AUTH("method: hook"),
         ":2: endpoints[0].hooks.authenticate: is missing; auth.method: "
         "hook asks that URL"},
        {AUTH("{method: jwt, algorithms: [HS256]}"),
         ":4: endpoints[0].auth.key: is missing; method: jwt needs key, key_file or "
         "keys"},
        {AUTH("{method: jwt, key: '', algorithms: [HS256]}"),
         ":4: endpoints[0].auth.key: is missing; method: jwt needs key, key_file or "
         "keys"},
        {AUTH("{method: jwt, key: k}"), ":4: endpoints[0].auth.algorithms: is missing; "
                                        "method: jwt needs at least one, such "
                                        "as [HS256]"},
        {AUTH("{method: jwt, key: k, algorithms: [HS256, none]}"),
         ":4: endpoints[0].auth.algorithms[1]: unsigned tokens are never accepted"},
        {AUTH("{method: jwt, key: k, algorithms: [hs256]}"),
         ":4: endpoints[0].auth.algorithms[0]: \"hs256\" is unknown; known are HS256, "
         "HS384, "
         "HS512, the same of RS, PS and ES, and EdDSA"},
        {AUTH("{method: jwt, key: k, algorithms: [HS256, HS256]}"),
         ":4: endpoints[0].auth.algorithms[1]: \"HS256\" stands there twice"},
        {AUTH("{method: jwt, key: k, algorithms: [HS256, RS256]}"),
         ":4: endpoints[0].auth.algorithms: no key is a PEM key, which all but the HS… "
         "algorithms need"},
        {AUTH("{method: jwt, key: '-----BEGIN PUBLIC KEY-----', algorithms: [ES256, "
              "HS256]}"),
         ":4: endpoints[0].auth.algorithms: no key is a shared secret, which HS… "
         "algorithms "
         "need"},
        {AUTH("{method: jwt, key: k, algorithms: [RS256]}"),
         ":4: endpoints[0].auth.key: is not a PEM key, which all accepted algorithms "
         "need "
         "(-----BEGIN PUBLIC KEY-----)"},
        {AUTH("{method: jwt, key: '-----BEGIN PUBLIC KEY-----', algorithms: [HS256]}"),
         ":4: endpoints[0].auth.key: is a PEM key, but all accepted algorithms (HS…) "
         "take a "
         "shared secret"},
        {AUTH(
             "{method: jwt, key: '-----BEGIN EC PRIVATE KEY-----', algorithms: [ES256]}"),
         ":4: endpoints[0].auth.key: is a private key; tokens are verified with the "
         "public "
         "one"},
        {AUTH("{method: jwt, algorithms: [HS256], keys: [{kid: a}]}"),
         ":4: endpoints[0].auth.keys[0].key: is missing; it has to be given"},
        {AUTH("method: jwt\n    algorithms: [HS256]\n    keys:\n    - {kid: a, key: k}\n"
              "    - {kid: a, key: l}"),
         ":8: endpoints[0].auth.keys[1].kid: \"a\" is taken by the key in line 7"});
}

static void test_rules_of_urls(void **state UNUSED)
{
#define URL(url) MINIMAL "  hooks: {message: '" url "'}\n"
#define AT ":3: endpoints[0].hooks.message: "
    ALL_BAD(
        {URL("ftp://h/"), AT "is not an http:// or https:// URL"},
        {URL("127.0.0.1:9000"), AT "is not an http:// or https:// URL"},
        {URL("http://u:p@h/"), AT "must not hold a user or password; hooks are signed "
                                  "(secret)"},
        {URL("https://h/#x"), AT "must not hold a fragment (#…)"},
        {URL("http://"), AT "is not a URL: host, port or a character in it is wrong"},
        {URL("http://h:0/"), AT "is not a URL: host, port or a character in it is wrong"},
        {URL("http://h/a b"),
         AT "is not a URL: host, port or a character in it is wrong"},
        {URL("http://é/"), AT "is not a URL: host, port or a character in it is wrong"});
}

/* What is written about the format has to be true. */

static void read_ours(const char *name, struct buf *out)
{
    struct buf path = {0};
    const char *here = strstr(__FILE__, "tests/unit/");
    buf_put(&path, __FILE__, (size_t)(here - __FILE__));
    buf_str(&path, str_of(name));
    if (fd_read_file(buf_cstr(&path), CONF_YAML_MAX, out, &e))
        fail_msg("%s", e.text);
    buf_free(&path);
}

static void test_the_sample_file(void **state UNUSED)
{
    struct buf text = {0};
    struct conf *c;
    read_ours("etc/heliod.yaml", &text);
    if (conf_yaml_read(buf_view(&text), "etc/heliod.yaml", &c, &e))
        fail_msg("%s", e.text);
    expect_text(c->main.listeners.v[0].address, "127.0.0.1:8000");
    assert_int_equal(c->main.endpoints.n, 2);
    expect_text(c->main.endpoints.v[0].path, "/ws");
    assert_int_equal(c->main.endpoints.v[0].auth.method, AUTH_ANONYMOUS);
    assert_int_equal(c->main.endpoints.v[1].protocol, PROTOCOL_ECHO);
    conf_unref(c);
    buf_free(&text);
}

/* Files of the examples lie in the test's directory, under their last name. */
static void localize(struct str text, struct buf *out)
{
    static const char *const away[] = {"/etc/heliod/", "keys/"};
    for (size_t i = 0; i < text.n; i++) {
        size_t skip = 0;
        for (size_t k = 0; k < ARRAY_LEN(away); k++)
            if (str_starts((struct str){text.p + i, text.n - i}, str_of(away[k])))
                skip = strlen(away[k]);
        i += skip;
        buf_char(out, text.p[i]);
    }
}

static void check_example(struct str text)
{
    struct buf local = {0};
    struct conf *c;
    localize(text, &local);
    if (conf_yaml_read(buf_view(&local), in_dir("heliod.yaml"), &c, &e))
        fail_msg("%s\n" STR_FMT, e.text, STR_ARG(text));
    conf_unref(c);
    buf_free(&local);
}

static void test_the_examples_of_the_manual(void **state UNUSED)
{
    static const struct str begin = STR(".Bd -literal -offset indent\n"),
                            end = STR(".Ed\n");
    struct buf page = {0};
    unsigned examples = 0;
    read_ours("man/heliod.yaml.5", &page);
    setenv("REDIS_PASSWORD", "x", 1);
    for (char *p = (char *)buf_cstr(&page); (p = strstr(p, begin.p));) {
        char *text = p + begin.n;
        p = strstr(text, end.p);
        assert_non_null(p);
        *p++ = '\0';
        if (!strstr(text, "endpoints:"))
            continue;
        check_example(str_of(text));
        examples++;
    }
    assert_int_equal(examples, 4);
    buf_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_configuration),
        cmocka_unit_test(test_what_is_left_out_has_its_default),
        cmocka_unit_test(test_forms_that_are_fine),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_content_comes_from_files_and_variables),
        cmocka_unit_test(test_load_reads_the_file),
        cmocka_unit_test(test_load_refuses_a_huge_file),
        cmocka_unit_test(test_unreadable_content),
        cmocka_unit_test(test_content_that_is_refused),
        cmocka_unit_test(test_documents_that_are_none),
        cmocka_unit_test(test_yaml_that_is_not_supported),
        cmocka_unit_test(test_yaml_that_is_broken),
        cmocka_unit_test(test_depth_is_bounded_by_the_table),
        cmocka_unit_test(test_keys_given_twice),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_values_of_a_wrong_type),
        cmocka_unit_test(test_values_out_of_range),
        cmocka_unit_test(test_rules_of_the_whole),
        cmocka_unit_test(test_rules_of_listeners),
        cmocka_unit_test(test_rules_of_endpoints),
        cmocka_unit_test(test_rules_of_authentication),
        cmocka_unit_test(test_rules_of_urls),
        cmocka_unit_test(test_the_sample_file),
        cmocka_unit_test(test_the_examples_of_the_manual),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
