/* events_rooms: join, leave, publish (PROTOCOL A5, A10, A12). */
#include "worker/protocols/events_client.h"

#include "common/log.h"
#include "worker/protocols/pattern.h"

#define ROOM "events"
#define NAME_MAX_UNITS 256
#define NAMES_A_REQUEST 100

/* Step 1 of a join: what may be a room's name at all. */
static bool is_name(struct str name)
{
    return name.n > 0 && !str_starts(name, STR("ws:")) &&
           (name.n <= NAME_MAX_UNITS || scan_utf16_length(name) <= NAME_MAX_UNITS);
}

static struct hub *hub_of(const struct conn *c)
{
    return endpoint_of(c)->services->hub;
}

/* The array `rooms` of a join or leave; p NULL when there is none. */
static struct str names_of(const struct events_message *m)
{
    struct scan_member wanted[] = {{.name = "rooms"}};
    if (m->data.type != SCAN_OBJECT)
        return STR_NONE;
    scan_object(m->data.raw, wanted, 1);
    return wanted[0].value.type == SCAN_ARRAY ? wanted[0].value.raw : STR_NONE;
}

/* Calls fn for each usable name of an array, at most NAMES_A_REQUEST. */
static void each_name(struct str array, void (*fn)(void *ctx, struct str name), void *ctx)
{
    struct scan_value v;
    struct buf scratch = {0};
    size_t pos = 0;
    unsigned n = 0;
    while (array.p && n < NAMES_A_REQUEST && scan_next(array, &pos, &v)) {
        buf_clear(&scratch);
        if (v.type != SCAN_STRING)
            continue;
        struct str name = scan_string(&v, &scratch);
        if (!is_name(name))
            continue;
        n++;
        fn(ctx, name);
    }
    buf_free(&scratch);
}

static void add_name(struct buf *list, struct str name)
{
    buf_str(list, list->n ? STR(",") : STR(""));
    buf_json(list, name);
}

/* ---- join ---- */

struct joining {
    struct conn *c;
    struct pattern_subject who;
    char id[UUID_TEXT + 1];
    struct buf joined, asked; /* names as JSON, comma-separated */
    bool may_ask;
    struct str only; /* raw array of names that were asked for; p NULL: any */
};

static void enter(struct joining *j, struct str name)
{
    struct conn *c = j->c;
    if (!hub_is_member(hub_of(c), c, name) &&
        hub_room_count(c) >= (size_t)events_conf(c)->max_rooms) {
        COUNT(c->net->counters, room_limit);
        return;
    }
    hub_join(hub_of(c), c, name);
    add_name(&j->joined, name);
}

static void enter_unasked(void *ctx, struct str name)
{
    enter(ctx, name);
}

static void consider(void *ctx, struct str name)
{
    struct joining *j = ctx;
    if (pattern_permits(&events_conf(j->c)->rooms.join, name, &j->who))
        enter(j, name);
    else if (j->may_ask)
        add_name(&j->asked, name);
}

void events_join_array(struct conn *c, struct str array)
{
    struct joining j = {.c = c};
    each_name(array, enter_unasked, &j);
    buf_free(&j.joined);
}

static void joined(struct hub_wait *w)
{
    struct events_pending *p = container_of(w, struct events_pending, wait);
    struct conn *c = p->c;
    struct buf rooms = {0};
    p->waits = false;
    buf_printf(&rooms, "[" STR_FMT "]", STR_ARG(buf_view(&p->joined)));
    if (p->ack_id.n)
        events_ack(c, buf_view(&p->ack_id), true, buf_view(&rooms), NULL);
    buf_free(&rooms);
    events_pending_done(c);
}

/* Later messages of this client wait until Redis has confirmed the rooms. */
static void await_rooms(struct conn *c)
{
    struct events_pending *p = events_of(c)->pending;
    conn_pause(c);
    p->waits = true;
    hub_await(hub_of(c), &p->wait, joined);
}

static bool was_asked(struct str array, struct str name)
{
    struct scan_value v;
    struct buf scratch = {0};
    size_t pos = 0;
    bool found = false;
    while (!found && scan_next(array, &pos, &v)) {
        buf_clear(&scratch);
        found = str_eq(scan_string(&v, &scratch), name);
    }
    buf_free(&scratch);
    return found;
}

static void enter_if_asked(void *ctx, struct str name)
{
    struct joining *j = ctx;
    if (was_asked(j->only, name))
        enter(j, name);
}

