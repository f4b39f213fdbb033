#include "common/conf_check.h"
#include "common/conf_value.h"

#define ROLE_MAX 128

/* PROTOCOL part B: a segment of the path. */
static bool is_role(struct str s)
{
    if (s.n > ROLE_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], lower = c | 0x20;
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '.' &&
            c != '_' && c != '~' && c != '-')
            return false;
    }
    return s.n > 0;
}

static int check_roles(struct check *k, size_t n, const struct conf_strs *roles)
{
    for (size_t i = 0; i < roles->n; i++) {
        struct check_at path = check_at("endpoints[%zu].roles[%zu]", n, i);
        if (!is_role(roles->v[i]))
            return check_blame(k, path.s, "%s is no role: 1 to %d of A-Z a-z 0-9 . _ ~ -",
                               conf_show(roles->v[i]).s, ROLE_MAX);
        for (size_t j = 0; j < i; j++)
            if (str_eq(roles->v[i], roles->v[j]))
                return check_blame(k, path.s, "%s stands there twice",
                                   conf_show(roles->v[i]).s);
    }
    return 0;
}

static bool is_turn(struct str url)
{
    return str_starts(url, STR("turn:")) || str_starts(url, STR("turns:"));
}

/* RFC 7064 and RFC 7065: no slashes behind the colon. */
static bool is_ice_url(struct str url)
{
    struct str behind;
    if (!is_turn(url) && !str_starts(url, STR("stun:")) &&
        !str_starts(url, STR("stuns:")))
        return false;
    str_split(url, ':', &behind);
    return behind.n > 0 && behind.p[0] != '/' && !memchr(behind.p, ' ', behind.n);
}

static int check_ice_server(struct check *k, const char *path,
                            const struct conf_ice_server *s)
{
    bool has_turn = false, has_credential = s->username.n && s->credential.value.n;
    if (s->urls.n == 0)
        return check_blame(k, check_at("%s.urls", path).s,
                           "is missing; it has to be given");
    for (size_t i = 0; i < s->urls.n; i++) {
        if (!is_ice_url(s->urls.v[i]))
            return check_blame(k, check_at("%s.urls[%zu]", path, i).s,
                               "%s is not a stun:, stuns:, turn: or turns: URL",
                               conf_show(s->urls.v[i]).s);
        has_turn |= is_turn(s->urls.v[i]);
    }
    if (s->secret.value.n && (s->username.n || s->credential.value.n))
        return check_blame(k, check_at("%s.secret", path).s,
                           "and a fixed username or credential exclude each other");
    if (!s->username.n != !s->credential.value.n)
        return check_blame(k, path, "has only one of username and credential");
    if (has_turn && !s->secret.value.n && !has_credential)
        return check_blame(k, path,
                           "has a turn: URL, which needs secret, or username and "
                           "credential");
    return 0;
}

int check_signaling(struct check *k, size_t n, const struct conf_endpoint *p)
{
    if (check_roles(k, n, &p->roles))
        return -1;
    for (size_t i = 0; i < p->ice_servers.n; i++)
        if (check_ice_server(k, check_at("endpoints[%zu].ice_servers[%zu]", n, i).s,
                             &p->ice_servers.v[i]))
            return -1;
    return 0;
}
