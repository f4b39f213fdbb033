#include "common/conf_check.h"
#include "common/conf_value.h"

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
        return check_blame(k, path, "unsigned tokens are never accepted");
    if (!is_algorithm(l->v[i]))
        return check_blame(
            k, path,
            "%s is unknown; known are HS256, HS384, HS512, the same of RS, PS and "
            "ES, and EdDSA",
            conf_show(l->v[i]).s);
    for (size_t j = 0; j < i; j++)
        if (str_eq(l->v[i], l->v[j]))
            return check_blame(k, path, "%s stands there twice", conf_show(l->v[i]).s);
    return 0;
}

/* The families of the accepted algorithms; 0: something is wrong with them. */
static unsigned check_algorithms(struct check *k, size_t n, const struct conf_auth *a)
{
    struct check_at path = check_at("endpoints[%zu].auth.algorithms", n);
    unsigned families = 0;
    if (a->algorithms.n == 0)
        return check_blame(k, path.s,
                           "is missing; method: jwt needs at least one, such as [HS256]"),
               0;
    for (size_t i = 0; i < a->algorithms.n; i++) {
        if (check_algorithm(k, check_at("%s[%zu]", path.s, i).s, &a->algorithms, i))
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
        return check_blame(k, path,
                           "is a private key; tokens are verified with the public one");
    bool is_pem = key.n && memmem(key.p, key.n, "-----BEGIN ", 11);
    if (is_pem && !(families & FAMILY_PUBLIC))
        return check_blame(
            k, path,
            "is a PEM key, but all accepted algorithms (HS…) take a shared secret");
    if (!is_pem && !(families & FAMILY_HMAC))
        return check_blame(k, path,
                           "is not a PEM key, which all accepted algorithms need "
                           "(-----BEGIN PUBLIC KEY-----)");
    *had |= is_pem ? FAMILY_PUBLIC : FAMILY_HMAC;
    return 0;
}

static int check_keys(struct check *k, size_t n, const struct conf_auth *a,
                      unsigned families, unsigned *had)
{
    for (size_t i = 0; i < a->keys.n; i++) {
        struct check_at kid = check_at("endpoints[%zu].auth.keys[%zu].kid", n, i);
        for (size_t j = 0; j < i; j++)
            if (str_eq(a->keys.v[i].kid, a->keys.v[j].kid))
                return check_blame(
                    k, kid.s, "%s is taken by the key%s", conf_show(a->keys.v[i].kid).s,
                    check_first_in(k,
                                   check_at("endpoints[%zu].auth.keys[%zu].kid", n, j).s)
                        .s);
        if (check_key(k, check_at("endpoints[%zu].auth.keys[%zu].key", n, i).s,
                      a->keys.v[i].key.value, families, had))
            return -1;
    }
    return 0;
}

static int check_jwt(struct check *k, size_t n, const struct conf_auth *a)
{
    struct check_at path = check_at("endpoints[%zu].auth.key", n);
    unsigned had = 0;
    if (!a->key.value.n && !a->keys.n)
        return check_blame(k, path.s,
                           "is missing; method: jwt needs key, key_file or keys");
    unsigned families = check_algorithms(k, n, a);
    if (!families)
        return -1;
    if (a->key.value.n && check_key(k, path.s, a->key.value, families, &had))
        return -1;
    if (check_keys(k, n, a, families, &had))
        return -1;
    if (had == families)
        return 0;
    return check_blame(
        k, check_at("endpoints[%zu].auth.algorithms", n).s,
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
        {"tokens", AUTH_STATIC},      {"key", AUTH_JWT},    {"keys", AUTH_JWT},
        {"algorithms", AUTH_JWT},     {"issuer", AUTH_JWT}, {"audience", AUTH_JWT},
        {"user_claim", AUTH_JWT},     {"leeway", AUTH_JWT}, {"require_exp", AUTH_JWT},
        {"enforce_expiry", AUTH_JWT},
    };
    const struct conf_key *key = conf_find(&conf_auth_section, STR("method"), NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct check_at path = check_at("endpoints[%zu].auth.%s", n, rows[i].key);
        if (rows[i].method != method && conf_is_given(k->c, path.s))
            return check_blame(k, path.s,
                               "is for method: " STR_FMT ", but the method is " STR_FMT,
                               STR_ARG(conf_choice(key, rows[i].method)),
                               STR_ARG(conf_choice(key, method)));
    }
    return 0;
}

/* hook and anonymous are not for everybody: who only shows a token in the handshake
 * cannot be asked for more, and a notification is for somebody. */
static int check_method(struct check *k, size_t n, const struct conf_endpoint *p)
{
    struct check_at path = check_at("endpoints[%zu].auth.method", n);
    bool is_events = p->protocol == PROTOCOL_EVENTS;
    if (p->auth.method == AUTH_HOOK && !is_events)
        return check_blame(k, path.s, "hook is for protocol: events only");
    if (p->auth.method == AUTH_TICKET && is_events)
        return check_blame(k, path.s,
                           "ticket is for signaling and notifications, whose token comes "
                           "in the URL");
    if (p->auth.method == AUTH_ANONYMOUS && p->protocol == PROTOCOL_NOTIFICATIONS)
        return check_blame(
            k, path.s, "anonymous gives no user to notify; use jwt, static or ticket");
    return 0;
}

int check_auth(struct check *k, size_t n, const struct conf_endpoint *p)
{
    if (check_method(k, n, p) || check_foreign_keys(k, n, p->auth.method))
        return -1;
    if (p->auth.method == AUTH_JWT)
        return check_jwt(k, n, &p->auth);
    if (p->auth.method == AUTH_STATIC && !p->auth.tokens.value.n)
        return check_blame(k, check_at("endpoints[%zu].auth.tokens", n).s,
                           "is missing; method: static needs tokens_file or tokens");
    if (p->auth.method == AUTH_HOOK && !p->hooks.authenticate.n)
        return check_blame(k, check_at("endpoints[%zu].hooks.authenticate", n).s,
                           "is missing; auth.method: hook asks that URL");
    return 0;
}
