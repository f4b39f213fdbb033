#include "supervisor/ctl/doctor.h"

#include "common/json.h"

/* The endpoint of the URL among the rows of `show config`, which come endpoint by
 * endpoint, its path first. */
struct search {
    struct str path; /* of the URL */
    const char *key; /* "].allowed_origins" */
    bool is_here;    /* the rows that come are those of the endpoint */
    struct buf *where, *value;
};

static struct str without_slash(struct str path)
{
    return (struct str){path.p, path.n - str_ends(path, STR("/"))};
}

/* A segment in braces takes any; one slash at the end makes no difference worth a word.
 */
static bool fits(struct str pattern, struct str path)
{
    pattern = without_slash(pattern);
    path = without_slash(path);
    while (pattern.p && path.p) {
        struct str want = str_split(pattern, '/', &pattern);
        struct str got = str_split(path, '/', &path);
        if (!str_starts(want, STR("{")) && !str_eq(want, got))
            return false;
    }
    return !pattern.p && !path.p;
}

static void on_row(void *ctx, struct str row)
{
    struct search *s = ctx;
    struct err e;
    struct json_object *o = json_read(row, &e);
    struct str key = json_get_str(o, "key"), value = json_get_str(o, "value");
    int64_t line = json_get_int(o, "line", 0);
    bool is_endpoint = str_starts(key, STR("endpoints["));

    if (is_endpoint && str_ends(key, STR("].path")))
        s->is_here = fits(value, s->path);
    else if (is_endpoint && s->is_here && str_ends(key, str_of(s->key))) {
        buf_clear(s->where);
        buf_printf(s->where, STR_FMT, STR_ARG(key));
        if (line > 0)
            buf_printf(s->where, " (line %" PRId64 ")", line);
        buf_clear(s->value);
        buf_str(s->value, value);
    }
    json_object_put(o);
}

bool doctor_config_get(struct doctor *d, const char *key, struct buf *where,
                       struct buf *value)
{
    struct search s = {.key = key, .where = where, .value = value};
    struct msg_query q = {.what = QUERY_CONFIG};
    struct err e;
    uint64_t count;

    s.path = str_split(buf_view(&d->url.target), '?', &(struct str){0});
    return d->is_running && d->is_ours &&
           ctl_ask(d->ctl, MSG_CTL_QUERY, &q, STR_NONE, on_row, &s, &count, &e) ==
               END_OK &&
           value->n > 0;
}

/* ---- its workers ---- */

static void on_worker(void *ctx, struct str row)
{
    int64_t *sum = ctx;
    struct err e;
    struct json_object *o = json_read(row, &e);

    *sum += json_get_int(o, "restarts", 0);
    json_object_put(o);
}

int64_t doctor_restarts(struct doctor *d)
{
    struct msg_query q = {.what = QUERY_WORKERS};
    struct err e;
    uint64_t count;
    int64_t sum = 0;

    if (!d->is_running || !d->is_ours ||
        ctl_ask(d->ctl, MSG_CTL_QUERY, &q, STR_NONE, on_worker, &sum, &count, &e) !=
            END_OK)
        return -1;
    return sum;
}
