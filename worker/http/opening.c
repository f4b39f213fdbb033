#include "worker/http/opening.h"

#define SESSION_MIN 8
#define SESSION_MAX 128
#define TOKEN_PROTOCOL "token."

/* The scheme is compared without case (RFC 9110 §11.1). */
static struct str bearer(const struct request *r)
{
    struct str value, scheme = str_split(request_field(r, "Authorization"), ' ', &value);
    return str_eq_nocase(scheme, STR("Bearer")) ? str_trim(value) : STR_NONE;
}

static struct str in_subprotocol(const struct request *r)
{
    struct request_list at = {0};
    struct str name, prefix = STR(TOKEN_PROTOCOL);
    while (request_next(r, "Sec-WebSocket-Protocol", &at, &name))
        if (str_starts(name, prefix))
            return (struct str){name.p + prefix.n, name.n - prefix.n};
    return STR_NONE;
}

/* The value of a query key, decoded into place; p NULL: absent, empty or malformed. */
static struct str in_query(const struct request *r, const char *key, char *place)
{
    size_t n = 0;
    bool is_there = request_query(r->query, key, place, r->query.n, &n);
    return is_there && n ? (struct str){place, n} : STR_NONE;
}

static bool is_session(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!route_is_segment_char(s.p[i]))
            return false;
    return s.n >= SESSION_MIN && s.n <= SESSION_MAX;
}

static struct str find_token(const struct request *r, char *place)
{
    struct str token = in_query(r, "token", place);
    if (!token.p)
        token = bearer(r);
    return token.p ? token : in_subprotocol(r);
}

static bool find_session(struct opening *o, const struct request *r, char *place,
                         struct refusal *why)
{
    o->how.session = in_query(r, "session", place);
    if (!o->how.session.p || is_session(o->how.session))
        return true;
    *why = (struct refusal){.status = 400, .error = "bad-session"};
    snprintf(why->message, sizeof(why->message),
             "The session in the query is not 8 to 128 of A-Z a-z 0-9 . _ ~ -");
    snprintf(why->hint, sizeof(why->hint),
             "Make a random one and keep it in sessionStorage, or leave it out.");
    return false;
}

bool opening_init(struct opening *o, const struct request *r, const struct route_match *m,
                  struct refusal *why)
{
    enum conf_protocol protocol = (enum conf_protocol)m->route->conf->protocol;
    *o = (struct opening){.how = {.path = r->path,
                                  .query = r->query,
                                  .origin = request_field(r, "Origin"),
                                  .room = m->room,
                                  .role = m->role}};
    if (protocol != PROTOCOL_SIGNALING && protocol != PROTOCOL_NOTIFICATIONS)
        return true;
    char *place = buf_reserve(&o->text, 2 * r->query.n + 1);
    o->how.token = find_token(r, place);
    return protocol != PROTOCOL_SIGNALING || find_session(o, r, place + r->query.n, why);
}

void opening_fini(struct opening *o)
{
    if (o->text.p)
        explicit_bzero(o->text.p, o->text.cap);
    buf_free(&o->text);
}
