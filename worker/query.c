#include "worker/query.h"

#include "common/json.h"
#include "common/mem.h"
#include "worker/ledger.h"
#include "worker/people.h"

#define ROWS_A_BREATH 500
#define QUEUED_MAX (256 * 1024) /* bytes the channel may owe before more is added */

struct filter {
    struct json_object *json;
    struct str user, room, endpoint, address, id;
};

/* A walk over the connections that goes on as the channel empties. */
struct answer {
    struct list link;
    uint32_t id;
    enum msg_what what; /* connections, or the rooms or users of those that match */
    struct filter filter;
    size_t cursor;        /* connections below it are still to be looked at */
    uint64_t rows, limit; /* of connections */
    bool left_out;
};

/* A member that is there must say something: an empty user would mean all who have none.
 */
static int take_member(struct json_object *json, const char *name, struct str *out,
                       struct err *e)
{
    *out = json_get_str(json, name);
    if (!json_get(json, name) || out->n > 0)
        return 0;
    return err_set(e, "the filter's %s is empty or no text", name);
}

static int filter_read(struct filter *f, struct str text, struct err *e)
{
    memset(f, 0, sizeof(*f));
    if (text.n == 0)
        return 0;
    f->json = json_read(text, e);
    if (!f->json || !json_object_is_type(f->json, json_type_object)) {
        json_object_put(f->json);
        f->json = NULL;
        return err_set(e, "the filter is not a JSON object");
    }
    if (take_member(f->json, "user", &f->user, e) == 0 &&
        take_member(f->json, "room", &f->room, e) == 0 &&
        take_member(f->json, "endpoint", &f->endpoint, e) == 0 &&
        take_member(f->json, "address", &f->address, e) == 0 &&
        take_member(f->json, "id", &f->id, e) == 0)
        return 0;
    json_object_put(f->json);
    f->json = NULL;
    return -1;
}

static bool filter_is_empty(const struct filter *f)
{
    return !f->user.p && !f->room.p && !f->endpoint.p && !f->address.p && !f->id.p;
}

static bool has_id(const struct conn *c, struct str id)
{
    char text[UUID_TEXT + 1];
    if (!c->env)
        return false;
    uuid_text(&c->st.uuid, text);
    return str_is(id, text);
}

static bool has_address(const struct conn *c, struct str address)
{
    struct buf b = {0};
    conn_address(c, &b, false);
    bool same = str_eq(buf_view(&b), address);
    buf_free(&b);
    return same;
}

static bool is_at(const struct conn *c, struct str path)
{
    const struct endpoint *e = people_endpoint(c);
    return e && str_eq(e->set->c->path, path);
}

static bool matches(const struct worker *w, const struct conn *c, const struct filter *f)
{
    if (c->st.phase == CONN_DEAD)
        return false;
    if (f->user.p && !str_eq(people_user(c), f->user))
        return false;
    if (f->room.p && !people_is_in(w, c, f->room))
        return false;
    if (f->endpoint.p && !is_at(c, f->endpoint))
        return false;
    if (f->address.p && !has_address(c, f->address))
        return false;
    return !f->id.p || has_id(c, f->id);
}

static const char *phase_name(const struct conn *c)
{
    static const char *const names[] = {"opening", "open", "closing", "draining", "dead"};
    return names[c->st.phase];
}

static void describe(struct worker *w, struct conn *c, struct buf *row)
{
    char id[UUID_TEXT + 1] = "";
    int64_t now = net_now(&w->net);
    if (c->env)
        uuid_text(&c->st.uuid, id);
    buf_printf(row, "{\"id\":\"%s\",\"slot\":%u,\"worker\":%u,\"address\":\"", id,
               w->slot, w->number);
    conn_address(c, row, true);
    buf_printf(row,
               "\",\"state\":\"%s\",\"age_ms\":%" PRId64 ",\"idle_ms\":%" PRId64
               ",\"queued\":%u",
               phase_name(c), now - c->st.opened_ms, now - c->st.seen_ms, c->out.bytes);
    const struct endpoint *e = people_endpoint(c);
    if (e) {
        buf_str(row, STR(",\"endpoint\":"));
        buf_json(row, e->set->c->path);
        buf_printf(row, ",\"protocol\":\"%s\"", e->protocol->name);
        if (c->st.window_bits)
            buf_printf(row, ",\"compression\":\"deflate/%u\"", c->st.window_bits);
        if (e->protocol->describe)
            e->protocol->describe(c, row);
    }
    buf_char(row, '}');
}

