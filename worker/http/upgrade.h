/* upgrade: is this request a WebSocket opening handshake (RFC 6455 §4.2.1), and what is
 * the answer (§4.2.2)? Owns nothing. Pure. */
#ifndef WORKER_HTTP_UPGRADE_H
#define WORKER_HTTP_UPGRADE_H

#include "common/buf.h"
#include "worker/http/extensions.h"

/* An explained refusal (PROTOCOL part D). */
struct refusal {
    unsigned status;   /* 400, 403, 404, 405, 426, 431, 503, 505 … */
    const char *error; /* short code: "bad-handshake" */
    const char *allow; /* of a 405: the methods that are allowed */
    char message[256], hint[256];
};

/* Does it ask for an upgrade at all (Upgrade: websocket, any case)? */
bool upgrade_is_asked(const struct request *r);
/* Checks every MUST. false: *why is filled (400, 405, 426), message beginning `WebSocket
 * upgrade failed: `. */
bool upgrade_check(const struct request *r, struct refusal *why);
/* Sec-WebSocket-Accept for a key; out: 28 characters and a NUL. */
void upgrade_accept(struct str key, char out[29]);
/* The subprotocol to select: the first offered that is not `token.*`, else the first
 * offered, else none (PROTOCOL A12). */
struct str upgrade_subprotocol(const struct request *r);
/* The 101 response. deflate: the terms taken; NULL: no extension. */
void upgrade_answer(const struct request *r, const struct extensions_deflate *deflate,
                    struct buf *out);
/* allowed: exact origins, `https:` with `//` and a leading `*.`, `same`, `*`. An absent
 * Origin passes unless required; of several (upgrade_check refuses them) the first
 * counts.
 */
bool upgrade_origin_ok(const struct request *r, const struct str *allowed, size_t n,
                       bool required, struct refusal *why);

#endif
