#include "common/mem.h"

void *mem_new(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    BUG_ON(!p);
    return p;
}

void *mem_resize(void *p, size_t n)
{
    BUG_ON(n == 0);
    p = realloc(p, n);
    BUG_ON(!p);
    return p;
}

char *mem_strdup(const char *s)
{
    if (!s)
        return NULL;
    char *copy = strdup(s);
    BUG_ON(!copy);
    return copy;
}

void mem_wipe_free(void *p, size_t n)
{
    if (p)
        explicit_bzero(p, n);
    free(p);
}
