#include "worker/http/route.h"

const struct route *route_find(const struct routes *r, struct str path)
{
    for (size_t i = 0; i < r->n; i++)
        if (str_eq(r->v[i].conf->path, path))
            return &r->v[i];
    return NULL;
}

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

struct str route_nearest(const struct routes *r, struct str path)
{
    struct str nearest = STR_NONE;
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < r->n; i++) {
        unsigned d = distance(r->v[i].conf->path, path);
        if (d < least) {
            least = d;
            nearest = r->v[i].conf->path;
        }
    }
    return nearest;
}
