// floors: ctl
#include "supervisor/ctl/show.h"

#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/top.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* All the rows shown; freed by the caller. */
static char *show(const struct show *how, bool json, uint64_t limit,
                  const char *const *rows)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    struct shown s;

    show_init(&s, how, out, json, limit);
    for (; *rows; rows++)
        show_row(&s, str_of(*rows));
    show_finish(&s);
    show_fini(&s);
    fclose(out);
    return text;
}

static void expect(const struct show *how, bool json, uint64_t limit,
                   const char *const *rows, const char *wanted)
{
    char *text = show(how, json, limit, rows);

    assert_string_equal(text, wanted);
    free(text);
}

static void shows_a_card(void **state)
{
    const char *rows[] = {
        "{\"version\":\"1\",\"pid\":7,\"uptime_ms\":61000,\"generation\":2,"
        "\"config\":\"/e\",\"run_dir\":\"/r\",\"redis\":\"managed\","
        "\"bus\":\"up\",\"workers\":2,\"running\":1,\"connections\":10,"
        "\"websockets\":9,\"listeners\":[\"127.0.0.1:8000\",\"unix:/x\"]}",
        NULL};

    (void)state;
    expect(&show_status, false, 0, rows,
           "version        1\n"
           "pid            7\n"
           "up             1m1s\n"
           "generation     2\n"
           "configuration  /e\n"
           "run directory  /r\n"
           "listeners      127.0.0.1:8000, unix:/x\n"
           "redis          managed\n"
           "bus            up\n"
           "workers        2\n"
           "running        1\n"
           "connections    10\n"
           "websockets     9\n");
}

static void shows_a_list(void **state)
{
    const char *rows[] = {
        "{\"key\":\"a.b\",\"value\":\"x\",\"default\":\"\",\"line\":3,\"flags\":"
        "\"live\"}",
        "{\"key\":\"c\",\"value\":\"h\\u00e9\\u6c34\",\"default\":\"y\",\"line\":12}",
        "{\"key\":\"evil\\u001b[2J\\n\",\"value\":true,\"default\":null,\"line\":0}",
        NULL};

    (void)state;
    expect(&show_config, false, 0, rows,
           "KEY            VALUE  DEFAULT  LINE  FLAGS\n"
           "a.b            x      -           3  live\n"
           "c              hé水   y          12  -\n"
           "evil\\x1b[2J\\n  yes    -           0  -\n");
    expect(&show_config, false, 1, rows,
           "KEY  VALUE  DEFAULT  LINE  FLAGS\n"
           "a.b  x      -           3  live\n");
    expect(&show_config, false, 0, rows + 3, "KEY  VALUE  DEFAULT  LINE  FLAGS\n");
}

static void shows_json_as_it_came(void **state)
{
    const char *rows[] = {"{\"id\":\"a\",\n \"user\":\"\\u001b\"}",
                          "{\"user\":\"\xc2\x9b"
                          "2J \xe2\x80\xae \x7f \xc3\xa9 \xf0\x9f\x99\x82\"}",
                          "not json", NULL};

    (void)state;
    expect(&show_connections, true, 0, rows,
           "{\"id\":\"a\",  \"user\":\"\\u001b\"}\n"
           "{\"user\":\"\\u009b2J \\u202e \\u007f \xc3\xa9 \xf0\x9f\x99\x82\"}\n"
           "null\n");
    expect(&show_connections, true, 1, rows, "{\"id\":\"a\",  \"user\":\"\\u001b\"}\n");
}

static const char *const room_rows[] = {
    "{\"room\":\"few\",\"members\":1,\"slot\":0}",
    "{\"room\":\"few\",\"members\":1,\"slot\":0,\"endpoint\":\"/call\"}",
    "{\"room\":\"many\",\"members\":3,\"slot\":0}",
    "{\"room\":\"b\\u0000d\",\"members\":1,\"slot\":2}",
    "{\"room\":\"many\",\"members\":4,\"slot\":2}",
    "{\"room\":\"b\\u0000d\",\"members\":1,\"slot\":2}",
    NULL,
};

static void sums_over_slots(void **state)
{
    (void)state;
    expect(&show_rooms, false, 0, room_rows,
           "ROOM    MEMBERS  SLOTS  ENDPOINT\n"
           "many          7  0, 2   -\n"
           "b\\x00d        2  2      -\n"
           "few           1  0      -\n"
           "few           1  0      /call\n");
    expect(&show_rooms, false, 1, room_rows,
           "ROOM  MEMBERS  SLOTS  ENDPOINT\n"
           "many        7  0, 2   -\n");
    expect(&show_rooms, true, 9, room_rows,
           "{\"room\":\"many\",\"members\":7,\"slots\":[0, 2]}\n"
           "{\"room\":\"b\\u0000d\",\"members\":2,\"slots\":[2]}\n"
           "{\"room\":\"few\",\"members\":1,\"slots\":[0]}\n"
           "{\"room\":\"few\",\"members\":1,\"slots\":[0],\"endpoint\":\"/call\"}\n");
}

