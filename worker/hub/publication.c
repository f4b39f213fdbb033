#include "worker/hub/publication.h"

#include "common/strict.h"

static const char *const kinds[] = {
    [HUB_CLIENT] = "client",
    [HUB_USER] = "user",
    [HUB_ROOM] = "room",
    [HUB_BROADCAST] = "broadcast",
};

/* How many of `to` are there; the last one counts. */
static unsigned read_target(struct str to, struct hub_event *ev, struct buf *scratch)
{
    struct scan_member m[ARRAY_LEN(kinds)] = {{0}};
    unsigned found = 0;
    for (size_t i = 0; i < ARRAY_LEN(m); i++)
        m[i].name = kinds[i];
    scan_object(to, m, ARRAY_LEN(m));
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        bool is_broadcast = i == HUB_BROADCAST;
        if (m[i].value.type != (is_broadcast ? SCAN_TRUE : SCAN_STRING))
            continue;
        ev->kind = (enum hub_kind)i;
        ev->target = is_broadcast ? STR_NONE : scan_string(&m[i].value, scratch);
        found++;
    }
    return found;
}

int publication_read(struct str object, struct hub_event *ev, struct buf *scratch,
                     struct err *e)
{
    enum { TO, EVENT, DATA, EXCLUDE, MEMBERS };
    struct scan_member m[MEMBERS] = {{"to"}, {"event"}, {"data"}, {"exclude"}};
    memset(ev, 0, sizeof(*ev));
    scan_object(object, m, MEMBERS);
    if (m[TO].value.type != SCAN_OBJECT)
        return err_set(e, "`to` is not an object");
    if (m[EVENT].value.type != SCAN_STRING || m[EVENT].value.raw.n <= 2)
        return err_set(e, "`event` is not a text");
    if (read_target(m[TO].value.raw, ev, scratch) != 1 ||
        (ev->kind != HUB_BROADCAST && ev->target.n == 0))
        return err_set(e, "`to` must name one of client, user, room, broadcast:true");
    ev->event_json = m[EVENT].value.raw;
    ev->data_json = m[DATA].value.raw;
    ev->exclude_json = m[EXCLUDE].value.raw;
    return 0;
}

/* ---- strictly ---- */

static int check_exclude(struct str list, struct err *e)
{
    struct scan_value item;
    size_t pos = 0;
    if (!list.p)
        return 0;
    if (list.p[0] != '[')
        return err_set(e, "`exclude` is not a list of connection ids");
    while (scan_next(list, &pos, &item))
        if (item.type != SCAN_STRING)
            return err_set(e, "`exclude` holds something that is not a text");
    return 0;
}

static size_t count_members(struct str object)
{
    struct scan_value name, value;
    size_t pos = 0, n = 0;
    while (scan_next_member(object, &pos, &name, &value))
        n++;
    return n;
}

static int check_to(struct str to, struct err *e)
{
    if (strict_members(to, "to.", kinds, ARRAY_LEN(kinds), e) != 0)
        return -1;
    return count_members(to) == 1
               ? 0
               : err_set(e, "`to` must name one of client, user, room, broadcast:true");
}

static int read_strictly(struct str text, struct hub_event *ev, struct buf *scratch,
                         struct err *e)
{
    struct scan_member m[] = {{"to"}, {"event"}, {"data"}, {"exclude"}};
    struct str object;
    if (strict_read(text, m, ARRAY_LEN(m), &object, e) != 0 ||
        publication_read(object, ev, scratch, e) != 0 || check_to(m[0].value.raw, e) != 0)
        return -1;
    return check_exclude(ev->exclude_json, e);
}

int publication_send(struct hub *hub, struct str text, bus_ack_fn fn, void *ctx,
                     struct err *e)
{
    struct hub_event ev;
    struct buf scratch = {0};
    int rc = read_strictly(text, &ev, &scratch, e);
    if (rc == 0)
        hub_publish_acked(hub, &ev, fn, ctx);
    buf_free(&scratch);
    return rc;
}