/* Rows of one answer on their way out. */
struct telling {
    struct worker *w;
    uint32_t id;
    struct buf row;
    const struct endpoint *at; /* of the rooms that are told now; NULL: of several */
    bool failed, left_out;
};

/* A row no message can hold (a back end may call its users what it likes) is left out. */
static void tell(struct telling *t)
{
    if (t->row.n > MSG_TAIL_MAX)
        t->left_out = true;
    else
        t->failed |= CHAN_SEND(&t->w->chan, ROW, struct msg_id, buf_view(&t->row), -1,
                               .id = t->id) != 0;
    buf_clear(&t->row);
}

static void end(struct worker *w, uint32_t id, uint32_t status, uint64_t count,
                const char *why)
{
    CHAN_SEND(&w->chan, END, struct msg_end, str_of(why), -1, .id = id, .status = status,
              .count = count);
}

static void end_telling(const struct telling *t, uint64_t rows)
{
    const char *why = t->failed     ? "the control channel is full"
                      : t->left_out ? "a name is too long to be shown"
                                    : "";
    end(t->w, t->id, *why ? END_PARTIAL : END_OK, rows, why);
}

/* helioctl sums the rows of a name. */
static void tell_name(struct telling *t, const char *what, struct str name,
                      const char *count, size_t n)
{
    buf_printf(&t->row, "{\"%s\":", what);
    buf_json(&t->row, name);
    buf_printf(&t->row, ",\"%s\":%zu,\"slot\":%u", count, n, t->w->slot);
    if (t->at) {
        buf_str(&t->row, STR(",\"endpoint\":"));
        buf_json(&t->row, t->at->set->c->path);
    }
    buf_char(&t->row, '}');
    tell(t);
}

/* Where rooms belong to their endpoint, of the same name or not. NULL: they do not. */
static const struct endpoint *owner_of_rooms(const struct endpoint *e)
{
    return e && e->protocol->each_room ? e : NULL;
}

static void tell_room(void *ctx, struct str room)
{
    tell_name(ctx, "room", room, "members", 1);
}

static void tell_connection(struct telling *t, enum msg_what what, struct conn *c)
{
    struct str user = people_user(c);
    if (what == QUERY_ROOMS) {
        t->at = owner_of_rooms(people_endpoint(c));
        people_each_room(c, tell_room, t);
    } else if (what == QUERY_USERS && user.p) {
        tell_name(t, "user", user, "connections", 1);
    } else if (what == QUERY_CONNECTIONS) {
        describe(t->w, c, &t->row);
        tell(t);
    }
}

static void answer_free(struct answer *a)
{
    list_unlink(&a->link);
    json_object_put(a->filter.json);
    free(a);
}

/* One helping; the answer is gone when it is complete. */
static void go_on(struct worker *w, struct answer *a)
{
    struct telling t = {.w = w, .id = a->id, .left_out = a->left_out};
    unsigned told = 0;
    a->cursor = MIN(a->cursor, w->net.conns_n);
    while (a->cursor > 0 && a->rows < a->limit && told < ROWS_A_BREATH && !t.failed) {
        struct conn *c = w->net.conns[--a->cursor];
        if (!matches(w, c, &a->filter))
            continue;
        tell_connection(&t, a->what, c);
        told++;
        a->rows++;
    }
    buf_free(&t.row);
    a->left_out = t.left_out;
    if (!t.failed && a->cursor > 0 && a->rows < a->limit)
        return;
    end_telling(&t, a->rows);
    answer_free(a);
}

bool query_owes(const struct worker *w)
{
    return !list_is_empty(&w->answers) && chan_queued(&w->chan) < QUEUED_MAX;
}

