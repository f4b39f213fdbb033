#include "supervisor/ctl/show.h"

#include "common/json.h"
#include "common/mem.h"
#include "supervisor/ctl/ctl.h"

/* clang-format off */
static const struct column status_columns[] = {
    {"version", "version", CELL_TEXT},
    {"pid", "pid", CELL_NUMBER},
    {"up", "uptime_ms", CELL_AGO},
    {"generation", "generation", CELL_NUMBER},
    {"configuration", "config", CELL_TEXT},
    {"run directory", "run_dir", CELL_TEXT},
    {"listeners", "listeners", CELL_TEXT},
    {"redis", "redis", CELL_TEXT},
    {"bus", "bus", CELL_TEXT},
    {"workers", "workers", CELL_NUMBER},
    {"running", "running", CELL_NUMBER},
    {"connections", "connections", CELL_NUMBER},
    {"websockets", "websockets", CELL_NUMBER},
};
static const struct column workers_columns[] = {
    {"SLOT", "slot", CELL_NUMBER},
    {"WORKER", "worker", CELL_NUMBER},
    {"PID", "pid", CELL_NUMBER},
    {"STATE", "state", CELL_TEXT},
    {"UP", "uptime_ms", CELL_AGO},
    {"GEN", "generation", CELL_NUMBER},
    {"CONNECTIONS", "connections", CELL_NUMBER},
    {"WEBSOCKETS", "websockets", CELL_NUMBER},
    {"RESTARTS", "restarts", CELL_NUMBER},
    {"BUS", "bus_up", CELL_TEXT},
    {"MESSAGES-IN", "messages_in", CELL_NUMBER},
    {"MESSAGES-OUT", "messages_out", CELL_NUMBER},
};
static const struct column connections_columns[] = {
    {"ID", "id", CELL_TEXT},
    {"SLOT", "slot", CELL_NUMBER},
    {"WORKER", "worker", CELL_NUMBER},
    {"ENDPOINT", "endpoint", CELL_TEXT},
    {"PROTOCOL", "protocol", CELL_TEXT},
    {"ADDRESS", "address", CELL_TEXT},
    {"USER", "user", CELL_TEXT},
    {"STATE", "state", CELL_TEXT},
    {"AUTH", "auth", CELL_TEXT},
    {"AGE", "age_ms", CELL_AGO},
    {"IDLE", "idle_ms", CELL_AGO},
    {"QUEUED", "queued", CELL_NUMBER},
    {"ROOMS", "rooms", CELL_NUMBER},
    {"COMPRESSION", "compression", CELL_TEXT},
};
static const struct column rooms_columns[] = {
    {"ROOM", "room", CELL_TEXT},
    {"MEMBERS", "members", CELL_NUMBER},
    {"SLOTS", "slot", CELL_TEXT},
    {"ENDPOINT", "endpoint", CELL_TEXT},
};
static const struct column users_columns[] = {
    {"USER", "user", CELL_TEXT},
    {"CONNECTIONS", "connections", CELL_NUMBER},
    {"SLOTS", "slot", CELL_TEXT},
};
static const struct column config_columns[] = {
    {"KEY", "key", CELL_TEXT},
    {"VALUE", "value", CELL_TEXT},
    {"DEFAULT", "default", CELL_TEXT},
    {"LINE", "line", CELL_NUMBER},
    {"FLAGS", "flags", CELL_TEXT},
};
static const struct column counters_columns[] = {
    {"COUNTER", "name", CELL_TEXT},
    {"KIND", "kind", CELL_TEXT},
    {"TOTAL", "total", CELL_NUMBER},
    {"BY SLOT", "slots", CELL_TEXT},
    {"MEANING", "help", CELL_TEXT},
};
static const struct column memory_columns[] = {
    {"slot", "slot", CELL_NUMBER},
    {"worker", "worker", CELL_NUMBER},
    {"pid", "pid", CELL_NUMBER},
    {"connections", "connections", CELL_NUMBER},
    {"their structs", "connection_bytes", CELL_NUMBER},
    {"unsent to them", "queued", CELL_NUMBER},
    {"messages not yet whole", "partial", CELL_NUMBER},
    {"lists of connections", "lists", CELL_NUMBER},
    {"buffers for reuse", "recycled", CELL_NUMBER},
    {"rooms, users, topics", "hub", CELL_NUMBER},
    {"protocols", "protocols", CELL_NUMBER},
    {"anything else", "unexplained", CELL_NUMBER},
    {"= malloc, in use", "in_use", CELL_NUMBER},
    {"malloc, free", "free", CELL_NUMBER},
    {"libevent, by descriptor", "descriptors", CELL_NUMBER},
    {"private", "private", CELL_NUMBER},
    {"resident", "rss", CELL_NUMBER},
};
/* clang-format on */

