#include "worker/hub/tickets.h"

#include "common/digest.h"
#include "common/mem.h"
#include "common/strict.h"
#include "common/uuid.h"

#define TICKET_BYTES 32
#define TICKET_TEXT (sizeof(TICKET_PREFIX) - 1 + 43) /* base64url without padding */
#define TICKET_TTL 30                                /* seconds */
#define TICKET_KEY TOPIC_PREFIX "ticket:"
#define SHOWN_MAX 120 /* bytes of outside text in a message */

extern const struct str ticket_keep_lua, ticket_take_lua;
static struct script keep = {.text = &ticket_keep_lua};
static struct script take = {.text = &ticket_take_lua};

/* Redis knows a ticket by this name only. */
static void write_key(struct str ticket, struct buf *out)
{
    uint8_t hash[DIGEST_SHA256];
    digest_sha256(ticket, hash);
    buf_str(out, STR(TICKET_KEY));
    buf_hex(out, hash, sizeof(hash));
}

/* ---- minting ---- */

struct minting {
    struct buf ticket;
    ticket_minted_fn fn;
    void *ctx;
};

static void draw(struct buf *out)
{
    char bytes[TICKET_BYTES];
    random_bytes(bytes, sizeof(bytes));
    buf_str(out, STR(TICKET_PREFIX));
    buf_base64(out, (struct str){bytes, sizeof(bytes)});
    for (size_t i = 0; i < out->n; i++)
        out->p[i] = out->p[i] == '+' ? '-' : out->p[i] == '/' ? '_' : out->p[i];
    out->n = TICKET_TEXT; /* without the padding */
    explicit_bzero(bytes, sizeof(bytes));
}

static void on_kept(void *ctx, const struct bus_reply *r)
{
    struct minting *m = ctx;
    m->fn(m->ctx, r->type == BUS_TEXT ? buf_view(&m->ticket) : STR_NONE, r);
    explicit_bzero(m->ticket.p, m->ticket.n);
    buf_free(&m->ticket);
    free(m);
}

static bool takes_tickets(const struct conf_endpoint *c)
{
    return c->protocol == PROTOCOL_SIGNALING || c->protocol == PROTOCOL_NOTIFICATIONS;
}

/* As a request finds it: notifications also without the slash at its end, or with one. */
static bool is_at(const struct conf_endpoint *c, struct str path)
{
    if (c->protocol != PROTOCOL_NOTIFICATIONS)
        return str_eq(c->path, path);
    struct str mine = c->path;
    mine.n -= str_ends(mine, STR("/"));
    path.n -= str_ends(path, STR("/"));
    return str_eq(mine, path);
}

static const struct conf_endpoint *find_endpoint(const struct conf_main *conf,
                                                 struct str path, struct err *e)
{
    struct buf shown = {0};
    const struct conf_endpoint *found = NULL;
    for (size_t i = 0; i < conf->endpoints.n && !found; i++)
        found = is_at(&conf->endpoints.v[i], path) ? &conf->endpoints.v[i] : NULL;
    buf_escape(&shown, path, SHOWN_MAX);
    if (!found)
        err_set(e,
                "no endpoint is configured at %s (`endpoint` is a path as in "
                "heliod.yaml)",
                buf_cstr(&shown));
    else if (!takes_tickets(found))
        err_set(e,
                "the endpoint %s takes no token in its handshake; those of signaling "
                "and notifications do",
                buf_cstr(&shown));
    buf_free(&shown);
    return found && takes_tickets(found) ? found : NULL;
}

static int read_text(const struct scan_member *m, size_t max, struct buf *out,
                     struct err *e)
{
    if (m->value.type != SCAN_STRING || m->value.raw.n <= 2)
        return err_set(e, "`%s` is not a text", m->name);
    struct buf scratch = {0};
    struct str text = scan_string(&m->value, &scratch);
    int rc = text.n > max ? err_set(e, "`%s` is longer than %zu bytes", m->name, max) : 0;
    if (rc == 0)
        buf_str(out, text);
    buf_free(&scratch);
    return rc;
}

static int read_ttl(const struct scan_value *v, uint64_t *seconds, struct err *e)
{
    *seconds = TICKET_TTL;
    bool is_good = v->type == SCAN_BAD ||
                   (v->type == SCAN_NUMBER &&
                    str_to_u64(v->raw, TICKET_TTL_MAX, seconds) && *seconds > 0);
    return is_good ? 0
                   : err_set(e, "`ttl` is not a whole number of seconds from 1 to %d",
                             TICKET_TTL_MAX);
}

