#include "supervisor/answers.h"
#include "common/clock.h"
#include "common/redis_url.h"
#include "supervisor/supervisor.h"

#include <unistd.h>

#define VALUE_MAX 4096 /* bytes of a configuration value that are shown */

struct answer {
    answers_row_fn row;
    void *ctx;
    int n;
    struct buf json;
};

static void send_row(struct answer *a)
{
    a->row(a->ctx, buf_view(&a->json));
    a->n++;
    buf_clear(&a->json);
}

static void put_text(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, "%s\"%s\":", b->n > 1 ? "," : "", name);
    buf_json(b, value);
}

static void put_number(struct buf *b, const char *name, int64_t value)
{
    buf_printf(b, "%s\"%s\":%" PRId64, b->n > 1 ? "," : "", name, value);
}

/* ── status ── */

static const struct counter_row *find_counter(const char *name)
{
    for (size_t i = 0; i < counter_rows_n; i++)
        if (strcmp(counter_rows[i].name, name) == 0)
            return &counter_rows[i];
    BUG_ON("no such counter");
    return NULL;
}

static uint64_t add_up(const uint64_t sums[SLOTS_MAX])
{
    uint64_t sum = 0;
    for (unsigned slot = 0; slot < SLOTS_MAX; slot++)
        sum += sums[slot];
    return sum;
}

static uint64_t total(const struct supervisor *s, const char *counter)
{
    uint64_t sums[SLOTS_MAX];
    pages_sum(s, find_counter(counter), sums);
    return add_up(sums);
}

static const char *bus_word(const struct supervisor *s)
{
    unsigned up = 0, running = 0;
    CREW_EACH(m, s)
    if (member_is_running(m)) {
        running++;
        up += member_child(m)->bus_up != 0;
    }
    return up == 0 ? "down" : up == running ? "up" : "partly";
}

void answers_redis(const struct conf_redis *c, struct buf *out)
{
    struct redis_url url;
    if (redis_url_parse(c->url, &url, NULL) < 0 || url.kind == REDIS_MANAGED)
        buf_str(out, STR("managed"));
    else if (url.kind == REDIS_UNIX)
        buf_printf(out, "unix://%s?db=%u", url.path, url.db);
    else
        buf_printf(out, strchr(url.host, ':') ? "redis://[%s]:%u/%u" : "redis://%s:%u/%u",
                   url.host, url.port, url.db);
}

static void put_redis(struct buf *b, const struct conf_redis *c)
{
    struct buf text = {0};
    answers_redis(c, &text);
    put_text(b, "redis", buf_view(&text));
    buf_free(&text);
}

static void put_listeners(struct buf *b, const struct supervisor *s)
{
    buf_str(b, STR(",\"listeners\":["));
    for (size_t i = 0; i < s->conf->main.listeners.n; i++) {
        if (i > 0)
            buf_char(b, ',');
        buf_json(b, s->conf->main.listeners.v[i].address);
    }
    buf_char(b, ']');
}

static void give_status(const struct supervisor *s, struct answer *a)
{
    struct buf *b = &a->json;
    buf_char(b, '{');
    put_text(b, "version", STR(HELIOD_VERSION));
    put_number(b, "pid", getpid());
    put_number(b, "uptime_ms", clock_now_ms() - s->started_ms);
    put_number(b, "generation", s->conf->generation);
    put_text(b, "config", str_of(s->options->conf_file));
    put_text(b, "run_dir", str_of(s->run_dir));
    put_redis(b, &s->conf->main.redis);
    put_text(b, "bus", str_of(bus_word(s)));
    put_number(b, "workers", s->slots.slots_n);
    put_number(b, "running", slot_count(&s->slots, SLOT_RUNNING));
    put_number(b, "connections", (int64_t)total(s, "connections"));
    put_number(b, "websockets", (int64_t)total(s, "websockets"));
    put_listeners(b, s);
    buf_char(b, '}');
    send_row(a);
}

/* ── workers: every slot, and those that left theirs ── */

static uint64_t page_value(const struct counters *page, const char *name)
{
    return page ? counters_read(page, find_counter(name)) : 0;
}

static void give_worker(const struct supervisor *s, struct answer *a, unsigned slot,
                        const struct child *c, const struct counters *page,
                        const char *state)
{
    struct buf *b = &a->json;
    buf_char(b, '{');
    put_number(b, "slot", slot);
    put_number(b, "worker", c ? c->worker : s->slots.slots[slot].lives);
    put_number(b, "pid", c ? c->pid : 0);
    put_text(b, "state", str_of(state));
    put_number(b, "uptime_ms", c ? clock_now_ms() - c->started_ms : 0);
    put_number(b, "generation", c ? c->generation : 0);
    put_number(b, "connections", (int64_t)page_value(page, "connections"));
    put_number(b, "websockets", (int64_t)page_value(page, "websockets"));
    put_number(b, "restarts", s->slots.slots[slot].restarts);
    buf_printf(b, ",\"bus_up\":%s", c && c->bus_up ? "true" : "false");
    put_number(b, "messages_in", (int64_t)page_value(page, "messages_in"));
    put_number(b, "messages_out", (int64_t)page_value(page, "messages_out"));
    buf_char(b, '}');
    send_row(a);
}

