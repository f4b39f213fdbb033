/* body: takes the body of a request out of the stream, by length or chunk by chunk (RFC
 * 9112 §6, §7.1), a piece at a time. Owns nothing. Pure; never keeps a byte of the
 * framing and never takes one that belongs to the next request. */
#ifndef WORKER_HTTP_BODY_H
#define WORKER_HTTP_BODY_H

#include "common/buf.h"
#include "worker/http/request.h"

#define BODY_LINE_MAX 256     /* bytes of a chunk's first line, extensions included */
#define BODY_TRAILER_MAX 4096 /* bytes of all the fields behind the last chunk */

enum body_verdict {
    BODY_DONE,
    BODY_MORE,
    BODY_BAD,       /* 400 */
    BODY_TOO_LARGE, /* 413 */
};
struct body {
    size_t max, got; /* bytes of content: allowed, seen */
    uint64_t left;   /* of the content, or of the chunk under way */
    uint16_t line_n; /* bytes of the line, or of the trailer */
    uint8_t digits;  /* of the chunk's size */
    uint8_t state;
};

/* BODY_TOO_LARGE: the announced length alone is over max. */
enum body_verdict body_init(struct body *b, const struct request *r, size_t max);
/* Appends content to out; *used: how many of the bytes belong to this body. why: a
 * sentence when BODY_BAD. Not to be fed again once it is done or failed. */
enum body_verdict body_feed(struct body *b, struct str bytes, size_t *used,
                            struct buf *out, const char **why);

#endif
