#include "supervisor/resolve.h"

#include "common/addresses.h"
#include "common/fd.h"
#include "common/list.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/msg.h"
#include "common/redis_url.h"

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/event_struct.h>

#define ROOM "resolve"

#define HOSTS_MAX (1u << 20) /* bytes of /etc/hosts */
#define UNWANTED_MAX 2       /* an unwanted name leaves at this refresh */

struct ips {
    unsigned n;
    uint8_t v[RESOLVE_IPS_MAX][16]; /* IPv4: the first four bytes; sorted */
};

/* The question for one family of one name. */
struct question {
    struct name *name;
    struct round *round; /* NULL: not asked just now */
    int af;
    int error; /* of the answer; DNS_ERR_NONE */
    struct ips fresh, known;
};

struct name {
    struct list link; /* resolve.names */
    struct resolve *r;
    char *host;
    struct question q[2]; /* IPv4, IPv6 */
    unsigned unwanted;    /* 0: wanted; else how many refreshes it has not been, plus 1 */
    bool is_awaited;      /* by the want under way */
    bool has_failed;      /* and that has been logged */
};

/* Questions asked together. Each round has a resolver of its own, so that a changed
 * resolv.conf is heeded and a server once found dead is tried again. */
struct round {
    struct list link; /* resolve.rounds */
    struct evdns_base *dns;
    unsigned pending;
    struct event bury; /* not from within a callback of dns */
};

struct resolve {
    struct event_base *base;
    const char *resolv_conf, *hosts;
    struct list names, rounds;
    struct buf book;
    struct event refresh, deadline, notify;
    void (*changed)(void *ctx);
    void *changed_ctx;
    bool is_waiting; /* done is to be called */
    void (*done)(void *ctx);
    void *done_ctx;
    bool is_closed;
    struct resolve *next_closed;
};

/* evdns may hold a finished answer that it delivers in the loop's next turn: those it
 * could deliver to are kept. */
static struct resolve *closed;

/* ---- sets of addresses ---- */

static size_t ip_size(int af)
{
    return af == AF_INET ? 4 : 16;
}

/* Sorted, because servers rotate their answers: the same set shall give the same text. */
static void ips_add(struct ips *set, int af, const void *ip)
{
    uint8_t padded[16] = {0};
    unsigned at = 0;
    memcpy(padded, ip, ip_size(af));
    while (at < set->n && memcmp(set->v[at], padded, 16) < 0)
        at++;
    if (set->n == RESOLVE_IPS_MAX || (at < set->n && memcmp(set->v[at], padded, 16) == 0))
        return;
    memmove(set->v[at + 1], set->v[at], (set->n - at) * 16);
    memcpy(set->v[at], padded, 16);
    set->n++;
}

static void ips_print(struct buf *out, const struct ips *set, int af)
{
    char text[INET6_ADDRSTRLEN];
    for (unsigned i = 0; i < set->n; i++)
        buf_printf(out, " %s", inet_ntop(af, set->v[i], text, sizeof(text)));
}

/* ---- the book ---- */

static bool is_known(const struct name *name)
{
    return name->q[0].known.n + name->q[1].known.n > 0;
}

static void print_name(struct buf *out, const struct name *name)
{
    buf_printf(out, "%s", name->host);
    for (int i = 0; i < 2; i++)
        ips_print(out, &name->q[i].known, name->q[i].af);
    buf_char(out, '\n');
}

static void write_book(struct resolve *r)
{
    struct buf book = {0};
    LIST_EACH (node, &r->names) {
        const struct name *name = container_of(node, struct name, link);
        size_t before = book.n;
        if (is_known(name))
            print_name(&book, name);
        if (book.n > MSG_TAIL_MAX) {
            book.n = before;
            log_error("too many host names: %s and more are left out", name->host);
            break;
        }
    }
    bool is_same = str_eq(buf_view(&book), buf_view(&r->book));
    buf_free(&r->book);
    r->book = book;
    if (!is_same && !r->is_waiting)
        event_active(&r->notify, EV_TIMEOUT, 0);
}

struct str resolve_book(const struct resolve *r)
{
    return buf_view(&r->book);
}