static void give_workers(const struct supervisor *s, struct answer *a)
{
    for (unsigned slot = 0; slot < SLOTS_MAX; slot++) {
        const struct slot *seat = &s->slots.slots[slot];
        const struct child *c =
            seat->child == CHILD_NONE ? NULL : &s->slots.children[seat->child];
        if (seat->state != SLOT_EMPTY)
            give_worker(s, a, slot, c, s->pages.of_slot[slot],
                        slot_state_name(seat->state));
    }
    CREW_EACH(m, s)
    {
        const struct child *c = member_child(m);
        if (s->slots.slots[c->slot].child != m->index)
            give_worker(s, a, c->slot, c, m->page, child_state_name(c->state));
    }
}

/* ── config ── */

/* What stands between :// and @ in an URL may hold a password. */
static void put_masked(struct buf *out, struct str text)
{
    const char *scheme = memmem(text.p, text.n, "://", 3);
    const char *end = scheme ? scheme + 3 : NULL, *at = NULL;
    for (; end && end < text.p + text.n && *end != '/' && *end != '?' && *end != '#';
         end++)
        if (*end == '@')
            at = end;
    if (!at) {
        buf_str(out, text);
        return;
    }
    buf_put(out, text.p, (size_t)(scheme + 3 - text.p));
    buf_str(out, STR("***"));
    buf_put(out, at, (size_t)(text.p + text.n - at));
}

static void put_value(struct buf *out, const struct conf_key *key, struct str text)
{
    if (key->flags & CONF_SECRET)
        buf_str(out, text.n ? STR("***") : STR(""));
    else if (key->kind == CONF_CONTENT && text.n)
        buf_printf(out, "(%zu bytes)", text.n);
    else if (text.n)
        put_masked(out, text);
    if (out->n <= VALUE_MAX)
        return;
    for (out->n = VALUE_MAX; out->n && ((uint8_t)out->p[out->n] & 0xc0) == 0x80;)
        out->n--; /* between two characters */
    buf_str(out, STR("…"));
}

static void on_leaf(void *ctx, const char *path, const struct conf_key *key,
                    struct str text, int line)
{
    struct answer *a = ctx;
    struct buf value = {0}, *b = &a->json;
    put_value(&value, key, text);
    buf_char(b, '{');
    put_text(b, "key", str_of(path));
    put_text(b, "value", buf_view(&value));
    put_text(b, "default", str_of(key->dflt));
    put_number(b, "line", line);
    buf_printf(b, ",\"flags\":\"%s%s\"}", key->flags & CONF_BOOT ? "boot" : "live",
               key->flags & CONF_SECRET ? ",secret" : "");
    buf_free(&value);
    send_row(a);
}

/* ── counters ── */

static void give_counter(const struct supervisor *s, struct answer *a,
                         const struct counter_row *row)
{
    struct buf *b = &a->json;
    uint64_t sums[SLOTS_MAX];
    pages_sum(s, row, sums);
    buf_char(b, '{');
    put_text(b, "name", str_of(row->name));
    put_text(b, "kind", row->is_gauge ? STR("gauge") : STR("total"));
    put_text(b, "help", str_of(row->help));
    put_number(b, "total", (int64_t)add_up(sums));
    buf_str(b, STR(",\"slots\":["));
    for (unsigned slot = 0; slot < s->slots.slots_n; slot++)
        buf_printf(b, "%s%" PRIu64, slot ? "," : "", sums[slot]);
    buf_str(b, STR("]}"));
    send_row(a);
}

int answers_give(const struct supervisor *s, enum msg_what what, answers_row_fn row,
                 void *ctx)
{
    struct answer a = {.row = row, .ctx = ctx};
    switch (what) {
    case QUERY_STATUS:
        give_status(s, &a);
        break;
    case QUERY_WORKERS:
        give_workers(s, &a);
        break;
    case QUERY_CONFIG:
        conf_walk(s->conf, on_leaf, &a);
        break;
    case QUERY_COUNTERS:
        for (size_t i = 0; i < counter_rows_n; i++)
            give_counter(s, &a, &counter_rows[i]);
        break;
    default:
        return -1;
    }
    buf_free(&a.json);
    return a.n;
}
