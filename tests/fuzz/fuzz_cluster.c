// floors: hub
/* What workers ask and tell each other. Parts of an input are separated by form feeds:
 * what is asked, its limit, and behind what it goes on; then the lines of the register;
 * then one answer after the other. And the input makes honest workers, whose rooms must
 * come out page by page, each once. */
#include "common/log.h"
#include "common/scan.h"
#include "common/utf8.h"
#include "tests/unit/bus_fake.h"
#include "worker/hub/cluster_merge.h"

#include <json-c/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct net net;
static struct counters counters;
static struct hub *hub;
static struct bus_fake bus;
static struct cluster_question question; /* the one under way */
static unsigned told;

static void set_up(void)
{
    struct err e;
    log_set_level(LOG_LEVEL_ERROR);
    BUG_ON(net_init(&net, event_base_new(), &counters, &e) != 0);
    hub = hub_new(&net, NULL);
    bus_fake_init(&bus, &hub_bus_events, hub);
    hub_set_bus(hub, &bus.bus, 1000);
    bus_fake_up(&bus);
}

/* Deeper than scan reads: what was judged may stand inside of more brackets. */
static void check_json(struct str text)
{
    struct json_tokener *t = json_tokener_new_ex(4 * SCAN_DEPTH);
    struct json_object *o = json_tokener_parse_ex(t, text.p, (int)text.n);
    BUG_ON(json_tokener_get_error(t) != json_tokener_success);
    BUG_ON(!utf8_ok(text.p, text.n) || !json_object_is_type(o, json_type_object));
    for (size_t i = json_tokener_get_parse_end(t); i < text.n; i++)
        BUG_ON(text.p[i] != '\n');
    json_object_put(o);
    json_tokener_free(t);
}

/* ---- anything ---- */

static void on_answered(UNUSED void *ctx, const struct cluster_member *v, size_t n,
                        const struct bus_reply *why)
{
    struct cluster_merged m;
    told++;
    if (why)
        return;
    cluster_merge(&question, v, n, &m);
    check_json(buf_view(&m.json));
    BUG_ON(m.missing > n);
    cluster_merged_fini(&m);
}

static void answer(UNUSED void *ctx, const struct cluster_question *q, struct buf *json)
{
    BUG_ON(q->what >= CLUSTER_WHATS || q->limit == 0 || q->limit > CLUSTER_LIMIT_MAX);
    BUG_ON(!utf8_ok(q->name.p, q->name.n) || !utf8_ok(q->after.p, q->after.n));
    buf_str(json, STR("{\"closed\":0}"));
}

static struct cluster *join(void)
{
    static const struct cluster_self self = {
        .node = STR("here"), .slot = 1, .number = 1, .answer = answer};
    return cluster_new(hub, &net, &self);
}

static void receive(struct str channel, struct str payload)
{
    bus.bus.events.message(bus.bus.ctx, channel, payload);
}

/* Whatever is published to others can be read. */
static void check_published(void)
{
    struct str rest = buf_view(&bus.log), channel;
    while (rest.n > 0) {
        struct str line = str_split(rest, '\n', &rest);
        if (!str_starts(line, STR("P ")))
            continue;
        str_split(line, ' ', &line);
        channel = str_split(line, ' ', &line);
        BUG_ON(!str_starts(channel, STR(TOPIC_PREFIX "w:")));
        check_json(line);
    }
}

static void ask(struct cluster *c, struct str header)
{
    question = (struct cluster_question){
        .what =
            (enum cluster_what)(header.n > 0 ? (uint8_t)header.p[0] % CLUSTER_WHATS : 0),
        .name = STR("room"),
        .limit = header.n > 1 ? 1u + (uint8_t)header.p[1] % 9 : 1,
        .after = header.n > 2 ? (struct str){header.p + 2, header.n - 2} : STR_NONE,
    };
    if (!utf8_ok(question.after.p, question.after.n))
        question.after = STR_NONE;
    BUG_ON(!cluster_ask(c, &question, on_answered, NULL));
}

