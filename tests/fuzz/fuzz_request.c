// floors: common net ws http
/* request, upgrade and route over one head: chopped anywhere, under several limits;
 * whatever is said about it must be fit to be sent. */
#include "worker/http/request.h"
#include "worker/http/opening.h"
#include "worker/http/upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct request_field fields[REQUEST_FIELDS_MAX];

static enum request_verdict parse(struct str text, size_t max, size_t cap,
                                  struct request *r)
{
    const char *why = NULL;
    *r = (struct request){.fields = fields, .fields_cap = cap};
    enum request_verdict v = request_parse(text, max, r, &why);
    BUG_ON((v == REQUEST_OK || v == REQUEST_MORE) != !why);
    BUG_ON(r->fields_n > cap || r->size > text.n);
    BUG_ON(v == REQUEST_OK && r->size > max);
    BUG_ON(v == REQUEST_MORE && text.n >= max);
    return v;
}

/* No part changes the verdict once it was given, and what was enough before is enough
 * with more behind it. */
static void check_chopped(struct str text, size_t max, size_t cap)
{
    struct request r;
    enum request_verdict whole = parse(text, max, cap, &r);
    size_t size = r.size, step = text.n / 64 + 1;
    bool decided = false;
    for (size_t n = 0; n <= text.n; n += step) {
        enum request_verdict v = parse((struct str){text.p, n}, max, cap, &r);
        BUG_ON(decided ? v != whole : v != REQUEST_MORE && v != whole);
        BUG_ON(v == REQUEST_OK && r.size != size);
        decided = v != REQUEST_MORE;
    }
}

static void check_inside(struct str text, struct str part)
{
    BUG_ON(part.p && part.n && (part.p < text.p || part.p + part.n > text.p + text.n));
}

static void check_views(struct str text, const struct request *r)
{
    const struct str parts[] = {r->method, r->target, r->query, r->host};
    BUG_ON(!request_is_token(r->method) || r->path.n == 0 ||
           (r->path.p[0] != '/' && r->path.p[0] != '*'));
    BUG_ON(r->is_chunked && r->has_content_length);
    BUG_ON(r->minor > 0 && r->host.n == 0);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        check_inside(text, parts[i]);
    for (size_t i = 0; i < r->fields_n; i++) {
        check_inside(text, r->fields[i].name);
        check_inside(text, r->fields[i].value);
        BUG_ON(!request_is_token(r->fields[i].name));
        BUG_ON(request_count(r, "Host") > 1);
    }
}

static void check_refusal(const struct refusal *why)
{
    size_t n = strnlen(why->message, sizeof(why->message));
    BUG_ON(why->status < 400 || why->status > 505 || !why->error || !why->hint[0]);
    BUG_ON(n < 20 || n > 254 || why->message[n - 1] != '.');
    for (size_t i = 0; i < n; i++)
        BUG_ON(why->message[i] < ' ' || why->message[i] > '~');
}

/* A 101 with a header that came from the client must still be a clean head. */
static void check_answer(const struct request *r)
{
    struct buf out = {0};
    size_t lines = 0, want = 5 + (upgrade_subprotocol(r).p != NULL);
    struct extensions_deflate terms;
    bool packs = extensions_take_deflate(r, &terms);
    upgrade_answer(r, packs ? &terms : NULL, &out);
    for (size_t i = 0; i < out.n; i++) {
        lines += out.p[i] == '\n';
        BUG_ON(out.p[i] == '\n' && out.p[i - 1] != '\r');
        BUG_ON((uint8_t)out.p[i] < ' ' && out.p[i] != '\r' && out.p[i] != '\n');
    }
    BUG_ON(lines != want + packs);
    buf_free(&out);
}

static void check_upgrade(const struct request *r)
{
    static const struct str rules[] = {STR("https://example.com"),
                                       STR("https://*.example.com:8443"), STR("same"),
                                       STR("http://[::1]")};
    static const struct str all = STR("*");
    struct refusal why = {0};
    if (upgrade_check(r, &why))
        check_answer(r);
    else
        check_refusal(&why);
    if (!upgrade_origin_ok(r, rules, ARRAY_LEN(rules), true, &why))
        check_refusal(&why);
    if (!upgrade_origin_ok(r, &all, 1, false, &why))
        BUG_ON(why.status != 400);
}

static void check_paths(const struct request *r)
{
    static struct conf_endpoint conf[] = {
        {.path = STR("/ws")},
        {.path = STR("/echo/long/path")},
        {.path = STR("/ws/notifications/"), .protocol = PROTOCOL_NOTIFICATIONS},
        {.path = STR("/ws/signaling/{room}/{role}"), .protocol = PROTOCOL_SIGNALING},
    };
    static struct route table[] = {
        {&conf[0], NULL}, {&conf[1], NULL}, {&conf[2], NULL}, {&conf[3], NULL}};
    static const struct routes routes = {table, ARRAY_LEN(table)};
    char out[64];
    size_t n = 0;
    if (request_decode(r->path, out, sizeof(out), &n))
        BUG_ON(n > sizeof(out) || memchr(out, '\0', n));
    if (request_query(r->query, "token", out, sizeof(out), &n))
        BUG_ON(n > sizeof(out) || memchr(out, '\0', n));
    struct route_match m;
    struct refusal why = {0};
    struct opening o = {0};
    enum route_verdict v = route_find(&routes, r->path, &m, &why);
    route_nearest(&routes, r->path);
    BUG_ON(v == ROUTE_BAD && (why.status != 400 || !why.message[0]));
    if (v == ROUTE_FOUND && !opening_init(&o, r, &m, &why))
        BUG_ON(why.status != 400 || !why.message[0]);
    BUG_ON(o.how.session.p && (o.how.session.n < 8 || o.how.session.n > 128));
    opening_fini(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct request r;
    check_chopped(text, 8192, 100);
    check_chopped(text, 200, 8);
    if (parse(text, 8192, 100, &r) == REQUEST_OK) {
        check_views(text, &r);
        check_upgrade(&r);
        check_paths(&r);
    }
    return 0;
}
