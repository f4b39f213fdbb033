#include "worker/protocols/signaling_roster.h"

#include "common/mem.h"

void roster_free(struct roster *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->v[i].role);
    free(r->v);
    *r = (struct roster){0};
}

struct peer *roster_find(const struct roster *r, const struct uuid *id)
{
    for (size_t i = 0; i < r->n; i++) {
        if (uuid_eq(&r->v[i].id, id))
            return &r->v[i];
    }
    return NULL;
}

static void grow(struct roster *r)
{
    if (r->n < r->cap)
        return;
    r->cap = r->cap ? (uint16_t)(r->cap * 2) : 2;
    r->v = mem_resize(r->v, r->cap * sizeof(*r->v));
}

struct peer *roster_put(struct roster *r, const struct uuid *id,
                        const struct uuid *worker, struct str role)
{
    struct peer *p = roster_find(r, id);
    if (p)
        return p;
    grow(r);
    p = &r->v[r->n++];
    *p = (struct peer){.id = *id, .worker = *worker, .role = str_dup(role)};
    return p;
}

void roster_remove(struct roster *r, struct peer *p)
{
    size_t at = (size_t)(p - r->v);
    free(p->role);
    r->n--;
    memmove(p, p + 1, (r->n - at) * sizeof(*p));
}

void roster_unmark(struct roster *r)
{
    for (size_t i = 0; i < r->n; i++)
        r->v[i].is_marked = false;
}
