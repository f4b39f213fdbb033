#include "worker/census.h"

#include "common/mem.h"
#include "worker/people.h"
#include "worker/pick.h"
#include "worker/query.h"

/* ---- rows: as many as fit, in order ---- */

static void write_rows(const struct pick *p, struct buf *json,
                       void (*write)(const struct pick_item *i, struct buf *json))
{
    size_t start = json->n, i = 0;
    buf_str(json, STR("\"rows\":["));
    for (; i < p->n && (i == 0 || json->n - start < CLUSTER_ANSWER_MAX); i++) {
        buf_str(json, i ? STR(",") : STR_NONE);
        write(&p->v[i], json);
    }
    buf_printf(json, "],\"more\":%s", i < p->n || p->left_out ? "true" : "false");
}

/* ---- rooms: by endpoint, then by name ---- */

struct rooms_walk {
    struct pick pick;
    struct endpoint *endpoint; /* of the rooms that come now */
    struct map tallies;        /* of events, where several endpoints share them */
    struct buf key;
};

static void add_room(void *ctx, struct str room, size_t members)
{
    struct rooms_walk *r = ctx;
    buf_clear(&r->key);
    buf_str(&r->key, r->endpoint->set->c->path);
    buf_char(&r->key, ' ');
    buf_str(&r->key, room);
    pick_add(&r->pick, buf_view(&r->key), r->endpoint, members);
}

struct tally {
    struct str room; /* the hub's */
    size_t members;
};

static struct str tally_key(const void *item)
{
    return ((const struct tally *)item)->room;
}

static void tally_room(void *ctx, struct str room)
{
    struct rooms_walk *r = ctx;
    struct tally *t = map_get(&r->tallies, room);
    if (!t) {
        t = NEW(struct tally);
        t->room = room;
        map_put(&r->tallies, t);
    }
    t->members++;
}

/* The hub has its rooms counted over all endpoints; here is who came in by this one. */
static void add_tallied(struct worker *w, struct rooms_walk *r)
{
    map_init(&r->tallies, tally_key);
    for (size_t i = 0; i < w->net.conns_n; i++)
        if (people_endpoint(w->net.conns[i]) == r->endpoint)
            hub_each_room(w->net.conns[i], tally_room, r);
    MAP_EACH (struct tally, t, &r->tallies) {
        add_room(r, t->room, t->members);
        free(t);
    }
    map_fini(&r->tallies);
}

static unsigned count_events(const struct worker *w)
{
    unsigned n = 0;
    LIST_EACH (node, &w->endpoints)
        n += container_of(node, struct endpoint, link)->protocol == &protocol_events;
    return n;
}

static void add_rooms_of(struct worker *w, struct rooms_walk *r)
{
    const struct protocol *p = r->endpoint->protocol;
    if (p->each_room)
        p->each_room(r->endpoint, add_room, r);
    else if (p == &protocol_events && count_events(w) == 1)
        hub_each(w->hub, HUB_ROOM, add_room, r);
    else if (p == &protocol_events)
        add_tallied(w, r);
}

static void write_room(const struct pick_item *i, struct buf *json)
{
    struct str path = ((const struct endpoint *)i->what)->set->c->path;
    buf_char(json, '[');
    buf_json(json, path);
    buf_char(json, ',');
    buf_json(json, (struct str){i->key + path.n + 1, i->key_n - path.n - 1});
    buf_printf(json, ",%" PRIu64 "]", i->count);
}

static void tell_rooms(struct worker *w, const struct cluster_question *q,
                       struct buf *json)
{
    struct rooms_walk r = {0};
    pick_init(&r.pick, q->after, q->limit);
    LIST_EACH (node, &w->endpoints) {
        r.endpoint = container_of(node, struct endpoint, link);
        add_rooms_of(w, &r);
    }
    pick_sort(&r.pick);
    write_rows(&r.pick, json, write_room);
    pick_fini(&r.pick);
    buf_free(&r.key);
}

/* ---- connections, by id ---- */

static bool is_meant(const struct worker *w, const struct cluster_question *q,
                     const struct conn *c)
{
    if (c->st.phase != CONN_OPEN || !people_endpoint(c))
        return false;
    if (q->what == CLUSTER_ROOM)
        return people_is_in(w, c, q->name);
    struct str user = people_user(c);
    return user.p && str_eq(user, q->name);
}

static void write_connection(const struct pick_item *i, struct buf *json)
{
    const struct conn *c = i->what;
    struct str user = people_user(c);
    buf_printf(json, "[\"" STR_FMT "\",", (int)i->key_n, i->key);
    if (user.p)
        buf_json(json, user);
    else
        buf_str(json, STR("null"));
    buf_char(json, ',');
    buf_json(json, people_endpoint(c)->set->c->path);
    buf_char(json, ']');
}

static void tell_connections(struct worker *w, const struct cluster_question *q,
                             struct buf *json)
{
    struct pick p;
    size_t total = 0;
    pick_init(&p, q->after, q->limit);
    for (size_t i = 0; i < w->net.conns_n; i++) {
        struct conn *c = w->net.conns[i];
        char id[UUID_TEXT + 1];
        if (!is_meant(w, q, c))
            continue;
        total++;
        uuid_text(&c->st.uuid, id);
        pick_add(&p, str_of(id), c, 1);
    }
    pick_sort(&p);
    buf_printf(json, "\"total\":%zu,", total);
    write_rows(&p, json, write_connection);
    pick_fini(&p);
}

/* ---- the others ---- */

static void tell_counters(const struct worker *w, struct buf *json)
{
    buf_str(json, STR("\"counters\":{"));
    for (size_t i = 0; i < counter_rows_n; i++)
        buf_printf(json, "%s\"%s\":%" PRIu64, i ? "," : "", counter_rows[i].name,
                   counters_read(w->counters, &counter_rows[i]));
    buf_char(json, '}');
}

static void kick(struct worker *w, const struct cluster_question *q, struct buf *json)
{
    struct buf filter = {0};
    struct err e;
    buf_printf(&filter, "{\"%s\":", q->what == CLUSTER_KICK_USER ? "user" : "id");
    buf_json(&filter, q->name);
    buf_char(&filter, '}');
    int64_t n = query_kick(w, buf_view(&filter), &e);
    buf_printf(json, "\"closed\":%" PRId64, MAX(n, 0));
    buf_free(&filter);
}

void census_answer(void *worker, const struct cluster_question *q, struct buf *json)
{
    struct worker *w = worker;
    buf_char(json, '{');
    switch (q->what) {
    case CLUSTER_ROOMS:
        tell_rooms(w, q, json);
        break;
    case CLUSTER_ROOM:
    case CLUSTER_USER:
        tell_connections(w, q, json);
        break;
    case CLUSTER_STATS:
        tell_counters(w, json);
        break;
    default:
        kick(w, q, json);
    }
    buf_char(json, '}');
}
