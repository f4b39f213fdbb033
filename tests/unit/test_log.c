// floors: common
#include "common/log.h"

#include "common/buf.h"

#include <regex.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ROOM "test"

static struct {
    struct buf line;
    unsigned n;
    enum log_level level;
} got;

static void on_line(void *ctx, enum log_level level, struct str line)
{
    assert_ptr_equal(ctx, &got);
    buf_clear(&got.line);
    buf_str(&got.line, line);
    got.level = level;
    got.n++;
    errno = 0;                                           /* as a sink may */
    log_line(LOG_LEVEL_ERROR, ROOM, "a sink that logs"); /* must not come back here */
}

static int start(void **state UNUSED)
{
    log_init("worker[0.1]", on_line, &got);
    log_set_level(LOG_LEVEL_DEBUG);
    got.n = 0;
    return 0;
}

static int stop(void **state UNUSED)
{
    buf_free(&got.line);
    log_init("test", NULL, NULL);
    return 0;
}

static void assert_line(const char *pattern)
{
    regex_t re;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&re, buf_cstr(&got.line), 0, NULL, 0) != 0)
        fail_msg("`%s` is not like `%s`", buf_cstr(&got.line), pattern);
    regfree(&re);
}

#define TIME_RE "^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-9:]{8}\\.[0-9]{3}Z "

static void a_line_has_its_parts(void **state UNUSED)
{
    log_error("first n=%d", 1);
    assert_line(TIME_RE "error worker\\[0\\.1\\] test: first n=1$");
    log_warn("second");
    assert_line(TIME_RE "warn worker\\[0\\.1\\] test: second$");
    log_info("third");
    assert_line(TIME_RE "info worker\\[0\\.1\\] test: third$");
    log_debug("fourth");
    assert_line(TIME_RE "debug worker\\[0\\.1\\] test: fourth$");
    assert_int_equal(got.level, LOG_LEVEL_DEBUG);
    assert_int_equal(got.n, 4);
}

static void errno_is_named_and_survives(void **state UNUSED)
{
    errno = ENOENT;
    log_error_errno("cannot open %s", "x");
    assert_int_equal(errno, ENOENT);
    assert_line("error .* test: cannot open x: No such file or directory$");
    errno = EPIPE;
    log_warn_errno("lost");
    assert_line("warn .* test: lost: Broken pipe$");
    log_info("nothing");
    assert_int_equal(errno, EPIPE);
}

static void lines_above_the_level_are_not_made(void **state UNUSED)
{
    static const unsigned expected[] = {1, 3, 4, 5}; /* error, 2 warn, info, debug */
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        got.n = 0;
        log_set_level((enum log_level)level);
        log_error("e");
        log_warn("w");
        log_warn_errno("w");
        log_info("i");
        log_debug("d");
        assert_int_equal(got.n, expected[level]);
    }
}

static void level_names_go_both_ways(void **state UNUSED)
{
    static const char *const bad[] = {"", "Error", "warning", "info ", "4"};
    enum log_level level;
    for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        assert_true(log_level_parse(str_of(log_level_name((enum log_level)i)), &level));
        assert_int_equal(level, i);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(log_level_parse(str_of(bad[i]), &level));
    assert_string_equal(log_level_name((enum log_level)99), "?");
}

static void control_characters_cannot_forge_a_line(void **state UNUSED)
{
    log_info("room=%s", "a\n2026-01-01 error\r\x1b[2J\t\x7f");
    assert_line(": room=a\\\\n2026-01-01 error\\\\r\\\\x1b\\[2J\\\\t\\\\x7f$");
    assert_null(memchr(got.line.p, '\n', got.line.n));
    log_info("user=%s", log_esc(STR("a\nb")));
    assert_line(": user=a\\\\nb$"); /* escaped once */
}

static void long_lines_are_cut(void **state UNUSED)
{
    static const char fill[] = {'x', '\x01'};
    static char big[20000];
    for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
        memset(big, fill[i], sizeof(big) - 1);
        log_info("%s", big);
        assert_true(got.line.n <= 8192 && got.line.n > 8000);
        errno = EPIPE;
        log_error_errno("%s", big);
        assert_true(got.line.n <= 8192 && got.line.n > 8000);
        assert_line(": Broken pipe$");
    }
}

static void escaping_values(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"plain", "plain"},
        {"", "\"\""},
        {"two words", "\"two words\""},
        {"a\nb", "a\\nb"},
        {"x\" user=y", "\"x\\\" user=y\""},
        {"\"", "\"\\\"\""},
        {"Zoë", "Zoë"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(log_esc(str_of(rows[i][0])), rows[i][1]);
    char big[1000];
    memset(big, 'b', sizeof(big));
    const char *cut = log_esc((struct str){big, sizeof(big)});
    assert_int_equal(strlen(cut), 128 + strlen("…"));
    assert_string_equal(cut + 128, "…");
}

static void eight_values_live_side_by_side(void **state UNUSED)
{
    const char *kept[8];
    for (int i = 0; i < 8; i++)
        kept[i] = log_esc((struct str){&"abcdefgh"[i], 1});
    for (int i = 0; i < 8; i++)
        assert_int_equal(kept[i][0], "abcdefgh"[i]);
}

static void bursts_are_limited_and_counted(void **state UNUSED)
{
    struct log_limit l = {0};
    unsigned swallowed = 99, permitted = 0;
    for (int i = 0; i < 10; i++) {
        permitted += log_permit(&l, 3, 1000000, &swallowed);
        assert_int_equal(swallowed, 0);
    }
    assert_int_equal(permitted, 3);
    l.window_start_ms -= 1000000; /* the window is over */
    assert_true(log_permit(&l, 3, 1000000, &swallowed));
    assert_int_equal(swallowed, 7);
    assert_true(log_permit(&l, 3, 1000000, &swallowed));
    assert_int_equal(swallowed, 0);
}

static void without_a_sink_lines_go_to_stderr(void **state UNUSED)
{
    int ends[2], saved = dup(STDERR_FILENO);
    char text[256] = {0};
    assert_int_equal(pipe(ends), 0);
    log_init("heliod", NULL, NULL);
    dup2(ends[1], STDERR_FILENO);
    log_info("hello");
    dup2(saved, STDERR_FILENO);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    assert_true(n > 30);
    assert_string_equal(text + 24, " info heliod test: hello\n");
    close(ends[0]);
    close(ends[1]);
    close(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_has_its_parts, start),
        cmocka_unit_test_setup(errno_is_named_and_survives, start),
        cmocka_unit_test_setup(lines_above_the_level_are_not_made, start),
        cmocka_unit_test_setup(level_names_go_both_ways, start),
        cmocka_unit_test_setup(control_characters_cannot_forge_a_line, start),
        cmocka_unit_test_setup(long_lines_are_cut, start),
        cmocka_unit_test_setup(escaping_values, start),
        cmocka_unit_test_setup(eight_values_live_side_by_side, start),
        cmocka_unit_test_setup(bursts_are_limited_and_counted, start),
        cmocka_unit_test_setup(without_a_sink_lines_go_to_stderr, start),
    };
    return cmocka_run_group_tests(tests, NULL, stop);
}
