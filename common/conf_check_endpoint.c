#include "common/addresses.h"
#include "common/conf_check.h"
#include "common/conf_value.h"

static int check_url(struct check *k, const char *path, struct str url)
{
    struct str host, authority = url;
    uint16_t port;
    bool is_https;
    if (url.n == 0)
        return 0;
    bool is_plain = str_starts(url, STR("http://"));
    if (!is_plain && !str_starts(url, STR("https://")))
        return check_blame(k, path, "is not an http:// or https:// URL");
    authority.p += is_plain ? 7 : 8;
    authority.n = 0;
    while (!strchr("/?#", authority.p[authority.n]))
        authority.n++;
    if (memchr(authority.p, '@', authority.n))
        return check_blame(k, path,
                           "must not hold a user or password; hooks are signed (secret)");
    if (memchr(url.p, '#', url.n))
        return check_blame(k, path, "must not hold a fragment (#…)");
    if (!url_host(url, &host, &port, &is_https))
        return check_blame(k, path,
                           "is not a URL: host, port or a character in it is wrong");
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
        if (check_url(k, check_at("endpoints[%zu].hooks.%s", n, rows[i].key).s,
                      rows[i].url))
            return -1;
    if (p->encryption == ENCRYPTION_HOOK && !h->handshake.n)
        return check_blame(
            k, check_at("endpoints[%zu].hooks.handshake", n).s,
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
                return check_blame(k, check_at("%s[%zu]", path, i).s,
                                   "%s: {userId} is the only placeholder",
                                   conf_show(l->v[i]).s);
            s = after;
        }
    return 0;
}

static int check_rooms(struct check *k, size_t n, const struct conf_endpoint *p)
{
    struct check_at path = check_at("endpoints[%zu].default_rooms", n);
    for (size_t i = 0; i < p->default_rooms.n; i++)
        if (p->default_rooms.v[i].n > 256 ||
            str_starts(p->default_rooms.v[i], STR("ws:")))
            return check_blame(
                k, check_at("%s[%zu]", path.s, i).s,
                "%s is no room name: at most 256 bytes, not beginning with ws:",
                conf_show(p->default_rooms.v[i]).s);
    if ((int64_t)p->default_rooms.n + 1 > p->max_rooms)
        return check_blame(k, check_at("endpoints[%zu].max_rooms", n).s,
                           "%" PRId64
                           " is too small: the default rooms and the client's own "
                           "are %zu",
                           p->max_rooms, p->default_rooms.n + 1);
    if (check_patterns(k, check_at("endpoints[%zu].rooms.join", n).s, &p->rooms.join))
        return -1;
    return check_patterns(k, check_at("endpoints[%zu].rooms.publish", n).s,
                          &p->rooms.publish);
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

int check_origins(struct check *k, const char *path, const struct conf_strs *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (!is_origin(l->v[i]))
            return check_blame(k, check_at("%s[%zu]", path, i).s,
                               "%s is not an origin: https://host[:port] without a path, "
                               "https://*.example.com, same, or *",
                               conf_show(l->v[i]).s);
    return 0;
}

/* Placeholders are whole segments, each at most once: {room} and {role} at a signaling
 * endpoint (it needs both), none elsewhere. */
static int check_placeholders(struct check *k, const char *path,
                              const struct conf_endpoint *p)
{
    bool is_signaling = p->protocol == PROTOCOL_SIGNALING;
    unsigned rooms = 0, roles = 0;
    for (struct str rest = p->path, segment; rest.p;) {
        segment = str_split(rest, '/', &rest);
        bool is_room = str_is(segment, "{room}"), is_role = str_is(segment, "{role}");
        bool has_brace =
            memchr(segment.p, '{', segment.n) || memchr(segment.p, '}', segment.n);
        if (has_brace && !(is_signaling && (is_room || is_role)))
            return check_blame(
                k, path,
                "%s: {room} and {role}, each a whole segment, are the only "
                "placeholders, and for protocol: signaling only",
                conf_show(p->path).s);
        rooms += is_room;
        roles += is_role;
    }
    if (is_signaling && (rooms != 1 || roles != 1))
        return check_blame(
            k, path,
            "%s must have the segments {room} and {role}, each once, as in "
            "/ws/signaling/{room}/{role}",
            conf_show(p->path).s);
    return 0;
}

static bool is_placeholder(struct str segment)
{
    return segment.n && segment.p[0] == '{';
}

/* Is there a URL path that both would be asked for? A slash at the end of a
 * notifications endpoint does not count. */
static bool is_same_path(const struct conf_endpoint *a, const struct conf_endpoint *b)
{
    struct str x = a->path, y = b->path;
    bool is_loose =
        a->protocol == PROTOCOL_NOTIFICATIONS || b->protocol == PROTOCOL_NOTIFICATIONS;
    bool are_patterns =
        a->protocol == PROTOCOL_SIGNALING && b->protocol == PROTOCOL_SIGNALING;
    if (is_loose) {
        x.n -= x.n > 1 && x.p[x.n - 1] == '/';
        y.n -= y.n > 1 && y.p[y.n - 1] == '/';
    }
    while (are_patterns && x.p && y.p) {
        struct str s = str_split(x, '/', &x), t = str_split(y, '/', &y);
        if (!str_eq(s, t) && !is_placeholder(s) && !is_placeholder(t))
            return false;
    }
    return are_patterns ? !x.p && !y.p : str_eq(x, y);
}

static int check_path(struct check *k, size_t n, const struct conf_endpoint *p)
{
    static const char *const reserved[] = {"/health", "/ready", "/metrics",  "/docs",
                                           "/demos",  "/api",   "/heliod.js"};
    static const char *const below[] = {"/api/", "/demos/"};
    struct str s = p->path;
    struct check_at path = check_at("endpoints[%zu].path", n);
    if (s.p[0] != '/')
        return check_blame(k, path.s, "%s does not begin with /", conf_show(s).s);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f ||
            strchr("?#", s.p[i]))
            return check_blame(
                k, path.s,
                "%s is not the path of a URL: a blank, ?, # or a character that "
                "has to be percent-encoded is in it",
                conf_show(s).s);
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (str_is(s, reserved[i]))
            return check_blame(k, path.s, "%s is one of heliod's own pages",
                               conf_show(s).s);
    for (size_t i = 0; i < ARRAY_LEN(below); i++)
        if (str_starts(s, str_of(below[i])))
            return check_blame(k, path.s, "%s is one of heliod's own pages",
                               conf_show(s).s);
    for (size_t j = 0; j < n; j++)
        if (is_same_path(p, &k->c->main.endpoints.v[j]))
            return check_blame(k, path.s, "%s is taken by the endpoint%s", conf_show(s).s,
                               check_first_in(k, check_at("endpoints[%zu].path", j).s).s);
    return check_placeholders(k, path.s, p);
}

