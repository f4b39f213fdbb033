/* deflate: messages made smaller and whole again (RFC 7692 §7.2), for a worker: one
 * inflater and one deflater for each window size, made when first needed, reset for every
 * message (no_context_takeover both ways). Owns them and two buffers. Knows no connection
 * and keeps nothing for one; never inflates more than it is told to. */
#ifndef WORKER_WS_DEFLATE_H
#define WORKER_WS_DEFLATE_H

#include "common/str.h"

#define DEFLATE_BITS_MIN 8 /* of a window of 2^bits bytes: §7.1.2.1 */
#define DEFLATE_BITS_MAX 15

struct deflate;
struct deflate *deflate_new(void);
void deflate_free(struct deflate *d);

enum deflate_verdict {
    DEFLATE_OK,
    DEFLATE_BAD, /* no DEFLATE data, or not all of it */
    DEFLATE_BIG, /* more than limit bytes; limit + 1 were made at most */
};
/* A whole message, however many frames it came in. *out: a view until unpack_done. */
enum deflate_verdict deflate_unpack(struct deflate *d, struct str packed, size_t limit,
                                    struct str *out);
void deflate_unpack_done(struct deflate *d);
/* What a message of `limit` bytes may become on the wire before it is taken for none. */
uint64_t deflate_packed_max(uint64_t limit);

/* For a client whose window is 2^bits bytes. false: it would not become smaller. *out: a
 * view until pack_done. level: 1 (quick) … 9 (small). */
bool deflate_pack(struct deflate *d, struct str plain, unsigned bits, int level,
                  struct str *out);
void deflate_pack_done(struct deflate *d);
/* Window sizes whose packed messages are the same, as one number. */
unsigned deflate_window(unsigned bits);

#endif
