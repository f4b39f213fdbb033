/* map: bytes → item, hashed with a per-process secret (SipHash), so that names chosen by
 * strangers cannot collide at will. Owns its slots, not the items; the key lives inside
 * the item and is read through key_of. Never shrinks below its floor; shrinks when three
 * quarters empty. */
#ifndef COMMON_MAP_H
#define COMMON_MAP_H

#include "common/str.h"

struct map_slot {
    uint32_t hash; /* 0: free */
    void *item;
};
struct map {
    struct map_slot *slots;
    size_t cap, n; /* cap: power of two, or 0 */
    struct str (*key_of)(const void *item);
};

void map_init(struct map *m, struct str (*key_of)(const void *item));
void map_fini(struct map *m); /* frees slots, not items */
void *map_get(const struct map *m, struct str key);
void *map_put(struct map *m, void *item); /* returns the item it replaced, or NULL */
void *map_remove(struct map *m, struct str key); /* returns the removed item, or NULL */
/* Walks all items; the body must not change the map. `i` is a size_t the caller declares
 * as 0. */
void *map_next(const struct map *m, size_t *i);
#define MAP_EACH(type, item, m)                                                          \
    for (size_t item##_i = 0, item##_once = 1; item##_once; item##_once = 0)             \
        for (type *item = map_next((m), &item##_i); item; item = map_next((m), &item##_i))

#endif
