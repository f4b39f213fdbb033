#include "worker/pick.h"

#include "common/mem.h"

static int compare(struct str a, struct str b)
{
    int rc = memcmp(a.p ? a.p : "", b.p ? b.p : "", MIN(a.n, b.n));
    return rc ? rc : (a.n > b.n) - (a.n < b.n);
}

static struct str key_of(const struct pick_item *i)
{
    return (struct str){i->key, i->key_n};
}

static bool is_less(const struct pick_item *a, const struct pick_item *b)
{
    return compare(key_of(a), key_of(b)) < 0;
}

static void swap(struct pick_item *a, struct pick_item *b)
{
    struct pick_item t = *a;
    *a = *b;
    *b = t;
}

void pick_init(struct pick *p, struct str after, size_t limit)
{
    *p = (struct pick){.after = after, .limit = limit};
    p->v = mem_new(limit * sizeof(*p->v));
}

void pick_fini(struct pick *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->v[i].key);
    free(p->v);
}

/* A heap with the last name on top: the first to go. */
static void rise(struct pick *p, size_t i)
{
    for (; i > 0 && is_less(&p->v[(i - 1) / 2], &p->v[i]); i = (i - 1) / 2)
        swap(&p->v[(i - 1) / 2], &p->v[i]);
}

static void sink(struct pick *p)
{
    for (size_t i = 0;;) {
        size_t child = 2 * i + 1;
        if (child >= p->n)
            return;
        child += child + 1 < p->n && is_less(&p->v[child], &p->v[child + 1]);
        if (!is_less(&p->v[i], &p->v[child]))
            return;
        swap(&p->v[i], &p->v[child]);
        i = child;
    }
}

void pick_add(struct pick *p, struct str key, void *what, uint64_t count)
{
    if (p->after.n > 0 && compare(key, p->after) <= 0)
        return;
    bool is_full = p->n == p->limit;
    p->left_out |= is_full;
    if (is_full && compare(key, key_of(&p->v[0])) >= 0)
        return;
    struct pick_item item = {str_dup(key), key.n, what, count};
    if (is_full) {
        free(p->v[0].key);
        p->v[0] = item;
        sink(p);
    } else {
        p->v[p->n++] = item;
        rise(p, p->n - 1);
    }
}

static int compare_items(const void *a, const void *b)
{
    return compare(key_of(a), key_of(b));
}

void pick_sort(struct pick *p)
{
    qsort(p->v, p->n, sizeof(*p->v), compare_items);
}