static void on_notify(evutil_socket_t fd, short what, void *ctx)
{
    struct resolve *r = ctx;
    (void)fd;
    (void)what;
    if (r->changed)
        r->changed(r->changed_ctx);
}

/* ---- /etc/hosts ---- */

static bool line_names(struct str names, const char *host)
{
    for (size_t at = 0, end; at < names.n; at = end + 1) {
        for (end = at; end < names.n && !strchr(" \t\r", names.p[end]);)
            end++;
        if (str_eq_nocase((struct str){names.p + at, end - at}, str_of(host)))
            return true;
    }
    return false;
}

static void take_numeric(struct name *name, struct str ip)
{
    struct sockaddr_storage sa;
    if (!address_parse(ip, 0, &sa))
        return;
    if (sa.ss_family == AF_INET)
        ips_add(&name->q[0].fresh, AF_INET, &((struct sockaddr_in *)&sa)->sin_addr);
    else
        ips_add(&name->q[1].fresh, AF_INET6, &((struct sockaddr_in6 *)&sa)->sin6_addr);
}

static void take_hosts_line(struct name *name, struct str line)
{
    struct str comment, ip = str_trim(str_split(line, '#', &comment));
    size_t n = 0;
    while (n < ip.n && ip.p[n] != ' ' && ip.p[n] != '\t')
        n++;
    if (line_names((struct str){ip.p + n, ip.n - n}, name->host))
        take_numeric(name, (struct str){ip.p, n});
}

/* localhost needs no server and no file (RFC 6761 §6.3). */
static bool find_in_hosts(struct name *name, struct str hosts)
{
    for (struct str line, rest = hosts; rest.n;) {
        line = str_split(rest, '\n', &rest);
        take_hosts_line(name, line);
    }
    bool is_found = name->q[0].fresh.n + name->q[1].fresh.n > 0;
    if (!is_found && str_eq_nocase(str_of(name->host), STR("localhost"))) {
        take_numeric(name, STR("127.0.0.1"));
        take_numeric(name, STR("::1"));
        is_found = true;
    }
    return is_found;
}

/* ---- answers ---- */

static bool is_asked(const struct name *name)
{
    return name->q[0].round || name->q[1].round;
}

static void report(struct name *name, bool is_good)
{
    int error = name->q[0].error == DNS_ERR_NODATA || name->q[0].error == DNS_ERR_NONE
                    ? name->q[1].error
                    : name->q[0].error;
    if (!is_good && !name->has_failed)
        log_warn("cannot resolve %s: %s%s", log_esc(str_of(name->host)),
                 error == DNS_ERR_NONE ? "it has no address" : evdns_err_to_string(error),
                 is_known(name) ? " (its last addresses stay in use)" : "");
    if (is_good && name->has_failed)
        log_info("%s is resolved again", log_esc(str_of(name->host)));
    name->has_failed = !is_good;
}

static bool has_answer(const struct question *q)
{
    return q->error == DNS_ERR_NONE || q->error == DNS_ERR_NODATA ||
           q->error == DNS_ERR_NOTEXIST;
}

static void look_whether_done(struct resolve *r)
{
    if (!r->is_waiting)
        return;
    LIST_EACH (node, &r->names)
        if (container_of(node, struct name, link)->is_awaited)
            return;
    event_active(&r->deadline, EV_TIMEOUT, 0);
}

/* Both families have answered. Without any address nothing is forgotten; with one, a
 * family that got no answer keeps its own. */
static void settle(struct name *name)
{
    bool is_good = name->q[0].fresh.n + name->q[1].fresh.n > 0;
    for (int i = 0; is_good && i < 2; i++)
        if (has_answer(&name->q[i]))
            name->q[i].known = name->q[i].fresh;
    report(name, is_good);
    name->is_awaited = false;
    write_book(name->r);
    look_whether_done(name->r);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
    struct resolve *r = ctx;
    (void)fd;
    (void)what;
    event_del(&r->deadline);
    r->is_waiting = false;
    LIST_EACH (node, &r->names)
        container_of(node, struct name, link)->is_awaited = false;
    r->done(r->done_ctx);
}

static void on_bury(evutil_socket_t fd, short what, void *ctx)
{
    struct round *round = ctx;
    (void)fd;
    (void)what;
    list_unlink(&round->link);
    evdns_base_free(round->dns, 0);
    free(round);
}

