/* extensions: Sec-WebSocket-Extensions in an opening handshake (RFC 6455 §9.1): is the
 * list well formed, and which offer of permessage-deflate can be taken (RFC 7692 §5.1,
 * §7.1)? Owns nothing. Pure; a bad offer is passed over, never mended. */
#ifndef WORKER_HTTP_EXTENSIONS_H
#define WORKER_HTTP_EXTENSIONS_H

#include "common/buf.h"
#include "worker/http/request.h"

/* The terms on which messages are compressed. Neither side's context is ever taken over
 * to the next message, whether that was offered or not: §7.1.1 leaves it to the server.
 */
struct extensions_deflate {
    uint8_t window_bits; /* of what we send: 8 … 15 */
    bool is_asked;       /* the client gave a limit, and must be answered */
};

bool extensions_are_good(struct str list); /* one header field's value */
/* The first offer that can be taken as it is. false: there is none. */
bool extensions_take_deflate(const struct request *r, struct extensions_deflate *out);
/* The header field of the 101. */
void extensions_answer(const struct extensions_deflate *d, struct buf *out);

#endif