/* Which protocols a key means something to; a key that is not listed belongs to events.
 * One without effect is refused: somebody may rely on it. */
enum {
    EVENTS = 1 << PROTOCOL_EVENTS,
    SIGNALING = 1 << PROTOCOL_SIGNALING,
    NOTIFICATIONS = 1 << PROTOCOL_NOTIFICATIONS,
    ALL = EVENTS | SIGNALING | NOTIFICATIONS | 1 << PROTOCOL_ECHO,
};
static const struct {
    const char *key;
    int protocols;
} meant_for[] = {
    {"path", ALL},
    {"protocol", ALL},
    {"allowed_origins", ALL},
    {"require_origin", ALL},
    {"refusals", ALL},
    {"max_message", ALL},
    {"backpressure", ALL},
    {"compression", ALL},
    {"compression_threshold", ALL},
    {"compression_level", ALL},
    {"auth", EVENTS | SIGNALING | NOTIFICATIONS},
    {"roles", SIGNALING},
    {"room_size", SIGNALING},
    {"role_size", SIGNALING},
    {"takeover_probe", SIGNALING},
    {"grace", SIGNALING},
    {"ice_servers", SIGNALING},
    {"backlog", NOTIFICATIONS},
};

static int protocols_of(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(meant_for); i++)
        if (strcmp(meant_for[i].key, key) == 0)
            return meant_for[i].protocols;
    return EVENTS;
}

static int check_meaning(struct check *k, size_t n, const struct conf_endpoint *p)
{
    const struct conf_key *protocol =
        conf_find(&conf_endpoint_section, STR("protocol"), NULL);
    for (size_t i = 0; i < conf_endpoint_section.n; i++) {
        const char *name = conf_endpoint_section.keys[i].name;
        struct check_at path = check_at("endpoints[%zu].%s", n, name);
        int protocols = protocols_of(name);
        if (!(protocols & 1 << p->protocol) && conf_is_given(k->c, path.s))
            return check_blame(k, path.s,
                               "is for protocol: %s, but the protocol is " STR_FMT,
                               protocols & EVENTS      ? "events"
                               : protocols & SIGNALING ? "signaling"
                                                       : "notifications",
                               STR_ARG(conf_choice(protocol, p->protocol)));
    }
    return 0;
}

/* What a key is where it is not given depends on the protocol. Where nobody shows a
 * credential, another site's page is not let in unasked; a page cannot read the status of
 * a refusal, and signaling and notifications are made for pages. */
static int set_defaults(struct check *k, size_t n, const struct conf_endpoint *p)
{
    struct check_at origins = check_at("endpoints[%zu].allowed_origins", n);
    struct check_at refusals = check_at("endpoints[%zu].refusals", n);
    bool is_open = p->protocol == PROTOCOL_ECHO || (p->protocol == PROTOCOL_SIGNALING &&
                                                    p->auth.method == AUTH_ANONYMOUS);
    bool is_for_pages =
        p->protocol == PROTOCOL_SIGNALING || p->protocol == PROTOCOL_NOTIFICATIONS;
    if (is_open && !conf_is_given(k->c, origins.s) &&
        conf_set(k->c, origins.s, STR("same"), 0, k->e))
        return -1;
    if (is_for_pages && !conf_is_given(k->c, refusals.s) &&
        conf_set(k->c, refusals.s, STR("close"), 0, k->e))
        return -1;
    return 0;
}

static int check_endpoint(struct check *k, size_t n)
{
    const struct conf_endpoint *p = &k->c->main.endpoints.v[n];
    struct check_at origins = check_at("endpoints[%zu].allowed_origins", n);
    if (check_path(k, n, p) || check_origins(k, origins.s, &p->allowed_origins) ||
        check_meaning(k, n, p) || check_auth(k, n, p) || set_defaults(k, n, p))
        return -1;
    if (p->protocol == PROTOCOL_SIGNALING)
        return check_signaling(k, n, p);
    return check_hooks(k, n, p) || check_rooms(k, n, p) ? -1 : 0;
}

int check_endpoints(struct check *k)
{
    if (k->c->main.endpoints.n == 0)
        return check_blame(k, "endpoints", "is missing; at least one has to be given");
    for (size_t i = 0; i < k->c->main.endpoints.n; i++)
        if (check_endpoint(k, i))
            return -1;
    return 0;
}
