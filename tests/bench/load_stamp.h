/* load_stamp: what a measured message carries, and whether those of a sender came whole,
 * once and in order. Owns nothing. Never trusts the server with anything.
 *
 *     '~' sender[4] sequence[5] check[6] filling…        base-64 digits, then a pattern
 */
#ifndef BENCH_LOAD_STAMP_H
#define BENCH_LOAD_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAMP_BYTES 16
#define STAMP_MAX_PAYLOAD (1u << 20)

struct stamp {
    uint32_t sender, seq;
};

void stamp_write(char *to, size_t size,
                 struct stamp s); /* all of a payload's size bytes */
bool stamp_read(const char *p, size_t size, struct stamp *s); /* false: not as written */

/* One receiver's view of one sender. */
struct order {
    uint32_t next, unique;
    uint64_t seen; /* bit i: next - 1 - i came */
};
enum order_verdict { ORDER_GOOD, ORDER_LATE, ORDER_TWICE };
enum order_verdict order_take(struct order *o, uint32_t seq);

#endif