static void check_anything(struct str text)
{
    struct str rest, header = str_split(text, '\f', &rest),
                     list = str_split(rest, '\f', &rest);
    struct buf own = {0};
    struct cluster *c = join();
    told = 0;
    buf_clear(&bus.log);
    buf_printf(&own, TOPIC_PREFIX "w:%s", hub_server_id(hub));
    receive(STR(TOPIC_PREFIX "w"), text);
    check_published();
    ask(c, header);
    bus_fake_answer(&bus, (struct bus_reply){.type = BUS_TEXT, .text = list});
    while (rest.p)
        receive(buf_view(&own), str_split(rest, '\f', &rest));
    cluster_free(c);
    BUG_ON(told != 1 || bus.calls_n > 0);
    buf_free(&own);
}

/* ---- honest workers ---- */

#define WORKERS 4
#define ROOMS 64

/* members[w][r]: of room r at worker w. */
static void tell_rooms(const uint8_t members[ROOMS], const struct cluster_question *q,
                       struct buf *json)
{
    unsigned n = 0, r = 0;
    bool more = false;
    buf_str(json, STR("{\"rows\":["));
    for (; r < ROOMS && !more; r++) {
        char key[16];
        snprintf(key, sizeof(key), "/ws r%02u", r);
        bool is_next = members[r] > 0 && (!q->after.n || strncmp(key, q->after.p, 7) > 0);
        more = is_next && n == q->limit;
        if (is_next && !more)
            buf_printf(json, "%s[\"/ws\",\"r%02u\",%u]", n++ ? "," : "", r, members[r]);
    }
    buf_printf(json, "],\"more\":%s}", more ? "true" : "false");
}

/* Takes what a page says off what there is; returns how many rooms it told. */
static unsigned take_off(struct str page, unsigned left[ROOMS], struct buf *next)
{
    struct scan_member m[] = {{"rooms"}, {"next"}}, room[] = {{"room"}, {"members"}};
    struct scan_value v;
    size_t pos = 0;
    unsigned n = 0;
    BUG_ON(scan_text(page, m, ARRAY_LEN(m)) != SCAN_OBJECT);
    for (; scan_next(m[0].value.raw, &pos, &v); n++) {
        uint64_t r, count;
        scan_object(v.raw, room, ARRAY_LEN(room));
        BUG_ON(!str_to_u64((struct str){room[0].value.raw.p + 2, 2}, ROOMS - 1, &r));
        BUG_ON(!str_to_u64(room[1].value.raw, UINT64_MAX, &count));
        BUG_ON(count == 0 || left[r] != count);
        left[r] = 0;
    }
    buf_clear(next);
    if (m[1].value.type == SCAN_STRING)
        buf_str(next, (struct str){m[1].value.raw.p + 1, m[1].value.raw.n - 2});
    return n;
}

static unsigned ask_for_page(const uint8_t members[WORKERS][ROOMS],
                             const struct cluster_question *q, unsigned left[ROOMS],
                             struct buf *next)
{
    struct cluster_member v[WORKERS] = {0};
    struct cluster_merged merged;
    for (unsigned w = 0; w < WORKERS; w++)
        tell_rooms(members[w], q, &v[w].answer);
    cluster_merge(q, v, WORKERS, &merged);
    BUG_ON(merged.missing > 0);
    unsigned n = take_off(buf_view(&merged.json), left, next);
    BUG_ON(n > q->limit || (n == 0 && next->n > 0));
    cluster_merged_fini(&merged);
    for (unsigned w = 0; w < WORKERS; w++)
        buf_free(&v[w].answer);
    return n;
}

static void check_pages(const uint8_t *data, size_t size)
{
    uint8_t members[WORKERS][ROOMS] = {0};
    unsigned left[ROOMS] = {0}, rooms = 0, found = 0;
    struct buf after = {0}, next = {0};
    struct cluster_question q = {.what = CLUSTER_ROOMS, .limit = 1u + data[0] % 9};
    for (size_t i = 1; i < MIN(size, 250u); i++) {
        unsigned r = data[i] % ROOMS;
        rooms += left[r]++ == 0;
        members[data[i] / ROOMS][r]++;
    }
    do {
        found += ask_for_page(members, &q, left, &next);
        buf_clear(&after);
        buf_str(&after, buf_view(&next));
        q.after = buf_view(&after);
    } while (next.n > 0);
    BUG_ON(found != rooms);
    buf_free(&after);
    buf_free(&next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!hub)
        set_up();
    check_anything((struct str){(const char *)data, size});
    if (size > 0)
        check_pages(data, size);
    return 0;
}
