#include "worker/hub/cluster_merge.h"

#include "common/mem.h"
#include "common/scan.h"

#define COLUMNS 3

/* Views into the answers; the key is in the merge's own buffer, which moves. */
struct row {
    size_t key_at, key_n;
    struct scan_value column[COLUMNS];
    uint64_t count;
    const char *worker;
};
struct merge {
    const struct cluster_question *q;
    struct row *rows;
    size_t n, cap;
    struct buf keys;
    size_t end_at, end_n; /* nobody told all that lies behind this key … */
    bool has_end;         /* … if there is one */
    uint64_t total;
};

static int compare(struct str a, struct str b)
{
    int rc = memcmp(a.p ? a.p : "", b.p ? b.p : "", MIN(a.n, b.n));
    return rc ? rc : (a.n > b.n) - (a.n < b.n);
}

static struct str key_of(const struct merge *m, const struct row *r)
{
    return (struct str){m->keys.p + r->key_at, r->key_n};
}

/* ---- reading ---- */

static bool read_number(const struct scan_value *v, uint64_t *out)
{
    return v->type == SCAN_NUMBER && str_to_u64(v->raw, INT64_MAX, out);
}

static bool read_columns(struct str raw, struct row *r)
{
    struct scan_value ignored;
    size_t pos = 0;
    for (size_t i = 0; i < COLUMNS; i++)
        if (!scan_next(raw, &pos, &r->column[i]))
            return false;
    return !scan_next(raw, &pos, &ignored);
}

static void append_key(struct merge *m, struct row *r, const struct scan_value *v)
{
    struct buf scratch = {0};
    buf_str(&m->keys, scan_string(v, &scratch));
    r->key_n = m->keys.n - r->key_at;
    buf_free(&scratch);
}

static bool read_room(struct merge *m, struct row *r)
{
    const struct scan_value *v = r->column;
    if (v[0].type != SCAN_STRING || v[1].type != SCAN_STRING ||
        !read_number(&v[2], &r->count))
        return false;
    append_key(m, r, &v[0]);
    buf_char(&m->keys, ' ');
    append_key(m, r, &v[1]);
    return true;
}

static bool read_connection(struct merge *m, struct row *r)
{
    const struct scan_value *v = r->column;
    bool has_user = v[1].type == SCAN_STRING || v[1].type == SCAN_NULL;
    if (v[0].type != SCAN_STRING || !has_user || v[2].type != SCAN_STRING)
        return false;
    append_key(m, r, &v[0]);
    return true;
}

static bool read_row(struct merge *m, const struct scan_value *v, const char *worker)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 64;
        m->rows = mem_resize(m->rows, m->cap * sizeof(*m->rows));
    }
    struct row *r = &m->rows[m->n];
    *r = (struct row){.key_at = m->keys.n, .worker = worker};
    if (v->type != SCAN_ARRAY || !read_columns(v->raw, r))
        return false;
    m->n++;
    return m->q->what == CLUSTER_ROOMS ? read_room(m, r) : read_connection(m, r);
}

/* In order, behind `after`, and not too many. */
static bool is_behind(const struct merge *m, size_t first)
{
    struct str key = key_of(m, &m->rows[m->n - 1]);
    bool is_first = m->n == first + 1;
    if (m->n - first > m->q->limit)
        return false;
    if (is_first)
        return m->q->after.n == 0 || compare(key, m->q->after) > 0;
    return compare(key, key_of(m, &m->rows[m->n - 2])) > 0;
}

static void note_end(struct merge *m, const struct row *last)
{
    struct str end = {m->keys.p + m->end_at, m->end_n};
    if (m->has_end && compare(end, key_of(m, last)) <= 0)
        return;
    m->has_end = true;
    m->end_at = last->key_at;
    m->end_n = last->key_n;
}

static bool read_rows(struct merge *m, struct str rows, bool more, const char *worker)
{
    struct scan_value v;
    size_t pos = 0, first = m->n;
    while (scan_next(rows, &pos, &v))
        if (!read_row(m, &v, worker) || !is_behind(m, first))
            return false;
    if (more && m->n == first)
        return false;
    if (more)
        note_end(m, &m->rows[m->n - 1]);
    return true;
}

static bool read_list(struct merge *m, const struct cluster_member *from)
{
    enum { ROWS, MORE, TOTAL, MEMBERS };
    struct scan_member v[MEMBERS] = {{"rows"}, {"more"}, {"total"}};
    struct merge before = *m;
    uint64_t total = 0;
    scan_object(buf_view(&from->answer), v, MEMBERS);
    enum scan_type more = v[MORE].value.type;
    bool has_total = read_number(&v[TOTAL].value, &total);
    if (v[ROWS].value.type == SCAN_ARRAY && (more == SCAN_TRUE || more == SCAN_FALSE) &&
        (has_total || m->q->what == CLUSTER_ROOMS) &&
        read_rows(m, v[ROWS].value.raw, more == SCAN_TRUE, from->id)) {
        m->total += total;
        return true;
    }
    m->n = before.n; /* what was good of it is not taken either */
    return false;
}

