#include "common/conf_origin.h"

#include "common/map.h"
#include "common/mem.h"

struct origin {
    int line;
    struct str path; /* of the bytes behind this struct */
    char bytes[];
};
struct conf_origins {
    struct map by_path;
};

static struct str path_of(const void *item)
{
    return ((const struct origin *)item)->path;
}

struct conf_origins *conf_origins_new(void)
{
    struct conf_origins *o = NEW(struct conf_origins);
    map_init(&o->by_path, path_of);
    return o;
}

void conf_origins_free(struct conf_origins *o)
{
    if (!o)
        return;
    MAP_EACH (struct origin, origin, &o->by_path) {
        free(origin);
    }
    map_fini(&o->by_path);
    free(o);
}

static struct origin *origin_of(struct conf_origins *o, struct str path, int line)
{
    struct origin *origin = map_get(&o->by_path, path);
    if (origin)
        return origin;
    origin = mem_new(sizeof(*origin) + path.n);
    memcpy(origin->bytes, path.p, path.n);
    origin->path = (struct str){origin->bytes, path.n};
    origin->line = line;
    map_put(&o->by_path, origin);
    return origin;
}

void conf_origins_note(struct conf_origins *o, const char *path, int line)
{
    for (const char *p = path + 1; *p; p++)
        if (*p == '.' || *p == '[')
            origin_of(o, (struct str){path, (size_t)(p - path)}, line);
    origin_of(o, str_of(path), line)->line = line;
}

int conf_origins_line(const struct conf_origins *o, struct str path)
{
    const struct origin *origin = o ? map_get(&o->by_path, path) : NULL;
    return origin ? origin->line : -1;
}