static void survives_odd_rows(void **state)
{
    const char *rows[] = {"[]",
                          "null",
                          "7",
                          "{",
                          "{\"room\":7,\"slot\":-1}",
                          "{\"room\":\"x\",\"slot\":100000}",
                          NULL};

    (void)state;
    free(show(&show_rooms, false, 0, rows));
    free(show(&show_connections, false, 0, rows));
    free(show(&show_status, false, 0, rows));
}

static void cuts_long_cells(void **state)
{
    char row[1200] = "{\"key\":\"", *text;
    const char *rows[] = {row, NULL};

    (void)state;
    memset(row + strlen(row), 'k', 1000);
    strcat(row, "\"}");
    text = show(&show_config, false, 0, rows);
    assert_true(strlen(text) < 500);
    assert_non_null(strstr(text, "kkk…"));
    free(text);
}

static void ends_with_a_sentence(void **state)
{
    static const struct {
        const struct show *show;
        bool json;
        const char *text;
    } vectors[] = {
        {&show_kicked, false, "connections closed: 3\n"},
        {&show_kicked, true, "{\"ok\":true,\"closed\":3}\n"},
        {&show_reloaded, false, "ok, generation 3\n"},
        {&show_reloaded, true, "{\"ok\":true,\"generation\":3}\n"},
        {&show_sent, false, "sent\n"},
        {&show_sent, true, "{\"ok\":true}\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char *text;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        show_done(vectors[i].show, out, vectors[i].json, 3);
        fclose(out);
        assert_string_equal(text, vectors[i].text);
        free(text);
    }
}

static void tells_durations(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } vectors[] = {
        {0, "0.0s"},          {1550, "1.5s"},     {9999, "9.9s"},      {10000, "10s"},
        {59999, "59s"},       {60000, "1m0s"},    {3599999, "59m59s"}, {3600000, "1h0m"},
        {86399999, "23h59m"}, {86400000, "1d0h"}, {90061000, "1d1h"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct buf b = {0};
        show_duration(&b, vectors[i].ms);
        assert_string_equal(buf_cstr(&b), vectors[i].text);
        buf_free(&b);
    }
}

static void tells_rates(void **state)
{
    static const struct {
        double rate;
        const char *text;
    } vectors[] = {
        {-1, "-"},       {0, "0"},          {0.4, "0"},         {999, "999"},
        {999.6, "1.0k"}, {1500, "1.5k"},    {999949, "999.9k"}, {999960, "1.0M"},
        {2.5e9, "2.5G"}, {1e15, "1000.0T"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct buf b = {0};
        top_format(&b, vectors[i].rate);
        assert_string_equal(buf_cstr(&b), vectors[i].text);
        buf_free(&b);
    }
}

static void computes_rates(void **state)
{
    static struct top_sample before, now;

    (void)state;
    top_add_counter(&before, STR("{\"name\":\"messages_in\",\"slots\":[100,0]}"));
    top_add_counter(&now, STR("{\"name\":\"messages_in\",\"slots\":[300,5]}"));
    top_add_counter(&now, STR("{\"name\":\"unknown\",\"slots\":[1]}"));
    top_add_worker(&now,
                   STR("{\"slot\":1,\"worker\":4,\"pid\":9,\"state\":\"running\"}"));
    now.at_us = 3000000;
    assert_true(top_rate(&before, &now, 0, TOP_MESSAGES_IN) < 0); /* nothing before */
    before.at_us = 1000000;
    assert_true(top_rate(&before, &now, 0, TOP_MESSAGES_IN) == 100);
    assert_true(top_rate(&before, &now, 1, TOP_MESSAGES_IN) == 2.5);
    assert_true(top_rate(&before, &now, TOP_SLOTS, TOP_MESSAGES_IN) < 0);
    before.counts[0][TOP_MESSAGES_IN] = 301; /* another broker counts from 0 */
    assert_true(top_rate(&before, &now, 0, TOP_MESSAGES_IN) < 0);
    assert_int_equal(now.seats_n, 1);
    assert_int_equal(now.seats[0].worker, 4);
    assert_string_equal(now.seats[0].state, "running");
}

static void measures_width(void **state)
{
    (void)state;
    assert_int_equal(table_width(STR("abc")), 3);
    assert_int_equal(table_width(STR("é水")), 3);
    assert_int_equal(table_width(STR("e\xcc\x81")), 1); /* combining */
    assert_int_equal(table_width(STR("\xff\xff")), 2);
}

static int with_utf8(void **state)
{
    (void)state;
    return setlocale(LC_CTYPE, "C.UTF-8") ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_a_card),          cmocka_unit_test(shows_a_list),
        cmocka_unit_test(shows_json_as_it_came), cmocka_unit_test(sums_over_slots),
        cmocka_unit_test(survives_odd_rows),     cmocka_unit_test(cuts_long_cells),
        cmocka_unit_test(ends_with_a_sentence),  cmocka_unit_test(tells_durations),
        cmocka_unit_test(tells_rates),           cmocka_unit_test(computes_rates),
        cmocka_unit_test(measures_width),
    };
    return cmocka_run_group_tests(tests, with_utf8, NULL);
}
