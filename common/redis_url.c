#include "common/redis_url.h"

#include <arpa/inet.h>

#define DEFAULT_PORT 6379

/* No piece of the text is ever quoted: with a mistake in it, a password can stand
 * anywhere. */
static int refuse(struct err *e, const char *what)
{
    return err_set(e, "Invalid redis connection! %s", what);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX → byte (RFC 3986 §2.1), NUL-terminated. -1: a malformed escape or a NUL; -2: does
 * not fit. */
static int decode(struct str s, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
            int low = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (n + 1 >= cap)
            return -2;
        out[n++] = c;
    }
    out[n] = '\0';
    return 0;
}

static int decode_part(struct str s, char *out, size_t cap, const char *malformed,
                       const char *too_long, struct err *e)
{
    int rc = decode(s, out, cap);
    return rc == 0 ? 0 : refuse(e, rc == -1 ? malformed : too_long);
}

static int read_db(struct str s, struct redis_url *out, struct err *e)
{
    uint64_t db;
    if (!str_to_u64(s, INT32_MAX, &db))
        return refuse(e, "the database must be a number");
    out->db = (unsigned)db;
    return 0;
}

static int read_userinfo(struct str s, struct redis_url *out, struct err *e)
{
    struct str password, user = str_split(s, ':', &password);
    if (decode_part(user, out->user, sizeof(out->user),
                    "the user has a malformed %-escape", "the user is too long", e) < 0)
        return -1;
    return decode_part(password, out->password, sizeof(out->password),
                       "the password has a malformed %-escape",
                       "the password is too long", e);
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '.' || c == '-' || c == '_';
}

static int read_host(struct str s, struct redis_url *out, struct err *e)
{
    if (s.n == 0)
        return refuse(e, "the host is missing");
    for (size_t i = 0; i < s.n; i++)
        if (!is_host_char(s.p[i]))
            return refuse(e, "the host has a character no host name has");
    if (s.n >= sizeof(out->host))
        return refuse(e, "the host is too long");
    memcpy(out->host, s.p, s.n);
    return 0;
}

static int read_ipv6(struct str s, struct redis_url *out, struct err *e)
{
    struct in6_addr ip;
    if (s.n >= INET6_ADDRSTRLEN)
        return refuse(e, "the address in brackets is not an IPv6 address");
    memcpy(out->host, s.p, s.n);
    if (inet_pton(AF_INET6, out->host, &ip) != 1)
        return refuse(e, "the address in brackets is not an IPv6 address");
    return 0;
}

static int read_port(struct str s, struct redis_url *out, struct err *e)
{
    uint64_t port;
    if (!str_to_u64(s, UINT16_MAX, &port) || port == 0)
        return refuse(e, "the port must be a number from 1 to 65535");
    out->port = (uint16_t)port;
    return 0;
}

static int read_host_port(struct str s, struct redis_url *out, struct err *e)
{
    struct str port = STR_NONE;
    if (str_starts(s, STR("["))) {
        struct str behind, ip = str_split(s, ']', &behind);
        if (!behind.p)
            return refuse(e, "a bracket of the address is missing");
        if (read_ipv6((struct str){ip.p + 1, ip.n - 1}, out, e) < 0)
            return -1;
        if (behind.n && behind.p[0] != ':')
            return refuse(e, "behind the bracket only :port may follow");
        if (behind.n)
            port = (struct str){behind.p + 1, behind.n - 1};
    } else if (read_host(str_split(s, ':', &port), out, e) < 0) {
        return -1;
    }
    return port.p ? read_port(port, out, e) : 0;
}

static int read_tcp(struct str s, struct redis_url *out, struct err *e)
{
    out->kind = REDIS_TCP;
    out->port = DEFAULT_PORT;
    if (s.n && (memchr(s.p, '?', s.n) || memchr(s.p, '#', s.n)))
        return refuse(
            e, "behind the database nothing may follow (? and # in a password must "
               "be written %3F and %23)");
    struct str db, authority = str_split(s, '/', &db);
    if (db.n && memchr(db.p, '@', db.n))
        return refuse(e, "a slash in the password must be written %2F");
    struct str host, userinfo = str_split(authority, '@', &host);
    if (!host.p)
        host = authority;
    else if (memchr(host.p, '@', host.n))
        return refuse(e, "an @ in the password must be written %40");
    else if (read_userinfo(userinfo, out, e) < 0)
        return -1;
    if (read_host_port(host, out, e) < 0)
        return -1;
    return db.n ? read_db(db, out, e) : 0;
}

static int read_unix(struct str s, struct redis_url *out, struct err *e)
{
    out->kind = REDIS_UNIX;
    struct str query, path = str_split(s, '?', &query);
    if (!str_starts(path, STR("/")))
        return refuse(e, "a Unix socket is written unix:///path with an absolute path");
    if (decode_part(path, out->path, sizeof(out->path),
                    "the path has a malformed %-escape",
                    "the path of the socket is longer than 107 bytes", e) < 0)
        return -1;
    if (!query.p)
        return 0;
    if (!str_starts(query, STR("db=")))
        return refuse(e, "behind the path only ?db=N may follow");
    return read_db((struct str){query.p + 3, query.n - 3}, out, e);
}

static bool has_blank_or_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return true;
    return false;
}

static int read_url(struct str text, struct redis_url *out, struct err *e)
{
    if (text.n == 0)
        return refuse(e, "redis.url is empty");
    if (has_blank_or_control(text))
        return refuse(e, "redis.url holds a blank or a control character");
    if (str_is(text, "managed")) {
        out->kind = REDIS_MANAGED;
        return 0;
    }
    if (str_starts(text, STR("redis://")))
        return read_tcp((struct str){text.p + 8, text.n - 8}, out, e);
    if (str_starts(text, STR("unix://")))
        return read_unix((struct str){text.p + 7, text.n - 7}, out, e);
    if (str_starts(text, STR("rediss://")))
        return refuse(e, "rediss:// (TLS to Redis) is not supported");
    return refuse(e, "redis.url must be managed, redis://[user:password@]host:port/db or "
                     "unix:///path?db=N");
}

int redis_url_parse(struct str text, struct redis_url *out, struct err *e)
{
    struct redis_url u = {0};
    int rc = read_url(text, &u, e);
    if (rc == 0)
        *out = u;
    explicit_bzero(u.password, sizeof(u.password));
    return rc;
}