/* value: what Redis keeps. */
static int read_order(struct str text, const struct conf_main *conf, struct buf *value,
                      uint64_t *seconds, struct err *e)
{
    enum { USER, ENDPOINT, TTL, MEMBERS };
    struct scan_member m[MEMBERS] = {{"user"}, {"endpoint"}, {"ttl"}};
    const struct conf_endpoint *at = NULL;
    struct buf user = {0}, path = {0};
    struct str object;
    if (strict_read(text, m, MEMBERS, &object, e) == 0 &&
        read_text(&m[USER], TICKET_USER_MAX, &user, e) == 0 &&
        read_text(&m[ENDPOINT], CONF_ELEMENT_MAX, &path, e) == 0 &&
        read_ttl(&m[TTL].value, seconds, e) == 0)
        at = find_endpoint(conf, buf_view(&path), e);
    if (at) {
        buf_str(value, STR("{\"user\":"));
        buf_json(value, buf_view(&user));
        buf_str(value, STR(",\"endpoint\":"));
        buf_json(value, at->path);
        buf_char(value, '}');
    }
    buf_free(&user);
    buf_free(&path);
    return at ? 0 : -1;
}

int ticket_mint(struct hub *h, const struct conf_main *conf, struct str text,
                ticket_minted_fn fn, void *ctx, struct err *e)
{
    struct buf value = {0}, key = {0}, ttl = {0};
    uint64_t seconds;
    if (read_order(text, conf, &value, &seconds, e) != 0)
        return -1;
    struct minting *m = NEW(struct minting);
    *m = (struct minting){.fn = fn, .ctx = ctx};
    draw(&m->ticket);
    write_key(buf_view(&m->ticket), &key);
    buf_printf(&ttl, "%" PRIu64, seconds * 1000);
    struct str keys[] = {buf_view(&key)}, args[] = {buf_view(&value), buf_view(&ttl)};
    hub_eval(h, &keep, keys, 1, args, 2, on_kept, m);
    buf_free(&value);
    buf_free(&key);
    buf_free(&ttl);
    return 0;
}

/* ---- redeeming ---- */

struct redeeming {
    struct buf endpoint;
    ticket_redeemed_fn fn;
    void *ctx;
};

static const struct bus_reply nothing = {.type = BUS_NIL};

/* What Redis keeps is judged like all that comes from outside. p NULL: not for here. */
static struct str user_of(struct str value, struct str endpoint, struct buf *scratch)
{
    struct scan_member m[] = {{"user"}, {"endpoint"}};
    if (scan_text(value, m, ARRAY_LEN(m)) != SCAN_OBJECT ||
        m[0].value.type != SCAN_STRING || m[1].value.type != SCAN_STRING)
        return STR_NONE;
    bool is_here = str_eq(scan_string(&m[1].value, scratch), endpoint);
    buf_clear(scratch);
    struct str user = scan_string(&m[0].value, scratch);
    return is_here && user.n > 0 ? user : STR_NONE;
}

static void on_taken(void *ctx, const struct bus_reply *r)
{
    struct redeeming *t = ctx;
    struct buf scratch = {0};
    struct str user = r->type == BUS_TEXT
                          ? user_of(r->text, buf_view(&t->endpoint), &scratch)
                          : STR_NONE;
    t->fn(t->ctx, user, r->type == BUS_TEXT && !user.p ? &nothing : r);
    buf_free(&scratch);
    buf_free(&t->endpoint);
    free(t);
}

void ticket_redeem(struct hub *h, struct str ticket, struct str endpoint,
                   ticket_redeemed_fn fn, void *ctx)
{
    if (ticket.n != TICKET_TEXT || !ticket_is(ticket)) {
        fn(ctx, STR_NONE, &nothing); /* none of ours: Redis need not be asked */
        return;
    }
    struct buf key = {0};
    struct redeeming *t = NEW(struct redeeming);
    *t = (struct redeeming){.fn = fn, .ctx = ctx};
    buf_str(&t->endpoint, endpoint);
    write_key(ticket, &key);
    hub_eval(h, &take, &(struct str){key.p, key.n}, 1, NULL, 0, on_taken, t);
    buf_free(&key);
}
