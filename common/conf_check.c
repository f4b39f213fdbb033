#include "common/conf_check.h"

#include "common/addresses.h"
#include "common/conf_origin.h"
#include "common/conf_value.h"
#include "common/redis_url.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <sys/un.h>

#define DEFAULT_LISTENER "127.0.0.1:8000"
#define CONTROL_SOCKET "/heliod.sock"

struct check_at check_at(const char *fmt, ...)
{
    struct check_at path;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path.s, sizeof(path.s), fmt, ap);
    va_end(ap);
    return path;
}

/* A default has no line: what stands around it is blamed. */
static int find_line(const struct conf *c, const char *path)
{
    struct str p = str_of(path);
    for (; p.n; p.n--) {
        bool whole = p.p[p.n] == '\0' || p.p[p.n] == '.' || p.p[p.n] == '[';
        int line = whole ? conf_origins_line(c->origins, p) : -1;
        if (line >= 0)
            return line;
    }
    return 0;
}

int check_blame(struct check *k, const char *path, const char *fmt, ...)
{
    char what[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    *k->line = find_line(k->c, path);
    return err_set(k->e, "%s: %s", path, what);
}

struct check_at check_first_in(const struct check *k, const char *path)
{
    int line = conf_line(k->c, path);
    return line ? check_at(" in line %d", line) : check_at(" before");
}

/* Keys that have to be given: those with an empty default that their own bounds refuse.
 */

struct missing {
    struct check *k;
    int bad;
};

static void on_leaf(void *ctx, const char *path, const struct conf_key *key,
                    struct str text, int line UNUSED)
{
    struct missing *m = ctx;
    bool needed =
        key->kind == CONF_STR || key->kind == CONF_CONTENT || key->kind == CONF_STRS;
    if (!m->bad && needed && key->min > 0 && text.n == 0)
        m->bad = check_blame(m->k, path, "is missing; it has to be given");
}

static int check_missing(struct check *k)
{
    struct missing m = {k, 0};
    conf_walk(k->c, on_leaf, &m);
    return m.bad;
}

/* The broker as a whole */

static int check_run_dir(struct check *k)
{
    struct str dir = k->c->main.run_dir;
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    size_t n = dir.n + MAX(strlen(CONTROL_SOCKET), strlen(REDIS_MANAGED_SOCKET) + 1);
    if (dir.p[0] != '/')
        return check_blame(k, "run_dir", "%s is not an absolute path", conf_show(dir).s);
    if (n > most)
        return check_blame(
            k, "run_dir",
            "%zu bytes are too many: the addresses of the sockets in it would be "
            "longer than a Unix address may be; the most is %zu",
            dir.n, dir.n - (n - most));
    return 0;
}

static int check_log(struct check *k)
{
    struct str target = k->c->main.log.target;
    if (target.p[0] == '/' || str_is(target, "stderr") || str_is(target, "syslog"))
        return 0;
    return check_blame(k, "log.target",
                       "%s is neither stderr, syslog nor an absolute path",
                       conf_show(target).s);
}

static int check_redis(struct check *k)
{
    struct redis_url url;
    struct err why;
    if (redis_url_parse(k->c->main.redis.url, &url, &why))
        return check_blame(k, "redis.url", "%s", why.text);
    explicit_bzero(url.password, sizeof(url.password));
    if (url.kind == REDIS_MANAGED && k->c->main.redis.password.value.n)
        return check_blame(
            k, "redis.password",
            "the managed Redis takes none; it is for a redis.url of your own");
    return 0;
}

static int check_persist(struct check *k)
{
    struct str dir = k->c->main.redis.persist;
    if (dir.n && dir.p[0] != '/')
        return check_blame(k, "redis.persist", "%s is not an absolute path",
                           conf_show(dir).s);
    if (dir.n && !str_is(k->c->main.redis.url, "managed"))
        return check_blame(k, "redis.persist",
                           "is for redis.url: managed; another server has its own "
                           "configuration");
    return 0;
}

static int check_client(struct check *k)
{
    if (k->c->main.client.ping_after < k->c->main.client.idle_timeout)
        return 0;
    bool given = conf_is_given(k->c, "client.ping_after");
    return check_blame(k, given ? "client.ping_after" : "client.idle_timeout",
                       "client.ping_after (%" PRId64 "ms) has to be shorter than "
                       "client.idle_timeout (%" PRId64 "ms), or no ping is ever sent",
                       k->c->main.client.ping_after, k->c->main.client.idle_timeout);
}

static int check_api_keys(struct check *k)
{
    for (size_t i = 0; i < k->c->main.api_keys.n; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(k->c->main.api_keys.v[i].name, k->c->main.api_keys.v[j].name))
                return check_blame(
                    k, check_at("api_keys[%zu].name", i).s, "%s is taken by the key%s",
                    conf_show(k->c->main.api_keys.v[i].name).s,
                    check_first_in(k, check_at("api_keys[%zu].name", j).s).s);
    return 0;
}

/* Listeners */

/* Splits host:port; brackets are taken off. */
static bool split_address(struct str address, struct str *host, struct str *port)
{
    if (!str_starts(address, STR("["))) {
        *host = str_split(address, ':', port);
        return port->p && !memchr(port->p, ':', port->n);
    }
    struct str behind;
    *host = str_split(address, ']', &behind);
    *host = (struct str){host->p + 1, host->n - 1};
    if (!behind.n || behind.p[0] != ':' || !memchr(host->p, ':', host->n))
        return false;
    *port = (struct str){behind.p + 1, behind.n - 1};
    return true;
}

static int check_unix(struct check *k, const char *path, struct str address)
{
    struct str file = {address.p + 5, address.n - 5};
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    if (file.n == 0 || file.p[0] != '/')
        return check_blame(k, path, "%s: a Unix address is unix: and an absolute path",
                           conf_show(address).s);
    if (file.n > most)
        return check_blame(k, path, "a path of %zu bytes is too long: the most is %zu",
                           file.n, most);
    struct str dir = k->c->main.run_dir;
    if (str_starts(file, dir) &&
        str_is((struct str){file.p + dir.n, file.n - dir.n}, CONTROL_SOCKET))
        return check_blame(k, path, "%s is heliod's control socket", conf_show(file).s);
    return 0;
}

static int check_tcp(struct check *k, const char *path, struct str address)
{
    struct sockaddr_storage numeric;
    struct str host, port;
    uint64_t number;
    if (!split_address(address, &host, &port))
        return check_blame(
            k, path, "%s is not an address: host:port, [ipv6]:port, *:port or unix:/path",
            conf_show(address).s);
    if (!str_is(host, "*") && !address_parse(host, 0, &numeric))
        return check_blame(
            k, path, "%s has no numeric host: 127.0.0.1, [::1] or * for all addresses",
            conf_show(address).s);
    if (!str_to_u64(port, 65535, &number) || number == 0 || port.p[0] == '0')
        return check_blame(k, path, "%s has no proper port: 1 to 65535",
                           conf_show(address).s);
    return 0;
}

/* "*:8000" is 0.0.0.0:8000 and [::]:8000; other spellings are compared as what they mean.
 */
static bool is_same_address(struct str a, struct str b)
{
    struct str host_a, host_b, port_a, port_b;
    struct sockaddr_storage ip_a, ip_b;
    if (str_eq(a, b))
        return true;
    if (str_starts(a, STR("unix:")) || str_starts(b, STR("unix:")))
        return false;
    split_address(a, &host_a, &port_a);
    split_address(b, &host_b, &port_b);
    if (!str_eq(port_a, port_b))
        return false;
    if (str_is(host_b, "*"))
        return is_same_address(b, a);
    socklen_t n = address_parse(host_b, 0, &ip_b);
    if (!str_is(host_a, "*"))
        return address_parse(host_a, 0, &ip_a) == n && memcmp(&ip_a, &ip_b, n) == 0;
    address_parse(n == sizeof(struct sockaddr_in) ? STR("0.0.0.0") : STR("::"), 0, &ip_a);
    return memcmp(&ip_a, &ip_b, n) == 0;
}

static int check_mode(struct check *k, const char *path, const struct conf_listener *l)
{
    for (size_t i = 0; i < l->mode.n; i++)
        if (l->mode.p[i] < '0' || l->mode.p[i] > '7')
            return check_blame(k, path, "%s is not octal, such as 0660",
                               conf_show(l->mode).s);
    if (l->mode.n == 4 && l->mode.p[0] != '0')
        return check_blame(k, path, "%s has more than permission bits",
                           conf_show(l->mode).s);
    if (conf_is_given(k->c, path) && !str_starts(l->address, STR("unix:")))
        return check_blame(k, path, "is for unix: addresses only");
    return 0;
}

static int check_listener(struct check *k, size_t i)
{
    const struct conf_listener *l = &k->c->main.listeners.v[i];
    struct check_at path = check_at("listeners[%zu].address", i);
    int bad = str_starts(l->address, STR("unix:")) ? check_unix(k, path.s, l->address)
                                                   : check_tcp(k, path.s, l->address);
    if (bad || check_mode(k, check_at("listeners[%zu].mode", i).s, l))
        return -1;
    for (size_t j = 0; j < i; j++)
        if (is_same_address(l->address, k->c->main.listeners.v[j].address))
            return check_blame(
                k, path.s, "%s is already listened on, as given%s",
                conf_show(l->address).s,
                check_first_in(k, check_at("listeners[%zu].address", j).s).s);
    return 0;
}

static int check_listeners(struct check *k)
{
    if (k->c->main.listeners.n == 0 &&
        conf_set(k->c, "listeners[0].address", STR(DEFAULT_LISTENER), 0, k->e))
        return -1;
    for (size_t i = 0; i < k->c->main.listeners.n; i++)
        if (check_listener(k, i))
            return -1;
    return 0;
}

static int check_api_origins(struct check *k)
{
    return check_origins(k, "allowed_origins", &k->c->main.allowed_origins);
}

int conf_check(struct conf *c, int *line, struct err *e)
{
    static int (*const rules[])(struct check *) = {
        check_missing, check_run_dir, check_log,      check_listeners,   check_redis,
        check_persist, check_client,  check_api_keys, check_api_origins, check_endpoints,
    };
    struct check k = {c, line, e};
    *line = 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i](&k))
            return -1;
    return 0;
}