/* ---- writing ---- */

static void write_row(const struct merge *m, const struct row *r, uint64_t count,
                      struct buf *out)
{
    const struct scan_value *v = r->column;
    if (m->q->what == CLUSTER_ROOMS) {
        buf_printf(out,
                   "{\"room\":" STR_FMT ",\"endpoint\":" STR_FMT ",\"members\":%" PRIu64
                   "}",
                   STR_ARG(v[1].raw), STR_ARG(v[0].raw), count);
        return;
    }
    buf_printf(out, "{\"id\":" STR_FMT, STR_ARG(v[0].raw));
    if (m->q->what == CLUSTER_ROOM)
        buf_printf(out, ",\"user\":" STR_FMT, STR_ARG(v[1].raw));
    buf_printf(out, ",\"endpoint\":" STR_FMT ",\"worker\":\"%s\"}", STR_ARG(v[2].raw),
               r->worker);
}

static int compare_rows(const void *a, const void *b, void *m)
{
    return compare(key_of(m, a), key_of(m, b));
}

/* The same room at several workers is one; returns the first row behind it. */
static size_t add_up(const struct merge *m, size_t i, uint64_t *count)
{
    struct str key = key_of(m, &m->rows[i]);
    *count = 0;
    for (; i < m->n && str_eq(key_of(m, &m->rows[i]), key); i++)
        *count += m->rows[i].count;
    return i;
}

static bool is_told(const struct merge *m, const struct row *r)
{
    struct str end = {m->keys.p + m->end_at, m->end_n};
    return !m->has_end || compare(key_of(m, r), end) <= 0;
}

static void write_list(struct merge *m, const char *name, struct buf *out)
{
    struct str last = STR_NONE;
    uint64_t count;
    size_t i = 0;
    if (m->n > 0)
        qsort_r(m->rows, m->n, sizeof(*m->rows), compare_rows, m);
    buf_printf(out, "\"%s\":[", name);
    for (unsigned n = 0; i < m->n && n < m->q->limit && is_told(m, &m->rows[i]) &&
                         out->n < CLUSTER_MERGED_MAX;
         n++) {
        const struct row *r = &m->rows[i];
        i = add_up(m, i, &count);
        buf_str(out, n ? STR(",") : STR_NONE);
        write_row(m, r, count, out);
        last = key_of(m, r);
    }
    buf_char(out, ']');
    if (last.p && (m->has_end || i < m->n)) {
        buf_str(out, STR(",\"next\":"));
        buf_json(out, last);
    }
}

static void write_title(const char *name, struct str text, uint64_t total,
                        struct buf *out)
{
    buf_printf(out, "\"%s\":", name);
    buf_json(out, text);
    buf_printf(out, ",\"total\":%" PRIu64 ",", total);
}

static void merge_list(const struct cluster_question *q, const struct cluster_member *v,
                       size_t n, bool *is_good, struct cluster_merged *out)
{
    struct merge m = {.q = q};
    for (size_t i = 0; i < n; i++)
        is_good[i] = v[i].answer.n > 0 && read_list(&m, &v[i]);
    out->total = m.total;
    if (q->what == CLUSTER_ROOM)
        write_title("room", q->name, m.total, &out->json);
    else if (q->what == CLUSTER_USER)
        write_title("user", q->name, m.total, &out->json);
    write_list(&m,
               q->what == CLUSTER_ROOMS  ? "rooms"
               : q->what == CLUSTER_ROOM ? "members"
                                         : "connections",
               &out->json);
    free(m.rows);
    buf_free(&m.keys);
}

/* ---- counters ---- */

static uint64_t *counter_at(struct counters *c, const struct counter_row *row)
{
    return (uint64_t *)((char *)c + row->offset);
}

/* Names that are unknown here are passed over: another version counts other things. */
static bool read_counters(const struct cluster_member *from, struct counters *out)
{
    struct scan_member list = {"counters"};
    struct scan_value name, value;
    size_t pos = 0;
    *out = (struct counters){0};
    scan_object(buf_view(&from->answer), &list, 1);
    if (list.value.type != SCAN_OBJECT)
        return false;
    while (scan_next_member(list.value.raw, &pos, &name, &value)) {
        uint64_t n;
        if (!read_number(&value, &n))
            return false;
        for (size_t i = 0; i < counter_rows_n; i++)
            if (scan_string_is(&name, counter_rows[i].name))
                *counter_at(out, &counter_rows[i]) = n;
    }
    return true;
}