#define ROWS(form, what, columns)                                                        \
    {                                                                                    \
        form, what, columns, ARRAY_LEN(columns), NULL, NULL                              \
    }
#define DONE(done, count)                                                                \
    {                                                                                    \
        SHOW_NOTHING, QUERY_N, NULL, 0, done, count                                      \
    }

const struct show show_status = ROWS(SHOW_CARD, QUERY_STATUS, status_columns);
const struct show show_workers = ROWS(SHOW_LIST, QUERY_WORKERS, workers_columns);
const struct show show_connections =
    ROWS(SHOW_LIST, QUERY_CONNECTIONS, connections_columns);
const struct show show_rooms = ROWS(SHOW_TALLY, QUERY_ROOMS, rooms_columns);
const struct show show_users = ROWS(SHOW_TALLY, QUERY_USERS, users_columns);
const struct show show_config = ROWS(SHOW_LIST, QUERY_CONFIG, config_columns);
const struct show show_counters = ROWS(SHOW_LIST, QUERY_COUNTERS, counters_columns);
const struct show show_memory = ROWS(SHOW_CARD, QUERY_MEMORY, memory_columns);
const struct show show_sent = DONE("sent", NULL);
const struct show show_kicked = DONE("connections closed: %", "closed");
const struct show show_reloaded = DONE("ok, generation %", "generation");
const struct show show_drained = DONE("ok, the worker is being replaced", NULL);
const struct show show_stopped = DONE("ok, the broker is stopping", NULL);
const struct show show_levelled = DONE("ok", NULL);
const struct show show_nothing = DONE("ok", NULL);

#define SLOTS 256 /* the most `workers` can be */

/* Rows of one room or user, summed over the workers. Rooms of the same name at two
 * endpoints are two, where rooms belong to endpoints. */
struct tally {
    struct str key; /* its own copy: the name, a NUL, the endpoint */
    size_t name_n;
    uint64_t sum;
    bool slots[SLOTS]; /* with rows of it */
};

static struct str key_of(const void *item)
{
    return ((const struct tally *)item)->key;
}

static struct str name_of(const struct tally *t)
{
    return (struct str){t->key.p, t->name_n};
}

static struct str endpoint_of(const struct tally *t)
{
    return (struct str){t->key.p + t->name_n + 1, t->key.n - t->name_n - 1};
}

void show_init(struct shown *s, const struct show *show, FILE *out, bool json,
               uint64_t limit)
{
    *s = (struct shown){.show = show, .out = out, .json = json, .limit = limit};
    map_init(&s->tallies, key_of);
    table_init(&s->table, show->form == SHOW_CARD ? 2 : show->columns_n);
    for (size_t i = 0; show->form != SHOW_CARD && i < show->columns_n; i++) {
        s->table.right[i] = show->columns[i].kind != CELL_TEXT;
        table_cell(&s->table, str_of(show->columns[i].head));
    }
}

void show_fini(struct shown *s)
{
    MAP_EACH (struct tally, t, &s->tallies) {
        free((char *)t->key.p);
        free(t);
    }
    map_fini(&s->tallies);
    table_fini(&s->table);
}

void show_duration(struct buf *b, int64_t ms)
{
    int64_t s = ms / 1000;

    if (ms < 10000)
        buf_printf(b, "%" PRId64 ".%" PRId64 "s", s, ms % 1000 / 100);
    else if (s < 60)
        buf_printf(b, "%" PRId64 "s", s);
    else if (s < 3600)
        buf_printf(b, "%" PRId64 "m%" PRId64 "s", s / 60, s % 60);
    else if (s < 86400)
        buf_printf(b, "%" PRId64 "h%" PRId64 "m", s / 3600, s / 60 % 60);
    else
        buf_printf(b, "%" PRId64 "d%" PRId64 "h", s / 86400, s / 3600 % 24);
}

static void put_value(struct buf *b, struct json_object *v)
{
    switch (json_object_get_type(v)) {
    case json_type_null:
        return;
    case json_type_boolean:
        buf_str(b, json_object_get_boolean(v) ? STR("yes") : STR("no"));
        return;
    case json_type_string:
        buf_put(b, json_object_get_string(v), (size_t)json_object_get_string_len(v));
        return;
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(v); i++) {
            buf_str(b, i ? STR(", ") : STR_NONE);
            put_value(b, json_object_array_get_idx(v, i));
        }
        return;
    default:
        buf_str(b, str_of(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN)));
    }
}

static void add_cell(struct table *t, const struct column *column,
                     struct json_object *row)
{
    struct json_object *v = json_get(row, column->member);
    struct buf text = {0};

    if (column->kind == CELL_AGO && v)
        show_duration(&text, json_get_int(row, column->member, 0));
    else
        put_value(&text, v);
    table_cell(t, buf_view(&text));
    buf_free(&text);
}

