// floors: hub
#include "worker/hub/cluster_merge.h"

#include "common/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct cluster_member members[8];
static size_t members_n;
static struct cluster_merged merged;

static int teardown(UNUSED void **state)
{
    for (size_t i = 0; i < members_n; i++) {
        buf_free(&members[i].about);
        buf_free(&members[i].answer);
    }
    memset(members, 0, sizeof(members));
    members_n = 0;
    cluster_merged_fini(&merged);
    return 0;
}

/* answer NULL: none came. */
static void member(const char *answer)
{
    struct cluster_member *m = &members[members_n];
    snprintf(m->id, sizeof(m->id), "00000000-0000-4000-8000-%012zu", members_n);
    m->is_registered = true;
    buf_printf(&m->about, "{\"worker\":\"w%zu\",\"node\":\"n%zu\"}", members_n,
               members_n / 2);
    if (answer) {
        assert_int_equal(scan_text(str_of(answer), NULL, 0), SCAN_OBJECT);
        buf_str(&m->answer, str_of(answer));
    }
    members_n++;
}

static const char *merge(enum cluster_what what, const char *after, unsigned limit)
{
    struct cluster_question q = {what, STR("é\""), str_of(after), limit};
    cluster_merged_fini(&merged);
    cluster_merge(&q, members, members_n, &merged);
    assert_int_equal(scan_text(buf_view(&merged.json), NULL, 0), SCAN_OBJECT);
    return buf_cstr(&merged.json);
}

static void test_rooms_are_summed_in_order(UNUSED void **state)
{
    member("{\"rows\":[[\"/ws\",\"a\",2],[\"/ws\",\"c\",1]],\"more\":false}");
    member("{\"rows\":[[\"/call\",\"c\",1],[\"/ws\",\"\\u0061\",3]],\"more\":false}");
    member("{\"rows\":[],\"more\":false}");
    assert_string_equal(
        merge(CLUSTER_ROOMS, "", 10),
        "{\"rooms\":[{\"room\":\"c\",\"endpoint\":\"/call\",\"members\":1},"
        "{\"room\":\"a\",\"endpoint\":\"/ws\",\"members\":5},"
        "{\"room\":\"c\",\"endpoint\":\"/ws\",\"members\":1}]}\n");
    assert_string_equal(
        merge(CLUSTER_ROOMS, "", 2),
        "{\"rooms\":[{\"room\":\"c\",\"endpoint\":\"/call\",\"members\":1},"
        "{\"room\":\"a\",\"endpoint\":\"/ws\",\"members\":5}],\"next\":\"/ws a\"}\n");
}

/* What lies behind the last word of somebody who has more to say is not summed yet. */
static void test_a_page_ends_where_somebody_stopped(UNUSED void **state)
{
    member("{\"rows\":[[\"/ws\",\"a\",1],[\"/ws\",\"b\",1]],\"more\":true}");
    member("{\"rows\":[[\"/ws\",\"b\",1],[\"/ws\",\"d\",1],[\"/ws\",\"e\",1]],"
           "\"more\":true}");
    member("{\"rows\":[[\"/ws\",\"c\",1]],\"more\":false}");
    assert_string_equal(merge(CLUSTER_ROOMS, "", 10),
                        "{\"rooms\":[{\"room\":\"a\",\"endpoint\":\"/ws\",\"members\":1},"
                        "{\"room\":\"b\",\"endpoint\":\"/ws\",\"members\":2}],"
                        "\"next\":\"/ws b\"}\n");
}

/* Whoever stopped first, and whatever order the answers come in. */
static void test_the_first_stop_counts(UNUSED void **state)
{
    member("{\"rows\":[[\"/ws\",\"a\",1],[\"/ws\",\"c\",1]],\"more\":true}");
    member("{\"rows\":[[\"/ws\",\"b\",1]],\"more\":true}");
    member("{\"rows\":[[\"/ws\",\"d\",1]],\"more\":true}");
    assert_string_equal(merge(CLUSTER_ROOMS, "", 10),
                        "{\"rooms\":[{\"room\":\"a\",\"endpoint\":\"/ws\",\"members\":1},"
                        "{\"room\":\"b\",\"endpoint\":\"/ws\",\"members\":1}],"
                        "\"next\":\"/ws b\"}\n");
}

