#include "supervisor/ctl/doctor_url.h"

#include "common/log.h"

#include <ctype.h>

#define PORT_OF_HELIOD "8000"

/* Where a URL falls apart (RFC 3986 §3). p NULL: not there. */
struct parts {
    struct str scheme, user, host, port, path, query, fragment;
};

/* What a page writes when a variable was never set. */
static const char *const unset[] = {"undefined", "null", "NaN", "[object Object]"};

static const struct {
    const char *name, *meant;
} schemes[] = {{"ws", "ws"}, {"wss", "wss"}, {"http", "ws"}, {"https", "wss"}};

static int hex(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

static void put_decoded(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        bool is_escape =
            s.p[i] == '%' && i + 2 < s.n && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0;
        buf_char(b, is_escape ? (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2])) : s.p[i]);
        i += is_escape ? 2 : 0;
    }
}

/* The variable that never got its value, NULL: none. `{…}` may stand anywhere in a piece,
 * the words are the whole of it. */
static const char *unfilled(struct str piece)
{
    struct buf text = {0};
    const char *found = NULL;

    put_decoded(&text, piece);
    for (size_t i = 0; i < ARRAY_LEN(unset) && !found; i++)
        found = str_is(buf_view(&text), unset[i]) ? unset[i] : NULL;
    for (size_t i = 0; i < text.n && !found; i++)
        found = text.p[i] == '{' || text.p[i] == '}' ? "{…}" : NULL;
    buf_free(&text);
    return found;
}

static const char *unfilled_in(struct str s, char sep)
{
    const char *found = NULL;

    while (s.n > 0 && !found)
        found = unfilled(str_split(s, sep, &s));
    return found;
}

static const char *unfilled_query(struct str query)
{
    const char *found = NULL;

    while (query.n > 0 && !found) {
        struct str value, key = str_split(str_split(query, '&', &query), '=', &value);
        found = unfilled(key);
        found = found ? found : unfilled(value);
    }
    return found;
}

static struct str cut(struct str *s, size_t at)
{
    struct str tail = {s->p + at, s->n - at};

    s->n = at;
    return tail;
}

static size_t find_any(struct str s, const char *set)
{
    size_t i = 0;

    while (i < s.n && !strchr(set, s.p[i]))
        i++;
    return i;
}

/* "[::1]:8000", "host:8000", "host:", "host" */
static void split_authority(struct str authority, struct parts *p)
{
    struct str rest, front = str_split(authority, '@', &rest);

    if (rest.p) {
        p->user = front;
        authority = rest;
    }
    size_t colon = authority.n;
    while (colon > 0 && authority.p[colon - 1] != ':' && authority.p[colon - 1] != ']')
        colon--;
    if (colon > 0 && authority.p[colon - 1] == ':') {
        p->port = cut(&authority, colon);
        authority.n--;
    }
    p->host = authority;
}

static void split_url(struct str text, struct parts *p)
{
    *p = (struct parts){0};
    size_t slashes = 0;
    while (slashes + 2 < text.n && memcmp(text.p + slashes, "://", 3) != 0)
        slashes++;
    if (slashes + 2 < text.n) {
        p->scheme = (struct str){text.p, slashes};
        text = (struct str){text.p + slashes + 3, text.n - slashes - 3};
    }
    text = str_split(text, '#', &p->fragment);
    text = str_split(text, '?', &p->query);
    struct str authority = text;
    /* A slash inside "${HOST/x}" does not matter: the braces are found either way. */
    p->path = cut(&authority, find_any(text, "/"));
    split_authority(authority, p);
}

static const char *meant_scheme(struct str scheme)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (str_eq_nocase(scheme, str_of(schemes[i].name)))
            return schemes[i].meant;
    }
    return "ws";
}

static void put_path(struct buf *b, struct str path)
{
    size_t begin = b->n;

    while (path.n > 0) {
        struct str segment = str_split(path, '/', &path);
        if (unfilled(segment))
            buf_str(b, STR("VALUE"));
        else
            buf_str(b, segment);
        if (path.p)
            buf_char(b, '/');
    }
    if (b->n == begin)
        buf_char(b, '/');
}

static bool is_port(struct str s, uint64_t *port)
{
    return str_to_u64(s, UINT16_MAX, port) && *port > 0;
}

static int say_unfilled(struct err *e, const char *where, const char *what)
{
    return err_set(e, "%s of the URL holds %s: a variable that was never set", where,
                   what);
}

