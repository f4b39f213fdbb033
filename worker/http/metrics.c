#include "worker/http/metrics.h"

#include "common/mem.h"

void metrics_init(struct metrics *m, bool (*ask)(void *ctx), void *ctx)
{
    *m = (struct metrics){.ask = ask, .ctx = ctx};
    list_init(&m->waiting);
}

void metrics_await(struct metrics *m, struct metrics_wait *w,
                   void (*fn)(struct metrics_wait *w, struct str page))
{
    w->fn = fn;
    if (!m->is_asked)
        m->is_asked = m->ask(m->ctx);
    if (m->is_asked)
        list_append(&m->waiting, &w->link);
    else
        fn(w, STR_NONE);
}

void metrics_give_up(struct metrics *m)
{
    m->is_asked = false;
}

/* Prometheus wants totals to be called so. */
static void write_row(struct buf *out, const struct counter_row *row,
                      const struct counters *slots, size_t n)
{
    const char *suffix = row->is_gauge ? "" : "_total";
    buf_printf(out, "# HELP heliod_%s%s %s\n# TYPE heliod_%s%s %s\n", row->name, suffix,
               row->help, row->name, suffix, row->is_gauge ? "gauge" : "counter");
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "heliod_%s%s{slot=\"%zu\"} %" PRIu64 "\n", row->name, suffix, i,
                   counters_read(&slots[i], row));
}

void metrics_write(struct buf *out, const struct counters *slots, size_t n)
{
    for (size_t i = 0; i < counter_rows_n; i++)
        write_row(out, &counter_rows[i], slots, n);
}

void metrics_came(struct metrics *m, struct str pages)
{
    struct list answered;
    struct buf page = {0};
    size_t n = pages.n / sizeof(struct counters);
    struct counters *slots = mem_new(pages.n + 1); /* aligned, other than the message */
    memcpy(slots, pages.p, n * sizeof(*slots));
    metrics_write(&page, slots, n);
    m->is_asked = false;
    list_take(&answered, &m->waiting);
    LIST_EACH_SAFE (node, &answered) {
        struct metrics_wait *w = container_of(node, struct metrics_wait, link);
        list_unlink(&w->link);
        w->fn(w, buf_view(&page));
    }
    buf_free(&page);
    free(slots);
}
