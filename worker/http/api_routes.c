#include "worker/http/api_routes.h"

#include "common/utf8.h"

#define SHOWN_MAX 40

#define LISTS "GET, HEAD, OPTIONS"

static const struct api_route routes[] = {
    {"/api/rooms", LISTS, "limit, after", false, api_serve_rooms},
    {"/api/rooms/{room}", LISTS, "limit, after", false, api_serve_room},
    {"/api/users/{user}", LISTS, "limit, after", false, api_serve_user},
    {"/api/users/{user}/connections", "DELETE, OPTIONS", "", false, api_serve_kick_user},
    {"/api/clients/{id}", "DELETE, OPTIONS", "", false, api_serve_kick_client},
    {"/api/stats", LISTS, "", false, api_serve_stats},
    {"/api/events", "POST, OPTIONS", "", true, api_serve_events},
    {"/api/notifications", "POST, OPTIONS", "", true, api_serve_notifications},
    {"/api/tickets", "POST, OPTIONS", "", true, api_serve_tickets},
    {"/metrics", LISTS, NULL, false, api_serve_metrics},
};

/* Segment by segment, still encoded. */
static bool fits(struct str pattern, struct str path, struct str *name)
{
    while (pattern.p && path.p) {
        struct str want = str_split(pattern, '/', &pattern);
        struct str have = str_split(path, '/', &path);
        if (str_starts(want, STR("{")))
            *name = have;
        else if (!str_eq(want, have))
            return false;
    }
    return !pattern.p && !path.p;
}

const struct api_route *api_routes_find(struct str path)
{
    struct str name;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (fits(str_of(routes[i].path), path, &name))
            return &routes[i];
    return NULL;
}

static bool is_listed(const char *list, struct str word)
{
    struct str rest = str_of(list);
    while (rest.p)
        if (str_eq(str_trim(str_split(rest, ',', &rest)), word))
            return true;
    return false;
}

bool api_routes_allow(const struct api_route *route, struct str method)
{
    return is_listed(route->methods, method);
}

/* ---- what a request says in its path and query ---- */

static int read_encoded(struct str text, const char *what, struct buf *out, struct err *e)
{
    size_t n;
    buf_clear(out);
    buf_reserve(out, text.n + 1);
    if (!request_decode(text, out->p, out->cap, &n) || !utf8_ok(out->p, n))
        return err_set(e, "%s is not UTF-8 in percent-encoding", what);
    out->n = n;
    return 0;
}

static int read_name(struct api_call *call, struct str path, struct err *e)
{
    struct str name = STR_NONE;
    fits(str_of(call->route->path), path, &name);
    if (!name.p)
        return 0;
    if (name.n == 0)
        return err_set(e, "%s has an empty segment", call->route->path);
    return read_encoded(name, "a segment of the path", &call->name, e);
}

static int read_limit(struct api_call *call, struct str text, struct err *e)
{
    uint64_t limit = 0;
    if (!str_to_u64(text, API_LIMIT_MAX, &limit) || limit == 0)
        return err_set(e, "`limit` is not a number from 1 to %d", API_LIMIT_MAX);
    call->limit = (unsigned)limit;
    return 0;
}

/* As forms do: + is a blank. */
static int read_parameter(struct api_call *call, struct str text, struct err *e)
{
    struct str value, name = str_split(text, '=', &value);
    if (!is_listed(call->route->parameters, name) || name.n == 0) {
        struct buf shown = {0};
        buf_escape(&shown, name, SHOWN_MAX);
        err_set(e, "the query has `%s`, which nobody knows here", buf_cstr(&shown));
        buf_free(&shown);
        return -1;
    }
    struct buf plain = {0}, out = {0};
    buf_str(&plain, value);
    for (size_t i = 0; i < plain.n; i++)
        plain.p[i] = plain.p[i] == '+' ? ' ' : plain.p[i];
    int rc = read_encoded(buf_view(&plain), "a value in the query", &out, e);
    if (rc == 0 && str_is(name, "limit")) {
        rc = read_limit(call, buf_view(&out), e);
    } else if (rc == 0) {
        buf_clear(&call->after);
        buf_str(&call->after, buf_view(&out));
    }
    buf_free(&plain);
    buf_free(&out);
    return rc;
}

int api_routes_read(struct api_call *call, const struct request *r, struct err *e)
{
    struct str rest = call->route->parameters ? r->query : STR_NONE;
    call->limit = API_LIMIT;
    if (read_name(call, r->path, e) != 0)
        return -1;
    while (rest.n > 0) {
        struct str one = str_split(rest, '&', &rest);
        if (one.n > 0 && read_parameter(call, one, e) != 0)
            return -1;
    }
    return 0;
}
