// floors: http
/* What the HTTP API is asked: the first line is a path with its query, the rest an order
 * for a ticket; and all of it is what Redis has kept of a ticket. */
#include "common/log.h"
#include "common/scan.h"
#include "common/utf8.h"
#include "tests/unit/bus_fake.h"
#include "worker/http/api_routes.h"
#include "worker/hub/tickets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_sentence(const struct err *e)
{
    BUG_ON(!e->text[0] || !utf8_ok(e->text, strlen(e->text)));
}

/* ---- paths and queries ---- */

static bool read_url(struct str path, struct str query, struct api_call *call)
{
    struct request r = {.path = path, .query = query};
    struct err e = {0};
    *call = (struct api_call){.route = api_routes_find(path)};
    if (!call->route)
        return false;
    bool is_good = api_routes_read(call, &r, &e) == 0;
    if (!is_good)
        check_sentence(&e);
    return is_good;
}

static void fini(struct api_call *call)
{
    buf_free(&call->name);
    buf_free(&call->after);
}

static void encode(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++)
        buf_printf(out, "%%%02X", (uint8_t)s.p[i]);
}

/* The same, said with as many escapes as possible, is understood in the same way. */
static void check_encoded(const struct api_call *was)
{
    struct api_call again;
    struct buf path = {0}, query = {0};
    struct str before, after, pattern = str_of(was->route->path);
    before = str_split(pattern, '{', &after);
    buf_str(&path, before);
    encode(buf_view(&was->name), &path);
    if (after.p)
        str_split(after, '}', &after);
    buf_str(&path, after);
    if (str_is(str_of(was->route->parameters), "limit, after")) {
        buf_printf(&query, "limit=%u&after=", was->limit);
        encode(buf_view(&was->after), &query);
    }
    BUG_ON(!read_url(buf_view(&path), buf_view(&query), &again));
    BUG_ON(again.route != was->route || again.limit != was->limit);
    BUG_ON(!str_eq(buf_view(&again.name), buf_view(&was->name)));
    BUG_ON(!str_eq(buf_view(&again.after), buf_view(&was->after)));
    fini(&again);
    buf_free(&path);
    buf_free(&query);
}

static void check_url(struct str line)
{
    struct str query, path = str_split(line, '?', &query);
    struct api_call call;
    if (read_url(path, query, &call)) {
        BUG_ON((strchr(call.route->path, '{') != NULL) != (call.name.n > 0));
        BUG_ON(!utf8_ok(call.name.p, call.name.n) || memchr(path.p, '\0', path.n));
        BUG_ON(!utf8_ok(call.after.p, call.after.n));
        BUG_ON(call.limit == 0 || call.limit > API_LIMIT_MAX);
        if (call.route->parameters)
            check_encoded(&call);
    }
    fini(&call);
}

/* ---- tickets ---- */

static struct net net;
static struct counters counters;
static struct hub *hub;
static struct bus_fake bus;
static struct conf *conf;
static struct buf ticket, user;

static void set(const char *key, const char *value)
{
    struct err e;
    BUG_ON(conf_set(conf, key, str_of(value), 0, &e) != 0);
}

static void set_up(void)
{
    struct err e;
    log_set_level(LOG_LEVEL_ERROR);
    BUG_ON(net_init(&net, event_base_new(), &counters, &e) != 0);
    hub = hub_new(&net, NULL);
    bus_fake_init(&bus, &hub_bus_events, hub);
    hub_set_bus(hub, &bus.bus, 1000);
    bus_fake_up(&bus);
    conf = conf_new();
    set("endpoints[0].path", "/ws");
    set("endpoints[0].protocol", "events");
    set("endpoints[1].path", "/bell/");
    set("endpoints[1].protocol", "notifications");
}

static void on_minted(UNUSED void *ctx, struct str text,
                      UNUSED const struct bus_reply *why)
{
    buf_clear(&ticket);
    buf_str(&ticket, text);
}

static void on_redeemed(UNUSED void *ctx, struct str text,
                        UNUSED const struct bus_reply *why)
{
    BUG_ON(!utf8_ok(text.p, text.n) || (text.p && text.n == 0));
    buf_clear(&user);
    buf_str(&user, text);
}

/* What it is worth at the endpoint of notifications, if Redis has kept that. */
static struct str redeem(struct str kept)
{
    static const char some[] =
        TICKET_PREFIX "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    ticket_redeem(hub, str_of(some), STR("/bell/"), on_redeemed, NULL);
    bus_fake_answer(&bus, (struct bus_reply){.type = BUS_TEXT, .text = kept});
    return buf_view(&user);
}

/* The last argument but one of the last call. */
static struct str kept_by_redis(void)
{
    struct str log = buf_view(&bus.log);
    const char *from = memmem(log.p, log.n, " {\"user\":", 9);
    const char *to = memrchr(log.p, ' ', log.n);
    BUG_ON(!from || to <= from);
    return (struct str){from + 1, (size_t)(to - from) - 1};
}

static void check_minted(struct str order)
{
    struct scan_member m[] = {{"user"}, {"endpoint"}, {"ttl"}};
    struct buf scratch = {0}, kept = {0};
    bus_fake_answer(&bus, (struct bus_reply){.type = BUS_TEXT, .text = STR("OK")});
    BUG_ON(ticket.n != strlen(TICKET_PREFIX) + 43);
    BUG_ON(memmem(bus.log.p, bus.log.n, ticket.p, ticket.n)); /* only its digest */
    buf_str(&kept, kept_by_redis());
    scan_text(order, m, ARRAY_LEN(m));
    BUG_ON(!str_eq(redeem(buf_view(&kept)), scan_string(&m[0].value, &scratch)));
    buf_free(&scratch);
    buf_free(&kept);
}

static void check_order(struct str order)
{
    struct err e = {0};
    buf_clear(&bus.log);
    if (ticket_mint(hub, &conf->main, order, on_minted, NULL, &e) == 0)
        check_minted(order);
    else
        check_sentence(&e);
    BUG_ON(bus.calls_n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, rest,
               line = str_split(text, '\n', &rest);
    if (!conf)
        set_up();
    check_url(line);
    check_order(rest);
    redeem(text);
    return 0;
}