void query_go_on(struct worker *w)
{
    if (!query_owes(w))
        return;
    LIST_EACH_SAFE (node, &w->answers)
        go_on(w, container_of(node, struct answer, link));
}

/* All rooms or users: they are counted already. */
struct names {
    struct telling telling;
    const char *what, *count;
    uint64_t rows, limit;
};

static void send_name(void *ctx, struct str name, size_t members)
{
    struct names *n = ctx;
    if (n->telling.failed || n->rows == n->limit)
        return;
    tell_name(&n->telling, n->what, name, n->count, members);
    n->rows++;
}

static void query_names(struct worker *w, uint32_t id, uint32_t limit, bool rooms)
{
    struct names n = {.telling = {.w = w, .id = id}, .limit = limit ? limit : UINT64_MAX};
    n.what = rooms ? "room" : "user";
    n.count = rooms ? "members" : "connections";
    hub_each(w->hub, rooms ? HUB_ROOM : HUB_USER, send_name, &n);
    LIST_EACH (node, &w->endpoints) {
        struct endpoint *e = container_of(node, struct endpoint, link);
        n.telling.at = owner_of_rooms(e);
        if (rooms && n.telling.at)
            e->protocol->each_room(e, send_name, &n);
    }
    buf_free(&n.telling.row);
    end_telling(&n.telling, n.rows);
}

/* Does the hub have all of them counted? */
static bool has_counted(const struct worker *w, uint32_t what)
{
    bool all = true;
    LIST_EACH (node, &w->endpoints) {
        const struct protocol *p = container_of(node, struct endpoint, link)->protocol;
        all &= !p->user || p == &protocol_events;
    }
    return what == QUERY_ROOMS || all;
}

static void query_walk(struct worker *w, struct answer *a, uint32_t limit)
{
    a->cursor = w->net.conns_n;
    a->limit = limit ? limit : UINT64_MAX;
    list_append(&w->answers, &a->link);
}

static void query_memory(struct worker *w, uint32_t id)
{
    struct telling t = {.w = w, .id = id};
    ledger_write(w, &t.row);
    tell(&t);
    buf_free(&t.row);
    end_telling(&t, 1);
}

void query_start(struct worker *w, uint32_t id, uint32_t what, uint32_t limit,
                 struct str filter)
{
    struct err e = {0};
    if (what == QUERY_MEMORY) {
        query_memory(w, id);
        return;
    }
    if (what != QUERY_CONNECTIONS && what != QUERY_ROOMS && what != QUERY_USERS) {
        end(w, id, END_USAGE, 0, "a worker has no answer to this question");
        return;
    }
    struct answer *a = NEW(struct answer);
    list_init(&a->link);
    a->id = id;
    a->what = what;
    if (filter_read(&a->filter, filter, &e) != 0) {
        end(w, id, END_USAGE, 0, e.text);
        answer_free(a);
    } else if (what == QUERY_CONNECTIONS || !filter_is_empty(&a->filter) ||
               !has_counted(w, what)) {
        query_walk(w, a, limit);
    } else {
        query_names(w, id, limit, what == QUERY_ROOMS);
        answer_free(a);
    }
}

static void kick(struct worker *w, struct conn *c)
{
    const struct protocol *p = people_endpoint(c) ? people_endpoint(c)->protocol : NULL;
    COUNT(w->counters, closed_kicked);
    if (p && p->kicked)
        p->kicked(c);
    session_close(c, 4411, "Disconnected by an operator");
}

int64_t query_kick(struct worker *w, struct str text, struct err *e)
{
    struct filter f;
    int64_t n = 0;
    if (filter_read(&f, text, e) != 0)
        return -1;
    for (size_t i = 0; i < w->net.conns_n && !filter_is_empty(&f); i++) {
        struct conn *c = w->net.conns[i];
        if (c->st.phase != CONN_OPEN || !matches(w, c, &f))
            continue;
        kick(w, c);
        n++;
    }
    json_object_put(f.json);
    return n;
}

void query_fini(struct worker *w)
{
    LIST_EACH_SAFE (node, &w->answers)
        answer_free(container_of(node, struct answer, link));
}
