#include "worker/http/route.h"

#include <stdarg.h>

#define SHOWN_MAX 120 /* bytes of outside text in a message */

static bool is_placeholder(struct str segment)
{
    return segment.n && segment.p[0] == '{';
}

/* Everything but the placeholders, segment by segment. */
static bool fits(struct str pattern, struct str path)
{
    while (pattern.p && path.p) {
        struct str want = str_split(pattern, '/', &pattern);
        struct str got = str_split(path, '/', &path);
        if (!is_placeholder(want) && !str_eq(want, got))
            return false;
    }
    return !pattern.p && !path.p;
}

/* Notifications are met with and without the slash at the end (PROTOCOL part C). */
static bool is_at(const struct conf_endpoint *conf, struct str path)
{
    struct str own = conf->path;
    if (conf->protocol == PROTOCOL_NOTIFICATIONS) {
        own.n -= own.n > 1 && own.p[own.n - 1] == '/';
        path.n -= path.n > 1 && path.p[path.n - 1] == '/';
    }
    return str_eq(own, path);
}

static const struct route *find(const struct routes *r, struct str path)
{
    for (size_t i = 0; i < r->n; i++)
        if (is_at(r->v[i].conf, path))
            return &r->v[i];
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i].conf->protocol == PROTOCOL_SIGNALING &&
            fits(r->v[i].conf->path, path))
            return &r->v[i];
    return NULL;
}

/* ---- room and role ---- */

bool route_is_segment_char(char c)
{
    char lower = c | 0x20;
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '~' || c == '-';
}

/* What a page makes of a variable that was never set. */
static bool is_unset(struct str s)
{
    static const char *const unset[] = {"undefined", "null", "NaN", "[object Object]"};
    for (size_t i = 0; i < ARRAY_LEN(unset); i++)
        if (str_is(s, unset[i]))
            return true;
    return memchr(s.p, '{', s.n) || memchr(s.p, '}', s.n);
}

static void PRINTF(3, 4)
    blame(struct refusal *why, const char *hint, const char *fmt, ...)
{
    va_list args;
    *why = (struct refusal){.status = 400, .error = "bad-path"};
    snprintf(why->hint, sizeof(why->hint), "%s", hint);
    va_start(args, fmt);
    vsnprintf(why->message, sizeof(why->message), fmt, args);
    va_end(args);
}

/* It may hold a brace, and then anything. */
static void blame_unset(struct str segment, const char *name, struct refusal *why)
{
    struct buf shown = {0};
    buf_escape(&shown, segment, SHOWN_MAX);
    blame(why, "Set the variable that the page builds the URL from.",
          "The %s in the path is `%s`: a variable of the page is not set.", name,
          buf_cstr(&shown));
    buf_free(&shown);
}

/* What is wrong with one segment? name: "room" or "role". */
static bool judge(struct str raw, const char *name, char *text, struct str *out,
                  struct refusal *why)
{
    size_t n = 0, good = 0;
    bool is_whole = request_decode(raw, text, ROUTE_SEGMENT_MAX, &n);
    *out = (struct str){text, n};
    if (raw.n == 0) {
        blame(why, "Is the variable set that the page builds the URL from?",
              "The %s in the path is empty.", name);
        return false;
    }
    if (is_whole && is_unset(*out)) {
        blame_unset(*out, name, why);
        return false;
    }
    while (is_whole && good < n && route_is_segment_char(text[good]))
        good++;
    if (is_whole && good == n)
        return true;
    blame(why, "Use 1 to 128 of A-Z a-z 0-9 . _ ~ -",
          "The %s in the path is too long, or has a character that is not allowed.",
          name);
    return false;
}