static void add_card(struct shown *s, struct json_object *row)
{
    for (size_t i = 0; i < s->show->columns_n; i++) {
        table_cell(&s->table, str_of(s->show->columns[i].head));
        add_cell(&s->table, &s->show->columns[i], row);
    }
}

static void add_tally(struct shown *s, struct json_object *row)
{
    const struct column *column = s->show->columns;
    struct str name = json_get_str(row, column[0].member);
    struct buf key = {0};

    buf_str(&key, name);
    buf_char(&key, '\0');
    buf_str(&key, json_get_str(row, "endpoint"));
    struct tally *t = map_get(&s->tallies, buf_view(&key));
    if (!t) {
        t = NEW(struct tally);
        t->key = (struct str){str_dup(buf_view(&key)), key.n};
        t->name_n = name.n;
        map_put(&s->tallies, t);
    }
    buf_free(&key);
    t->sum += (uint64_t)json_get_int(row, column[1].member, 0);
    int64_t slot = json_get_int(row, column[2].member, -1);
    if (slot >= 0 && slot < SLOTS)
        t->slots[slot] = true;
}

void show_row(void *shown, struct str text)
{
    struct shown *s = shown;

    if (s->show->form != SHOW_TALLY && s->limit && s->rows == s->limit)
        return;
    s->rows++;
    if (s->json && s->show->form != SHOW_TALLY) {
        ctl_put_json(s->out, text);
        return;
    }
    struct json_object *row = json_read(text, NULL);
    if (s->show->form == SHOW_CARD)
        add_card(s, row);
    else if (s->show->form == SHOW_TALLY)
        add_tally(s, row);
    else
        for (size_t i = 0; i < s->show->columns_n; i++)
            add_cell(&s->table, &s->show->columns[i], row);
    json_object_put(row);
}

/* The largest first, then by name. */
static int compare_tallies(const void *left, const void *right)
{
    const struct tally *a = *(struct tally *const *)left,
                       *b = *(struct tally *const *)right;

    if (a->sum != b->sum)
        return a->sum > b->sum ? -1 : 1;
    return memcmp(a->key.p, b->key.p, MIN(a->key.n, b->key.n))
               ?: (a->key.n > b->key.n) - (a->key.n < b->key.n);
}

static void put_slots(struct buf *b, const struct tally *t)
{
    for (unsigned i = 0, any = 0; i < SLOTS; i++) {
        if (t->slots[i])
            buf_printf(b, any++ ? ", %u" : "%u", i);
    }
}

static void put_tally_json(const struct shown *s, const struct tally *t)
{
    const struct column *column = s->show->columns;
    struct buf b = {0};

    buf_printf(&b, "{\"%s\":", column[0].member);
    buf_json(&b, name_of(t));
    buf_printf(&b, ",\"%s\":%" PRIu64 ",\"slots\":[", column[1].member, t->sum);
    put_slots(&b, t);
    buf_char(&b, ']');
    if (endpoint_of(t).n > 0) {
        buf_printf(&b, ",\"endpoint\":");
        buf_json(&b, endpoint_of(t));
    }
    buf_char(&b, '}');
    ctl_put_json(s->out, buf_view(&b));
    buf_free(&b);
}

static void add_tally_row(struct table *table, const struct tally *t, bool has_endpoint)
{
    struct buf slots = {0};

    put_slots(&slots, t);
    table_cell(table, name_of(t));
    table_printf(table, "%" PRIu64, t->sum);
    table_cell(table, buf_view(&slots));
    if (has_endpoint)
        table_cell(table, endpoint_of(t));
    buf_free(&slots);
}

static void finish_tallies(struct shown *s)
{
    size_t n = 0;
    struct tally **sorted = mem_new((s->tallies.n + 1) * sizeof(*sorted));

    MAP_EACH (struct tally, t, &s->tallies)
        sorted[n++] = t;
    qsort(sorted, n, sizeof(*sorted), compare_tallies);
    for (size_t i = 0; i < n && (!s->limit || i < s->limit); i++) {
        if (s->json)
            put_tally_json(s, sorted[i]);
        else
            add_tally_row(&s->table, sorted[i], s->show->columns_n > 3);
    }
    free(sorted);
}

void show_finish(struct shown *s)
{
    if (s->show->form == SHOW_TALLY)
        finish_tallies(s);
    if (!s->json)
        table_print(&s->table, 0, s->out);
}

void show_done(const struct show *show, FILE *out, bool json, uint64_t count)
{
    struct str rest, text = str_split(str_of(show->done), '%', &rest);

    if (json && show->count)
        fprintf(out, "{\"ok\":true,\"%s\":%" PRIu64 "}\n", show->count, count);
    else if (json)
        fprintf(out, "{\"ok\":true}\n");
    else if (show->count)
        fprintf(out, STR_FMT "%" PRIu64 STR_FMT "\n", STR_ARG(text), count,
                STR_ARG(rest));
    else
        fprintf(out, "%s\n", show->done);
}