static void test_connections(UNUSED void **state)
{
    member("{\"total\":5,\"rows\":[[\"1\",\"u\",\"/ws\"],[\"3\",null,\"/ws\"]],"
           "\"more\":true}");
    member("{\"total\":1,\"rows\":[[\"2\",\"u\",\"/call\"]],\"more\":false}");
    assert_string_equal(
        merge(CLUSTER_ROOM, "", 2),
        "{\"room\":\"é\\\"\",\"total\":6,\"members\":["
        "{\"id\":\"1\",\"user\":\"u\",\"endpoint\":\"/ws\","
        "\"worker\":\"00000000-0000-4000-8000-000000000000\"},"
        "{\"id\":\"2\",\"user\":\"u\",\"endpoint\":\"/call\","
        "\"worker\":\"00000000-0000-4000-8000-000000000001\"}],\"next\":\"2\"}\n");
    assert_int_equal(merged.total, 6);
    assert_non_null(strstr(merge(CLUSTER_USER, "", 2),
                           "{\"user\":\"é\\\"\",\"total\":6,\"connections\":["
                           "{\"id\":\"1\",\"endpoint\":\"/ws\",\"worker\":"));
}

static void test_who_did_not_answer_is_named(UNUSED void **state)
{
    member("{\"closed\":2}");
    member(NULL);
    member("{\"closed\":1}");
    member(NULL);
    buf_clear(&members[3].about); /* nothing is known of it */
    assert_string_equal(
        merge(CLUSTER_KICK_USER, "", 1),
        "{\"closed\":3,\"incomplete\":[{\"worker\":\"w1\",\"node\":\"n0\"},"
        "{\"worker\":\"00000000-0000-4000-8000-000000000003\"}]}\n");
    assert_true(merged.total == 3 && merged.missing == 2);
}

static void test_stats(UNUSED void **state)
{
    member("{\"counters\":{\"connections\":2,\"accepted\":5,\"of_the_future\":1}}");
    member("{\"counters\":{\"connections\":3}}");
    member("{\"counters\":{}}");
    member(NULL);
    const char *text = merge(CLUSTER_STATS, "", 1);
    assert_non_null(strstr(text, "{\"workers\":[{\"worker\":\"w0\",\"node\":\"n0\","
                                 "\"counters\":{\"turns\":0,\"connections\":2,"));
    assert_non_null(strstr(text, "\"nodes\":[{\"node\":\"n0\",\"workers\":2},"
                                 "{\"node\":\"n1\",\"workers\":1}],"
                                 "\"counters\":{\"turns\":0,\"connections\":5,"));
    assert_non_null(strstr(text, "\"accepted\":5,"));
    assert_non_null(strstr(text, "\"incomplete\":[{\"worker\":\"w3\",\"node\":\"n1\"}]"));
    assert_null(strstr(text, "future"));
}

/* Each beside a good one, which counts; the liar is named, and nothing of it is taken. */
static void test_answers_that_are_none(UNUSED void **state)
{
    static const struct {
        enum cluster_what what;
        const char *answer;
    } rows[] = {
        {CLUSTER_ROOMS, "{}"},
        {CLUSTER_ROOMS, "{\"rows\":[]}"},
        {CLUSTER_ROOMS, "{\"rows\":{},\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[],\"more\":1}"},
        {CLUSTER_ROOMS, "{\"rows\":[],\"more\":true}"},
        {CLUSTER_ROOMS, "{\"rows\":[5],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[\"/ws\",\"b\"]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[\"/ws\",\"b\",1,1]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[\"/ws\",\"b\",-1]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[\"/ws\",\"b\",1.5]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[\"/ws\",\"b\",\"1\"]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[\"/ws\",7,1]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[null,\"b\",1]],\"more\":false}"},
        /* out of order, twice, before `after`, too many */
        {CLUSTER_ROOMS,
         "{\"rows\":[[\"/ws\",\"c\",1],[\"/ws\",\"b\",1]],\"more\":false}"},
        {CLUSTER_ROOMS,
         "{\"rows\":[[\"/ws\",\"b\",1],[\"/ws\",\"b\",1]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[\"/ws\",\"\",1]],\"more\":false}"},
        {CLUSTER_ROOMS, "{\"rows\":[[\"/wa\",\"b\",1]],\"more\":true}"},
        {CLUSTER_ROOMS,
         "{\"rows\":[[\"/ws\",\"b\",1],[\"/ws\",\"c\",1],[\"/ws\",\"d\",1],"
         "[\"/ws\",\"e\",1]],\"more\":false}"},
        {CLUSTER_ROOM, "{\"rows\":[],\"more\":false}"},
        {CLUSTER_ROOM, "{\"total\":-1,\"rows\":[],\"more\":false}"},
        {CLUSTER_ROOM, "{\"total\":1,\"rows\":[[1,null,\"/ws\"]],\"more\":false}"},
        {CLUSTER_ROOM, "{\"total\":1,\"rows\":[[\"/ws 1\",5,\"/ws\"]],\"more\":false}"},
        {CLUSTER_USER, "{\"total\":1,\"rows\":[[\"/ws 1\",null,{}]],\"more\":false}"},
        {CLUSTER_STATS, "{\"counters\":[]}"},
        {CLUSTER_STATS, "{\"counters\":{\"connections\":\"2\"}}"},
        {CLUSTER_KICK_CLIENT, "{\"closed\":true}"},
        {CLUSTER_KICK_CLIENT, "{\"closed\":1e3}"},
    };
    static const char *const good[] = {
        [CLUSTER_ROOMS] = "{\"rows\":[[\"/ws\",\"b\",9]],\"more\":false}",
        [CLUSTER_ROOM] =
            "{\"total\":9,\"rows\":[[\"/ws b\",null,\"/ws\"]],\"more\":false}",
        [CLUSTER_USER] =
            "{\"total\":9,\"rows\":[[\"/ws b\",null,\"/ws\"]],\"more\":false}",
        [CLUSTER_STATS] = "{\"counters\":{\"connections\":9}}",
        [CLUSTER_KICK_CLIENT] = "{\"closed\":9}",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        member(rows[i].answer);
        member(good[rows[i].what]);
        const char *text = merge(rows[i].what, "/ws ", 3);
        if (!strstr(text, ":9") && !strstr(text, "/ws b"))
            fail_msg("%s: the good answer is lost: %s", rows[i].answer, text);
        if (merged.missing != 1 ||
            !strstr(text, "\"incomplete\":[{\"worker\":\"w0\",\"node\":\"n0\"}]"))
            fail_msg("%s: taken: %s", rows[i].answer, text);
        if (strstr(text, "\"members\":1") || strstr(text, "\"next\""))
            fail_msg("%s: some of it is taken: %s", rows[i].answer, text);
        teardown(NULL);
    }
}

