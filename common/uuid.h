/* uuid: random identifiers (RFC 9562 version 4). Owns a small pool of kernel randomness.
 * Never blocks after the first call. */
#ifndef COMMON_UUID_H
#define COMMON_UUID_H

#include "common/buf.h"

#define UUID_TEXT 36
struct uuid {
    uint8_t b[16];
};

static inline bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}
void uuid_make(struct uuid *u);
void uuid_text(const struct uuid *u, char out[UUID_TEXT + 1]); /* lower case */
void uuid_put(struct buf *out, const struct uuid *u);          /* appends that */
bool uuid_parse(struct str s, struct uuid *out); /* exactly the lower-case text form */
void random_bytes(void *p, size_t n);

#endif