static int judge_host(struct str host, struct err *e)
{
    const char *what = unfilled_in(host, '.');
    bool is_ip6 = str_starts(host, STR("["));

    what = what ? what : unfilled(host);
    if (what)
        return say_unfilled(e, "the host", what);
    if (host.n == 0)
        return err_set(e, "the URL names no host");
    if (is_ip6 && (!str_ends(host, STR("]")) || host.n < 4))
        return err_set(e, "the host %s is no address in brackets", log_esc(host));
    for (size_t i = is_ip6; i < host.n - is_ip6; i++) {
        if (!isalnum((unsigned char)host.p[i]) &&
            !strchr(is_ip6 ? ":.%" : "-._", host.p[i]))
            return err_set(e, "the host %s holds a character that no host name has",
                           log_esc(host));
    }
    return 0;
}

/* As it could be: what nobody can know stands there in capitals. */
static void put_fixed(struct buf *b, const struct parts *p)
{
    uint64_t port;
    bool is_local = judge_host(p->host, NULL) < 0;

    buf_printf(b, "%s://", meant_scheme(p->scheme));
    if (is_local)
        buf_str(b, STR("localhost"));
    else
        buf_str(b, p->host);
    if (p->port.p && is_port(p->port, &port))
        buf_printf(b, ":%u", (unsigned)port);
    else if (p->port.p || is_local)
        buf_str(b, STR(":" PORT_OF_HELIOD));
    put_path(b, p->path);
    buf_printf(b, p->query.n ? "?…" : "");
}

static int judge_port(struct str port, struct err *e)
{
    uint64_t number;
    const char *what = unfilled(port);

    if (what)
        return say_unfilled(e, "the port", what);
    if (port.p && port.n == 0)
        return err_set(e, "the port is missing behind the colon");
    if (port.p && !is_port(port, &number))
        return err_set(e, "%s is no port: 1 to 65535", log_esc(port));
    return 0;
}

static int judge_scheme(struct str scheme, struct err *e)
{
    const char *what = unfilled(scheme);

    if (what)
        return say_unfilled(e, "the scheme", what);
    if (!scheme.p)
        return err_set(e, "the URL has no scheme: ws:// or wss://");
    if (!str_eq_nocase(scheme, STR("ws")) && !str_eq_nocase(scheme, STR("wss")))
        return err_set(e, "the scheme is %s, a WebSocket's is ws or wss",
                       log_esc(scheme));
    return 0;
}

static int judge_rest(const struct parts *p, struct err *e)
{
    const char *what = unfilled_in(p->path, '/');

    if (what)
        return say_unfilled(e, "the path", what);
    what = unfilled_query(p->query);
    if (what)
        return say_unfilled(e, "the query", what);
    if (p->user.p)
        return err_set(e, "the URL holds a user name or password: browsers refuse that");
    if (p->fragment.p)
        return err_set(e, "the URL has a part behind #: a WebSocket's has none");
    return 0;
}

static int judge_bytes(struct str text, struct err *e)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7f)
            return err_set(e, "the URL holds a blank or a control character");
    }
    return 0;
}

static void fill(struct doctor_url *u, const struct parts *p)
{
    bool is_ip6 = str_starts(p->host, STR("["));
    uint64_t port;

    u->tls = str_eq_nocase(p->scheme, STR("wss"));
    u->has_port = p->port.p != NULL;
    u->port = u->tls ? 443 : 80;
    if (p->port.p && is_port(p->port, &port))
        u->port = (uint16_t)port;
    buf_put(&u->host, p->host.p + is_ip6, p->host.n - 2 * is_ip6);
    buf_str(&u->target, p->path.n ? p->path : STR("/"));
    if (p->query.p) {
        buf_char(&u->target, '?');
        buf_str(&u->target, p->query);
    }
    put_fixed(&u->shown, p);
}

int doctor_url_judge(struct str text, struct doctor_url *u, struct buf *fixed,
                     struct err *e)
{
    struct parts p;

    *u = (struct doctor_url){0};
    split_url(text, &p);
    /* What is unset comes first: "[object Object]" holds a blank, too. */
    if (judge_host(p.host, e) < 0 || judge_port(p.port, e) < 0 || judge_rest(&p, e) < 0 ||
        judge_scheme(p.scheme, e) < 0) {
        put_fixed(fixed, &p);
        return -1;
    }
    if (judge_bytes(text, e) < 0)
        return -1;
    fill(u, &p);
    return 0;
}

void doctor_url_fini(struct doctor_url *u)
{
    buf_free(&u->host);
    buf_free(&u->target);
    buf_free(&u->shown);
}