static void on_permitted(void *ctx, int status, struct str body, const char *why)
{
    struct events_pending *p = ctx;
    struct conn *c = p->c;
    p->call = NULL;
    if (events_is_over(c))
        return;
    bool good = status == 200 && scan_text(body, NULL, 0) == SCAN_ARRAY;
    if (good) {
        struct joining j = {.c = c, .joined = p->joined, .only = buf_view(&p->text)};
        each_name(scan_value_of(body).raw, enter_if_asked, &j);
        p->joined = j.joined;
    } else {
        log_debug("rooms hook %s status=%d: %s", conn_esc(c), status,
                  why ? why : "not an array");
    }
    await_rooms(c);
}

/* The names no pattern permits are the back end's to judge. */
static void ask_rooms(struct conn *c, struct str asked)
{
    struct events_pending *p = events_of(c)->pending;
    struct buf body = {0};
    buf_printf(&p->text, "[" STR_FMT "]", STR_ARG(asked));
    events_hook_body(c, "rooms", &body);
    buf_str(&body, STR(",\"rooms\":"));
    buf_str(&body, buf_view(&p->text));
    buf_char(&body, '}');
    conn_pause(c);
    events_hook_ask(p, p->set->c->hooks.rooms, buf_view(&body), on_permitted);
    buf_free(&body);
}

void events_join(struct conn *c, const struct events_message *m)
{
    struct str array = names_of(m);
    struct joining j = {.c = c, .may_ask = events_conf(c)->hooks.rooms.n > 0};
    if (!array.p) {
        if (m->id.type != SCAN_BAD)
            events_ack(c, m->id.raw, false, STR_NONE, "data.rooms is not an array");
        return;
    }
    events_id(c, j.id);
    j.who = (struct pattern_subject){events_user(c), str_of(j.id)};
    each_name(array, consider, &j);
    struct events_pending *p = events_pending_new(c);
    if (m->id.type != SCAN_BAD)
        buf_str(&p->ack_id, m->id.raw);
    p->joined = j.joined;
    if (j.asked.n)
        ask_rooms(c, buf_view(&j.asked));
    else
        await_rooms(c);
    buf_free(&j.asked);
}

/* ---- leave ---- */

static void leave_one(struct conn *c, struct str name, struct buf *left)
{
    if (hub_leave(hub_of(c), c, name))
        add_name(left, name);
}

void events_leave(struct conn *c, const struct events_message *m)
{
    struct str array = names_of(m);
    struct buf scratch = {0}, left = {0}, rooms = {0};
    struct scan_value v;
    size_t pos = 0;
    while (array.p && scan_next(array, &pos, &v)) {
        buf_clear(&scratch);
        if (v.type == SCAN_STRING)
            leave_one(c, scan_string(&v, &scratch), &left);
    }
    buf_printf(&rooms, "[" STR_FMT "]", STR_ARG(buf_view(&left)));
    if (m->id.type != SCAN_BAD)
        events_ack(c, m->id.raw, array.p != NULL, array.p ? buf_view(&rooms) : STR_NONE,
                   array.p ? NULL : "data.rooms is not an array");
    buf_free(&scratch);
    buf_free(&left);
    buf_free(&rooms);
}

/* ---- publish ---- */

static void say_no(struct conn *c, const struct events_message *m, const char *message)
{
    if (events_conf(c)->acknowledge && m->id.type != SCAN_BAD)
        events_ack(c, m->id.raw, false, STR_NONE, message);
    else
        events_error(c, message);
}

static bool may_publish(struct conn *c, struct str room)
{
    char id[UUID_TEXT + 1];
    events_id(c, id);
    struct pattern_subject who = {events_user(c), str_of(id)};
    return is_name(room) && pattern_permits(&events_conf(c)->rooms.publish, room, &who);
}

void events_publish(struct conn *c, const struct events_message *m)
{
    struct scan_member wanted[] = {{.name = "room"}, {.name = "event"}, {.name = "data"}};
    struct scan_value *room = &wanted[0].value, *event = &wanted[1].value,
                      *data = &wanted[2].value;
    struct buf scratch = {0};
    if (m->data.type == SCAN_OBJECT)
        scan_object(m->data.raw, wanted, ARRAY_LEN(wanted));
    if (room->type != SCAN_STRING || event->type != SCAN_STRING || event->raw.n <= 2) {
        say_no(c, m, "Invalid message format");
        return;
    }
    struct str name = scan_string(room, &scratch);
    if (!may_publish(c, name)) {
        say_no(c, m, "Publish not permitted");
        buf_free(&scratch);
        return;
    }
    struct hub_event ev = {.kind = HUB_ROOM,
                           .target = name,
                           .event_json = event->raw,
                           .data_json = data->raw,
                           .except = c};
    COUNT(c->net->counters, events_published);
    if (!hub_publish(hub_of(c), &ev))
        say_no(c, m, "Bus unavailable");
    else if (m->id.type != SCAN_BAD)
        events_ack(c, m->id.raw, true, STR_NONE, NULL);
    buf_free(&scratch);
}