/* The outside text of a role is of allowed characters only when this is asked. */
static bool has_role(const struct conf_endpoint *conf, struct str role,
                     struct refusal *why)
{
    struct buf list = {0};
    if (conf->roles.n == 0)
        return true;
    for (size_t i = 0; i < conf->roles.n; i++)
        if (str_eq(conf->roles.v[i], role))
            return true;
    for (size_t i = 0; i < conf->roles.n; i++)
        buf_printf(&list, "%s" STR_FMT, i ? ", " : "", STR_ARG(conf->roles.v[i]));
    blame(why, "", "The role %.*s is not among this endpoint's roles.", STR_ARG(role));
    snprintf(why->hint, sizeof(why->hint), "Allowed: %s.", buf_cstr(&list));
    buf_free(&list);
    return false;
}

static bool read_segments(struct str path, struct route_match *m, struct refusal *why)
{
    struct str pattern = m->route->conf->path;
    while (pattern.p) {
        struct str want = str_split(pattern, '/', &pattern);
        struct str got = str_split(path, '/', &path);
        if (str_is(want, "{room}") && !judge(got, "room", m->text[0], &m->room, why))
            return false;
        if (str_is(want, "{role}") && !judge(got, "role", m->text[1], &m->role, why))
            return false;
    }
    return has_role(m->route->conf, m->role, why);
}

enum route_verdict route_find(const struct routes *r, struct str path,
                              struct route_match *out, struct refusal *why)
{
    out->route = find(r, path);
    out->room = out->role = STR_NONE;
    if (!out->route)
        return ROUTE_NONE;
    bool has_segments = out->route->conf->protocol == PROTOCOL_SIGNALING;
    return has_segments && !read_segments(path, out, why) ? ROUTE_BAD : ROUTE_FOUND;
}

struct str route_missing(struct str pattern, struct str path)
{
    while (pattern.p && path.p) {
        struct str want = str_split(pattern, '/', &pattern);
        struct str got = str_split(path, '/', &path);
        if (!is_placeholder(want) && !str_eq(want, got))
            return STR_NONE;
    }
    struct str next = pattern.p ? str_split(pattern, '/', &pattern) : STR_NONE;
    return is_placeholder(next) ? next : STR_NONE;
}

/* ---- the nearest ---- */

/* A path that a proxy or a page lengthened (/api/ws, /ws/room) counts as near by what was
 * added, but never as nearer than a slip of the finger. */
static bool is_part(struct str part, struct str whole)
{
    if (part.n < 2 || part.n >= whole.n)
        return false;
    return str_ends(whole, part) || (str_starts(whole, part) && whole.p[part.n] == '/');
}

/* Edits from one to the other; UINT_MAX: they have nothing in common. */
static unsigned distance(struct str conf, struct str path)
{
    enum { TOO_LONG = 65 }; /* str_distance does not count further */
    unsigned edits = str_distance(conf, path);
    size_t longer = MAX(conf.n, path.n);
    if (str_eq_nocase(conf, path))
        return 0;
    if (edits < TOO_LONG && edits <= 1 + longer / 4)
        return edits;
    return is_part(conf, path) ? TOO_LONG : UINT_MAX;
}

/* With as many segments as the pattern has, what stands for a placeholder costs nothing.
 */
static unsigned segments_apart(struct str pattern, struct str path)
{
    unsigned edits = 0;
    size_t n = 0;
    while (pattern.p && path.p) {
        struct str want = str_split(pattern, '/', &pattern);
        struct str got = str_split(path, '/', &path);
        if (is_placeholder(want))
            continue;
        edits += str_distance(want, got);
        n += 1 + MAX(want.n, got.n);
    }
    return pattern.p || path.p || edits > 1 + n / 4 ? UINT_MAX : edits;
}

struct str route_nearest(const struct routes *r, struct str path)
{
    struct str nearest = STR_NONE;
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < r->n; i++) {
        struct str conf = r->v[i].conf->path;
        unsigned d = route_missing(conf, path).p ? 0 : distance(conf, path);
        if (memchr(conf.p, '{', conf.n))
            d = MIN(d, segments_apart(conf, path));
        if (d < least) {
            least = d;
            nearest = conf;
        }
    }
    return nearest;
}
