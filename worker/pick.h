/* pick: the first few of many names in their order (of bytes), without sorting all of
 * them. Owns copies of those. Never holds more than it was asked for. */
#ifndef WORKER_PICK_H
#define WORKER_PICK_H

#include "common/str.h"

struct pick_item {
    char *key; /* owned */
    size_t key_n;
    void *what;
    uint64_t count;
};
struct pick {
    struct str after; /* only names behind it; empty: all */
    size_t limit;
    struct pick_item *v; /* pick_sort: in order */
    size_t n;
    bool left_out; /* there are more behind the last one */
};

void pick_init(struct pick *p, struct str after, size_t limit); /* limit > 0 */
void pick_fini(struct pick *p);
void pick_add(struct pick *p, struct str key, void *what, uint64_t count);
void pick_sort(struct pick *p); /* nothing is added any more */

#endif
