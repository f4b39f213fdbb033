#include "worker/hub/publication.h"

#include "common/scan.h"

#define NAMED_MAX 3 /* unknown members that are named; the others are counted */
#define NAME_SHOWN 40

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

static bool is_known(const struct scan_value *name, const char *const *known, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (scan_string_is(name, known[i]))
            return true;
    return false;
}

static void name_it(const struct scan_value *name, const char *where, struct buf *out)
{
    struct buf scratch = {0};
    buf_printf(out, "%s`%s", out->n ? ", " : "", where);
    buf_escape(out, scan_string(name, &scratch), NAME_SHOWN);
    buf_char(out, '`');
    buf_free(&scratch);
}

/* Returns how many there are; the first few are named. */
static size_t find_unknown(struct str object, const char *where, const char *const *known,
                           size_t known_n, struct buf *names)
{
    struct scan_value name, value;
    size_t pos = 0, n = 0;
    while (scan_next_member(object, &pos, &name, &value))
        if (!is_known(&name, known, known_n) && n++ < NAMED_MAX)
            name_it(&name, where, names);
    return n;
}

static int refuse_unknown(struct str object, const char *where, const char *const *known,
                          size_t known_n, struct err *e)
{
    struct buf names = {0};
    size_t n = find_unknown(object, where, known, known_n, &names);
    if (n > NAMED_MAX)
        buf_printf(&names, " and %zu more", n - NAMED_MAX);
    if (n > 0)
        err_set(e, "it has %s, which nobody knows here", buf_cstr(&names));
    buf_free(&names);
    return n > 0 ? -1 : 0;
}

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

static int read_strictly(struct str text, struct hub_event *ev, struct buf *scratch,
                         struct err *e)
{
    static const char *const known[] = {"to", "event", "data", "exclude"};
    struct scan_member to = {.name = "to"};
    enum scan_type whole = scan_text(text, &to, 1);
    if (whole != SCAN_OBJECT)
        return err_set(e,
                       whole == SCAN_BAD ? "it is not JSON" : "it is not a JSON object");
    struct str object = scan_value_of(text).raw;
    if (refuse_unknown(object, "", known, ARRAY_LEN(known), e) != 0 ||
        publication_read(object, ev, scratch, e) != 0 ||
        refuse_unknown(to.value.raw, "to.", kinds, ARRAY_LEN(kinds), e) != 0)
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