/* Pages of any size together are the whole. */
static void test_pages_are_the_whole(UNUSED void **state)
{
    for (unsigned limit = 1; limit < 9; limit++) {
        char after[64] = "";
        unsigned rooms = 0, pages = 0;
        uint64_t sum = 0;
        do {
            for (unsigned w = 0; w < 3; w++) {
                struct buf b = {0};
                unsigned told = 0, left = 0;
                buf_str(&b, STR("{\"rows\":["));
                for (unsigned r = w; r < 20; r += w + 1) {
                    char key[64];
                    snprintf(key, sizeof(key), "/ws r%02u", r);
                    if (strcmp(key, after) <= 0)
                        continue;
                    left += told == limit;
                    if (told < limit)
                        buf_printf(&b, "%s[\"/ws\",\"r%02u\",1]", told++ ? "," : "", r);
                }
                buf_printf(&b, "],\"more\":%s}", left ? "true" : "false");
                member(buf_cstr(&b));
                buf_free(&b);
            }
            merge(CLUSTER_ROOMS, after, limit);
            struct scan_member m[] = {{"rooms"}, {"next"}};
            struct scan_value room;
            struct buf next = {0};
            size_t pos = 0;
            scan_object(scan_value_of(buf_view(&merged.json)).raw, m, 2);
            while (scan_next(m[0].value.raw, &pos, &room)) {
                struct scan_member n = {"members"};
                uint64_t count;
                scan_object(room.raw, &n, 1);
                assert_true(str_to_u64(n.value.raw, 3, &count));
                sum += count;
                rooms++;
            }
            after[0] = 0;
            if (m[1].value.type == SCAN_STRING)
                snprintf(after, sizeof(after), STR_FMT,
                         STR_ARG(scan_string(&m[1].value, &next)));
            buf_free(&next);
            teardown(NULL);
            assert_true(++pages < 50);
        } while (after[0]);
        assert_int_equal(rooms, 20);
        assert_int_equal(sum, 20 + 10 + 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_rooms_are_summed_in_order, teardown),
        cmocka_unit_test_teardown(test_a_page_ends_where_somebody_stopped, teardown),
        cmocka_unit_test_teardown(test_the_first_stop_counts, teardown),
        cmocka_unit_test_teardown(test_connections, teardown),
        cmocka_unit_test_teardown(test_who_did_not_answer_is_named, teardown),
        cmocka_unit_test_teardown(test_stats, teardown),
        cmocka_unit_test_teardown(test_answers_that_are_none, teardown),
        cmocka_unit_test_teardown(test_pages_are_the_whole, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
