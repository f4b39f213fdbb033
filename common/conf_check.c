#include "common/conf.h"

#include "common/addresses.h"
#include "common/conf_origin.h"
#include "common/conf_value.h"
#include "common/redis_url.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <sys/un.h>

/* The rules that need more than one key, or more than a length. First fault wins. */

#define DEFAULT_LISTENER "127.0.0.1:8000"
#define CONTROL_SOCKET "/heliod.sock"

struct check {
    struct conf *c;
    int *line;
    struct err *e;
};
/* A path such as "endpoints[3].auth.key". */
struct at {
    char s[192];
};

static struct at PRINTF(1, 2) at(const char *fmt, ...)
{
    struct at path;
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

static int PRINTF(3, 4) blame(struct check *k, const char *path, const char *fmt, ...)
{
    char what[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    *k->line = find_line(k->c, path);
    return err_set(k->e, "%s: %s", path, what);
}

/* ", first in line 7", if it stands in a file */
static struct at first_in(const struct check *k, const char *path)
{
    int line = conf_line(k->c, path);
    return line ? at(" in line %d", line) : at(" before");
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
    bool needed = key->kind == CONF_STR || key->kind == CONF_CONTENT;
    if (!m->bad && needed && key->min > 0 && text.n == 0)
        m->bad = blame(m->k, path, "is missing; it has to be given");
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
        return blame(k, "run_dir", "%s is not an absolute path", conf_show(dir).s);
    if (n > most)
        return blame(
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
    return blame(k, "log.target", "%s is neither stderr, syslog nor an absolute path",
                 conf_show(target).s);
}

static int check_redis(struct check *k)
{
    struct redis_url url;
    struct err why;
    if (redis_url_parse(k->c->main.redis.url, &url, &why))
        return blame(k, "redis.url", "%s", why.text);
    explicit_bzero(url.password, sizeof(url.password));
    if (url.kind == REDIS_MANAGED && k->c->main.redis.password.value.n)
        return blame(k, "redis.password",
                     "the managed Redis takes none; it is for a redis.url of your own");
    return 0;
}

static int check_client(struct check *k)
{
    if (k->c->main.client.ping_after < k->c->main.client.idle_timeout)
        return 0;
    bool given = conf_is_given(k->c, "client.ping_after");
    return blame(k, given ? "client.ping_after" : "client.idle_timeout",
                 "client.ping_after (%" PRId64 "ms) has to be shorter than "
                 "client.idle_timeout (%" PRId64 "ms), or no ping is ever sent",
                 k->c->main.client.ping_after, k->c->main.client.idle_timeout);
}

static int check_api_keys(struct check *k)
{
    for (size_t i = 0; i < k->c->main.api_keys.n; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(k->c->main.api_keys.v[i].name, k->c->main.api_keys.v[j].name))
                return blame(k, at("api_keys[%zu].name", i).s, "%s is taken by the key%s",
                             conf_show(k->c->main.api_keys.v[i].name).s,
                             first_in(k, at("api_keys[%zu].name", j).s).s);
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
        return blame(k, path, "%s: a Unix address is unix: and an absolute path",
                     conf_show(address).s);
    if (file.n > most)
        return blame(k, path, "a path of %zu bytes is too long: the most is %zu", file.n,
                     most);
    struct str dir = k->c->main.run_dir;
    if (str_starts(file, dir) &&
        str_is((struct str){file.p + dir.n, file.n - dir.n}, CONTROL_SOCKET))
        return blame(k, path, "%s is heliod's control socket", conf_show(file).s);
    return 0;
}

static int check_tcp(struct check *k, const char *path, struct str address)
{
    struct sockaddr_storage numeric;
    struct str host, port;
    uint64_t number;
    if (!split_address(address, &host, &port))
        return blame(k, path,
                     "%s is not an address: host:port, [ipv6]:port, *:port or unix:/path",
                     conf_show(address).s);
    if (!str_is(host, "*") && !address_parse(host, 0, &numeric))
        return blame(k, path,
                     "%s has no numeric host: 127.0.0.1, [::1] or * for all addresses",
                     conf_show(address).s);
    if (!str_to_u64(port, 65535, &number) || number == 0 || port.p[0] == '0')
        return blame(k, path, "%s has no proper port: 1 to 65535", conf_show(address).s);
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
            return blame(k, path, "%s is not octal, such as 0660", conf_show(l->mode).s);
    if (l->mode.n == 4 && l->mode.p[0] != '0')
        return blame(k, path, "%s has more than permission bits", conf_show(l->mode).s);
    if (conf_is_given(k->c, path) && !str_starts(l->address, STR("unix:")))
        return blame(k, path, "is for unix: addresses only");
    return 0;
}

static int check_listener(struct check *k, size_t i)
{
    const struct conf_listener *l = &k->c->main.listeners.v[i];
    struct at path = at("listeners[%zu].address", i);
    int bad = str_starts(l->address, STR("unix:")) ? check_unix(k, path.s, l->address)
                                                   : check_tcp(k, path.s, l->address);
    if (bad || check_mode(k, at("listeners[%zu].mode", i).s, l))
        return -1;
    for (size_t j = 0; j < i; j++)
        if (is_same_address(l->address, k->c->main.listeners.v[j].address))
            return blame(k, path.s, "%s is already listened on, as given%s",
                         conf_show(l->address).s,
                         first_in(k, at("listeners[%zu].address", j).s).s);
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

/* Authentication */

enum { FAMILY_HMAC = 1, FAMILY_PUBLIC = 2 };
static const char *const algorithms[] = {"HS256", "HS384", "HS512", "RS256", "RS384",
                                         "RS512", "PS256", "PS384", "PS512", "ES256",
                                         "ES384", "ES512", "EdDSA"};

static bool is_algorithm(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
        if (str_is(name, algorithms[i]))
            return true;
    return false;
}

static int check_algorithm(struct check *k, const char *path, const struct conf_strs *l,
                           size_t i)
{
    if (str_eq_nocase(l->v[i], STR("none")))
        return blame(k, path, "unsigned tokens are never accepted");
    if (!is_algorithm(l->v[i]))
        return blame(
            k, path,
            "%s is unknown; known are HS256, HS384, HS512, the same of RS, PS and "
            "ES, and EdDSA",
            conf_show(l->v[i]).s);
    for (size_t j = 0; j < i; j++)
        if (str_eq(l->v[i], l->v[j]))
            return blame(k, path, "%s stands there twice", conf_show(l->v[i]).s);
    return 0;
}

/* The families of the accepted algorithms; 0: something is wrong with them. */
static unsigned check_algorithms(struct check *k, size_t n, const struct conf_auth *a)
{
    struct at path = at("endpoints[%zu].auth.algorithms", n);
    unsigned families = 0;
    if (a->algorithms.n == 0)
        return blame(k, path.s,
                     "is missing; method: jwt needs at least one, such as [HS256]"),
               0;
    for (size_t i = 0; i < a->algorithms.n; i++) {
        if (check_algorithm(k, at("%s[%zu]", path.s, i).s, &a->algorithms, i))
            return 0;
        families |=
            str_starts(a->algorithms.v[i], STR("HS")) ? FAMILY_HMAC : FAMILY_PUBLIC;
    }
    return families;
}

/* A public key taken for a shared secret would let everybody sign: the kind of key and
 * the algorithms must fit. *had: the families that have a key so far. */
static int check_key(struct check *k, const char *path, struct str key, unsigned families,
                     unsigned *had)
{
    if (key.n && memmem(key.p, key.n, "PRIVATE KEY-----", 16))
        return blame(k, path,
                     "is a private key; tokens are verified with the public one");
    bool is_pem = key.n && memmem(key.p, key.n, "-----BEGIN ", 11);
    if (is_pem && !(families & FAMILY_PUBLIC))
        return blame(
            k, path,
            "is a PEM key, but all accepted algorithms (HS…) take a shared secret");
    if (!is_pem && !(families & FAMILY_HMAC))
        return blame(k, path,
                     "is not a PEM key, which all accepted algorithms need "
                     "(-----BEGIN PUBLIC KEY-----)");
    *had |= is_pem ? FAMILY_PUBLIC : FAMILY_HMAC;
    return 0;
}

static int check_keys(struct check *k, size_t n, const struct conf_auth *a,
                      unsigned families, unsigned *had)
{
    for (size_t i = 0; i < a->keys.n; i++) {
        struct at kid = at("endpoints[%zu].auth.keys[%zu].kid", n, i);
        for (size_t j = 0; j < i; j++)
            if (str_eq(a->keys.v[i].kid, a->keys.v[j].kid))
                return blame(
                    k, kid.s, "%s is taken by the key%s", conf_show(a->keys.v[i].kid).s,
                    first_in(k, at("endpoints[%zu].auth.keys[%zu].kid", n, j).s).s);
        if (check_key(k, at("endpoints[%zu].auth.keys[%zu].key", n, i).s,
                      a->keys.v[i].key.value, families, had))
            return -1;
    }
    return 0;
}

static int check_jwt(struct check *k, size_t n, const struct conf_auth *a)
{
    struct at path = at("endpoints[%zu].auth.key", n);
    unsigned had = 0;
    if (!a->key.value.n && !a->keys.n)
        return blame(k, path.s, "is missing; method: jwt needs key, key_file or keys");
    unsigned families = check_algorithms(k, n, a);
    if (!families)
        return -1;
    if (a->key.value.n && check_key(k, path.s, a->key.value, families, &had))
        return -1;
    if (check_keys(k, n, a, families, &had))
        return -1;
    if (had == families)
        return 0;
    return blame(k, at("endpoints[%zu].auth.algorithms", n).s,
                 families & ~had & FAMILY_HMAC
                     ? "no key is a shared secret, which HS… algorithms need"
                     : "no key is a PEM key, which all but the HS… algorithms need");
}

/* A key of a method that is not in force is a mistake that could leave a door open. */
static int check_foreign_keys(struct check *k, size_t n, enum conf_auth_method method)
{
    static const struct {
        const char *key;
        enum conf_auth_method method;
    } rows[] = {
        {"tokens", AUTH_STATIC},  {"key", AUTH_JWT},    {"keys", AUTH_JWT},
        {"algorithms", AUTH_JWT}, {"issuer", AUTH_JWT}, {"audience", AUTH_JWT},
        {"user_claim", AUTH_JWT}, {"leeway", AUTH_JWT}, {"require_exp", AUTH_JWT},
    };
    const struct conf_key *key = conf_find(&conf_auth_section, STR("method"), NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct at path = at("endpoints[%zu].auth.%s", n, rows[i].key);
        if (rows[i].method != method && conf_is_given(k->c, path.s))
            return blame(k, path.s,
                         "is for method: " STR_FMT ", but the method is " STR_FMT,
                         STR_ARG(conf_choice(key, rows[i].method)),
                         STR_ARG(conf_choice(key, method)));
    }
    return 0;
}

static int check_auth(struct check *k, size_t n, const struct conf_endpoint *p)
{
    if (check_foreign_keys(k, n, p->auth.method))
        return -1;
    if (p->auth.method == AUTH_JWT)
        return check_jwt(k, n, &p->auth);
    if (p->auth.method == AUTH_STATIC && !p->auth.tokens.value.n)
        return blame(k, at("endpoints[%zu].auth.tokens", n).s,
                     "is missing; method: static needs tokens_file or tokens");
    if (p->auth.method == AUTH_HOOK && !p->hooks.authenticate.n)
        return blame(k, at("endpoints[%zu].hooks.authenticate", n).s,
                     "is missing; auth.method: hook asks that URL");
    return 0;
}

/* Endpoints */

static int check_url(struct check *k, const char *path, struct str url)
{
    struct str host, authority = url;
    uint16_t port;
    bool is_https;
    if (url.n == 0)
        return 0;
    bool is_plain = str_starts(url, STR("http://"));
    if (!is_plain && !str_starts(url, STR("https://")))
        return blame(k, path, "is not an http:// or https:// URL");
    authority.p += is_plain ? 7 : 8;
    authority.n = 0;
    while (!strchr("/?#", authority.p[authority.n]))
        authority.n++;
    if (memchr(authority.p, '@', authority.n))
        return blame(k, path,
                     "must not hold a user or password; hooks are signed (secret)");
    if (memchr(url.p, '#', url.n))
        return blame(k, path, "must not hold a fragment (#…)");
    if (!url_host(url, &host, &port, &is_https))
        return blame(k, path, "is not a URL: host, port or a character in it is wrong");
    return 0;
}

static int check_hooks(struct check *k, size_t n, const struct conf_endpoint *p)
{
    const struct conf_hooks *h = &p->hooks;
    const struct {
        const char *key;
        struct str url;
    } rows[] = {
        {"authenticate", h->authenticate},
        {"handshake", h->handshake},
        {"rooms", h->rooms},
        {"message", h->message},
        {"connected", h->connected},
        {"disconnected", h->disconnected},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (check_url(k, at("endpoints[%zu].hooks.%s", n, rows[i].key).s, rows[i].url))
            return -1;
    if (p->encryption == ENCRYPTION_HOOK && !h->handshake.n)
        return blame(k, at("endpoints[%zu].hooks.handshake", n).s,
                     "is missing; encryption: hook asks that URL for the session key");
    return 0;
}

static int check_patterns(struct check *k, const char *path, const struct conf_strs *l)
{
    for (size_t i = 0; i < l->n; i++)
        for (struct str s = l->v[i]; s.p;) {
            struct str after;
            str_split(s, '{', &after);
            if (after.p && !str_starts(after, STR("userId}")))
                return blame(k, at("%s[%zu]", path, i).s,
                             "%s: {userId} is the only placeholder",
                             conf_show(l->v[i]).s);
            s = after;
        }
    return 0;
}

static int check_rooms(struct check *k, size_t n, const struct conf_endpoint *p)
{
    struct at path = at("endpoints[%zu].default_rooms", n);
    for (size_t i = 0; i < p->default_rooms.n; i++)
        if (p->default_rooms.v[i].n > 256 ||
            str_starts(p->default_rooms.v[i], STR("ws:")))
            return blame(k, at("%s[%zu]", path.s, i).s,
                         "%s is no room name: at most 256 bytes, not beginning with ws:",
                         conf_show(p->default_rooms.v[i]).s);
    if ((int64_t)p->default_rooms.n + 1 > p->max_rooms)
        return blame(k, at("endpoints[%zu].max_rooms", n).s,
                     "%" PRId64 " is too small: the default rooms and the client's own "
                     "are %zu",
                     p->max_rooms, p->default_rooms.n + 1);
    if (check_patterns(k, at("endpoints[%zu].rooms.join", n).s, &p->rooms.join))
        return -1;
    return check_patterns(k, at("endpoints[%zu].rooms.publish", n).s, &p->rooms.publish);
}

static bool is_origin(struct str s)
{
    struct str host, behind = STR_NONE;
    if (str_is(s, "*") || str_is(s, "same"))
        return true;
    const char *at_slashes = strstr(s.p, "://"); /* NUL-terminated, as all STRS */
    if (!at_slashes || at_slashes == s.p)
        return false;
    host = (struct str){at_slashes + 3, s.n - (size_t)(at_slashes + 3 - s.p)};
    if (str_starts(host, STR("*.")))
        host = (struct str){host.p + 2, host.n - 2};
    for (size_t i = 0; i < host.n; i++)
        if ((unsigned char)host.p[i] <= ' ' || strchr("/?#@*", host.p[i]))
            return false;
    str_split(host, ':', &behind);
    return host.n > 0 && host.p[0] != ':' && (!behind.p || behind.n > 0);
}

static int check_origins(struct check *k, const char *path, const struct conf_strs *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (!is_origin(l->v[i]))
            return blame(k, at("%s[%zu]", path, i).s,
                         "%s is not an origin: https://host[:port] without a path, "
                         "https://*.example.com, same, or *",
                         conf_show(l->v[i]).s);
    return 0;
}

static int check_api_origins(struct check *k)
{
    return check_origins(k, "allowed_origins", &k->c->main.allowed_origins);
}

static int check_path(struct check *k, size_t n, struct str s)
{
    static const char *const reserved[] = {"/health", "/ready", "/metrics", "/docs",
                                           "/api"};
    struct at path = at("endpoints[%zu].path", n);
    if (s.p[0] != '/')
        return blame(k, path.s, "%s does not begin with /", conf_show(s).s);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f ||
            strchr("?#", s.p[i]))
            return blame(k, path.s,
                         "%s is not the path of a URL: a blank, ?, # or a character that "
                         "has to be percent-encoded is in it",
                         conf_show(s).s);
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (str_is(s, reserved[i]) || str_starts(s, STR("/api/")))
            return blame(k, path.s, "%s is one of heliod's own pages", conf_show(s).s);
    for (size_t j = 0; j < n; j++)
        if (str_eq(s, k->c->main.endpoints.v[j].path))
            return blame(k, path.s, "%s is taken by the endpoint%s", conf_show(s).s,
                         first_in(k, at("endpoints[%zu].path", j).s).s);
    return 0;
}

/* What is for events only would be without effect, and somebody may rely on it. */
static int check_echo(struct check *k, size_t n)
{
    static const char *const common[] = {"path",           "protocol", "allowed_origins",
                                         "require_origin", "refusals", "max_message",
                                         "backpressure"};
    for (size_t i = 0; i < conf_endpoint_section.n; i++) {
        const char *name = conf_endpoint_section.keys[i].name;
        struct at path = at("endpoints[%zu].%s", n, name);
        bool known = false;
        for (size_t j = 0; j < ARRAY_LEN(common); j++)
            known |= strcmp(common[j], name) == 0;
        if (!known && conf_is_given(k->c, path.s))
            return blame(k, path.s, "is for protocol: events, but the protocol is echo");
    }
    /* Nobody shows a credential there: another site's page is not let in unasked. */
    struct at origins = at("endpoints[%zu].allowed_origins", n);
    if (conf_is_given(k->c, origins.s))
        return 0;
    return conf_set(k->c, origins.s, STR("same"), 0, k->e);
}

static int check_endpoint(struct check *k, size_t n)
{
    const struct conf_endpoint *p = &k->c->main.endpoints.v[n];
    struct at origins = at("endpoints[%zu].allowed_origins", n);
    if (check_path(k, n, p->path) || check_origins(k, origins.s, &p->allowed_origins))
        return -1;
    if (p->protocol == PROTOCOL_ECHO)
        return check_echo(k, n);
    if (check_auth(k, n, p) || check_hooks(k, n, p))
        return -1;
    return check_rooms(k, n, p);
}

static int check_endpoints(struct check *k)
{
    if (k->c->main.endpoints.n == 0)
        return blame(k, "endpoints", "is missing; at least one has to be given");
    for (size_t i = 0; i < k->c->main.endpoints.n; i++)
        if (check_endpoint(k, i))
            return -1;
    return 0;
}

int conf_check(struct conf *c, int *line, struct err *e)
{
    static int (*const rules[])(struct check *) = {
        check_missing, check_run_dir,  check_log,         check_listeners, check_redis,
        check_client,  check_api_keys, check_api_origins, check_endpoints,
    };
    struct check k = {c, line, e};
    *line = 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i](&k))
            return -1;
    return 0;
}