static void write_counters(const struct counters *c, struct buf *out)
{
    buf_str(out, STR("\"counters\":{"));
    for (size_t i = 0; i < counter_rows_n; i++)
        buf_printf(out, "%s\"%s\":%" PRIu64, i ? "," : "", counter_rows[i].name,
                   counters_read(c, &counter_rows[i]));
    buf_char(out, '}');
}

static struct str about(const struct cluster_member *m)
{
    return m->about.n ? buf_view(&m->about) : STR("{}");
}

/* {"worker":…} becomes {"worker":…, so that more can follow. */
static void open_about(const struct cluster_member *m, struct buf *out)
{
    struct str object = about(m);
    size_t ignored = 0;
    struct scan_value name, value;
    bool is_empty = !scan_next_member(object, &ignored, &name, &value);
    buf_str(out, (struct str){object.p, object.n - 1});
    buf_str(out, is_empty ? STR_NONE : STR(","));
}

/* As it stands in JSON: each node writes its name in one way only. */
static struct str node_of(const struct cluster_member *m)
{
    struct scan_member node = {"node"};
    scan_object(about(m), &node, 1);
    return node.value.type == SCAN_STRING ? node.value.raw : STR("\"\"");
}

static void write_nodes(const struct cluster_member *v, size_t n, const bool *is_good,
                        struct buf *out)
{
    for (size_t i = 0, told = 0; i < n; i++) {
        size_t before = 0, workers = 0;
        for (size_t k = 0; is_good[i] && k < n; k++) {
            bool is_same = is_good[k] && str_eq(node_of(&v[k]), node_of(&v[i]));
            before += is_same && k < i;
            workers += is_same;
        }
        if (is_good[i] && before == 0)
            buf_printf(out, "%s{\"node\":" STR_FMT ",\"workers\":%zu}", told++ ? "," : "",
                       STR_ARG(node_of(&v[i])), workers);
    }
}

static void merge_stats(const struct cluster_member *v, size_t n, bool *is_good,
                        struct cluster_merged *out)
{
    struct counters sum = {0}, one;
    buf_str(&out->json, STR("\"workers\":["));
    for (size_t i = 0, told = 0; i < n; i++) {
        is_good[i] = v[i].answer.n > 0 && read_counters(&v[i], &one);
        if (!is_good[i])
            continue;
        for (size_t k = 0; k < counter_rows_n; k++)
            *counter_at(&sum, &counter_rows[k]) += counters_read(&one, &counter_rows[k]);
        buf_str(&out->json, told++ ? STR(",") : STR_NONE);
        open_about(&v[i], &out->json);
        write_counters(&one, &out->json);
        buf_char(&out->json, '}');
    }
    buf_str(&out->json, STR("],\"nodes\":["));
    write_nodes(v, n, is_good, &out->json);
    buf_str(&out->json, STR("],"));
    write_counters(&sum, &out->json);
}

/* ---- all of it ---- */

static void merge_closed(const struct cluster_member *v, size_t n, bool *is_good,
                         struct cluster_merged *out)
{
    for (size_t i = 0; i < n; i++) {
        struct scan_member closed = {"closed"};
        uint64_t count = 0;
        if (v[i].answer.n > 0)
            scan_object(buf_view(&v[i].answer), &closed, 1);
        is_good[i] = read_number(&closed.value, &count);
        out->total += count;
    }
    buf_printf(&out->json, "\"closed\":%" PRIu64, out->total);
}

static void write_missing(const struct cluster_member *v, size_t n, const bool *is_good,
                          struct cluster_merged *out)
{
    for (size_t i = 0; i < n; i++) {
        if (is_good[i])
            continue;
        buf_str(&out->json, out->missing++ ? STR(",") : STR(",\"incomplete\":["));
        if (v[i].about.n)
            buf_str(&out->json, about(&v[i]));
        else
            buf_printf(&out->json, "{\"worker\":\"%s\"}", v[i].id);
    }
    buf_str(&out->json, out->missing ? STR("]") : STR_NONE);
}

void cluster_merge(const struct cluster_question *q, const struct cluster_member *v,
                   size_t n, struct cluster_merged *out)
{
    bool *is_good = mem_new(n + 1);
    *out = (struct cluster_merged){0};
    buf_char(&out->json, '{');
    switch (q->what) {
    case CLUSTER_ROOMS:
    case CLUSTER_ROOM:
    case CLUSTER_USER:
        merge_list(q, v, n, is_good, out);
        break;
    case CLUSTER_STATS:
        merge_stats(v, n, is_good, out);
        break;
    default:
        merge_closed(v, n, is_good, out);
    }
    write_missing(v, n, is_good, out);
    buf_str(&out->json, STR("}\n"));
    free(is_good);
}

void cluster_merged_fini(struct cluster_merged *m)
{
    buf_free(&m->json);
}