static void on_answer(int error, char type, int count, int ttl, void *addresses,
                      void *ctx)
{
    struct question *q = ctx;
    struct round *round = q->round;
    (void)type;
    (void)ttl;
    if (q->name->r->is_closed)
        return;
    q->round = NULL;
    q->error = error;
    for (int i = 0; error == DNS_ERR_NONE && i < count; i++)
        ips_add(&q->fresh, q->af,
                (const uint8_t *)addresses + (size_t)i * ip_size(q->af));
    if (--round->pending == 0)
        event_active(&round->bury, EV_TIMEOUT, 0);
    if (!is_asked(q->name))
        settle(q->name);
}

/* ---- questions ---- */

/* Short of what resolv.conf says: two tries of two seconds. Its absence leaves evdns with
 * 127.0.0.1, as libc. */
static struct round *round_new(struct resolve *r)
{
    struct round *round = NEW(struct round);
    round->dns = evdns_base_new(r->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (!round->dns) {
        free(round);
        return NULL;
    }
    evdns_base_set_option(round->dns, "timeout:", "2");
    evdns_base_set_option(round->dns, "attempts:", "2");
    (void)evdns_base_resolv_conf_parse(
        round->dns, DNS_OPTION_SEARCH | DNS_OPTION_NAMESERVERS | DNS_OPTION_MISC,
        r->resolv_conf);
    evtimer_assign(&round->bury, r->base, on_bury, round);
    list_init(&round->link);
    list_append(&r->rounds, &round->link);
    return round;
}

static void ask_server(struct name *name, struct round *round)
{
    for (int i = 0; i < 2; i++) {
        struct question *q = &name->q[i];
        q->error = DNS_ERR_UNKNOWN;
        if (i == 0 ? evdns_base_resolve_ipv4(round->dns, name->host, 0, on_answer, q)
                   : evdns_base_resolve_ipv6(round->dns, name->host, 0, on_answer, q)) {
            q->round = round;
            round->pending++;
        }
    }
    if (!is_asked(name))
        settle(name);
}

static void ask(struct name *name, struct str hosts, struct round **round)
{
    for (int i = 0; i < 2; i++) {
        name->q[i].fresh.n = 0;
        name->q[i].error = DNS_ERR_NONE;
    }
    if (find_in_hosts(name, hosts)) {
        settle(name);
        return;
    }
    if (!*round)
        *round = round_new(name->r);
    if (*round)
        ask_server(name, *round);
    else
        settle(name);
}

static void ask_all(struct resolve *r, bool only_unknown)
{
    struct buf hosts = {0};
    struct round *round = NULL;
    (void)!fd_read_file(r->hosts, HOSTS_MAX, &hosts,
                        NULL); /* none: as if it were empty */
    LIST_EACH (node, &r->names) {
        struct name *name = container_of(node, struct name, link);
        if (!name->unwanted && !is_asked(name) && !(only_unknown && is_known(name)))
            ask(name, buf_view(&hosts), &round);
    }
    if (round && round->pending == 0)
        event_active(&round->bury, EV_TIMEOUT, 0);
    buf_free(&hosts);
}

/* ---- names ---- */

static void name_free(struct name *name)
{
    list_unlink(&name->link);
    free(name->host);
    free(name);
}

static void forget_unwanted(struct resolve *r)
{
    LIST_EACH_SAFE (node, &r->names) {
        struct name *name = container_of(node, struct name, link);
        if (name->unwanted && !is_asked(name) && name->unwanted++ >= UNWANTED_MAX)
            name_free(name);
    }
    write_book(r);
}

void resolve_refresh(struct resolve *r)
{
    forget_unwanted(r);
    ask_all(r, false);
}

static void on_refresh(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    resolve_refresh(ctx);
}

static struct name *find_name(struct resolve *r, struct str host)
{
    LIST_EACH (node, &r->names) {
        struct name *name = container_of(node, struct name, link);
        if (str_eq_nocase(str_of(name->host), host))
            return name;
    }
    return NULL;
}

static void want_host(struct resolve *r, struct str host)
{
    struct sockaddr_storage numeric;
    if (host.n == 0 || address_parse(host, 0, &numeric))
        return;
    struct name *name = find_name(r, host);
    if (!name) {
        name = NEW(struct name);
        name->r = r;
        name->host = str_dup(host);
        for (int i = 0; i < 2; i++) {
            name->q[i].name = name;
            name->q[i].af = i == 0 ? AF_INET : AF_INET6;
        }
        list_init(&name->link);
        list_append(&r->names, &name->link);
    }
    name->unwanted = 0;
    name->is_awaited = !is_known(name);
}

static void want_url(struct resolve *r, struct str url)
{
    struct str host;
    uint16_t port;
    bool is_https;
    if (url.n && url_host(url, &host, &port, &is_https))
        want_host(r, host);
}

static void want_hooks(struct resolve *r, const struct conf_hooks *h)
{
    want_url(r, h->authenticate);
    want_url(r, h->handshake);
    want_url(r, h->rooms);
    want_url(r, h->message);
    want_url(r, h->connected);
    want_url(r, h->disconnected);
}

static void want_redis(struct resolve *r, const struct conf *c)
{
    struct redis_url url;
    if (redis_url_parse(c->main.redis.url, &url, NULL) == 0 && url.kind == REDIS_TCP)
        want_host(r, str_of(url.host));
    explicit_bzero(&url, sizeof(url)); /* a password may have been in it */
}

void resolve_want(struct resolve *r, const struct conf *c, void (*done)(void *ctx),
                  void *ctx)
{
    struct timeval limit = {RESOLVE_TIMEOUT_MS / 1000, RESOLVE_TIMEOUT_MS % 1000 * 1000};
    event_del(&r->deadline);
    if (r->is_waiting) /* nobody may have been told what has changed since */
        event_active(&r->notify, EV_TIMEOUT, 0);
    r->done = done;
    r->done_ctx = ctx;
    r->is_waiting = done != NULL;
    LIST_EACH (node, &r->names) {
        struct name *name = container_of(node, struct name, link);
        name->unwanted = MAX(name->unwanted, 1u);
        name->is_awaited = false;
    }
    want_redis(r, c);
    for (size_t i = 0; i < c->main.endpoints.n; i++)
        want_hooks(r, &c->main.endpoints.v[i].hooks);
    if (done)
        event_add(&r->deadline, &limit);
    ask_all(r, true);
    look_whether_done(r);
}

/* ---- life ---- */

/* Servers that do not answer are told of by name, when a name fails. */
static void on_evdns_line(int is_warning, const char *line)
{
    (void)is_warning;
    log_debug("%s", log_esc(str_of(line)));
}

struct resolve *resolve_new(struct event_base *base, void (*changed)(void *ctx),
                            void *ctx)
{
    struct timeval interval = {RESOLVE_REFRESH_MS / 1000,
                               RESOLVE_REFRESH_MS % 1000 * 1000};
    struct resolve *r = NEW(struct resolve);
    r->base = base;
    r->resolv_conf = "/etc/resolv.conf";
    r->hosts = "/etc/hosts";
    r->changed = changed;
    r->changed_ctx = ctx;
    list_init(&r->names);
    list_init(&r->rounds);
    evdns_set_log_fn(on_evdns_line);
    evtimer_assign(&r->deadline, base, on_deadline, r);
    evtimer_assign(&r->notify, base, on_notify, r);
    event_assign(&r->refresh, base, -1, EV_PERSIST, on_refresh, r);
    event_add(&r->refresh, &interval);
    return r;
}

void resolve_use_files(struct resolve *r, const char *resolv_conf, const char *hosts)
{
    r->resolv_conf = resolv_conf;
    r->hosts = hosts;
}

void resolve_free(struct resolve *r)
{
    if (!r)
        return;
    bool was_asking = !list_is_empty(&r->rounds);
    r->is_closed = true;
    event_del(&r->refresh);
    event_del(&r->deadline);
    event_del(&r->notify);
    LIST_EACH_SAFE (node, &r->rounds) {
        struct round *round = container_of(node, struct round, link);
        event_del(&round->bury);
        on_bury(-1, 0, round);
    }
    buf_free(&r->book);
    if (was_asking) {
        r->next_closed = closed;
        closed = r;
        return;
    }
    LIST_EACH_SAFE (node, &r->names)
        name_free(container_of(node, struct name, link));
    free(r);
}
