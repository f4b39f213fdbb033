/* seal: encryption of everything after `connected` (PROTOCOL A7): ECDH P-256 →
 * HKDF-SHA256 → AES-256-GCM. Owns the session key; wipes it. Never reuses an iv knowingly
 * (random 96 bits each). */
#ifndef WORKER_AUTH_SEAL_H
#define WORKER_AUTH_SEAL_H

#include "common/buf.h"
#include "common/err.h"

struct seal;
/* A fresh server key pair and salt against the client's public key (base64 of the 65-byte
 * uncompressed point). Appends the base64 answers. NULL: the key is not usable (the
 * "handshake threw" case). */
struct seal *seal_agree(struct str client_public, struct buf *server_public,
                        struct buf *salt, struct err *e);
/* With a session key made elsewhere (hook): base64 of 32 bytes. */
struct seal *seal_of_key(struct str session_key, struct err *e);
void seal_free(struct seal *s);
/* Appends {"event":"encrypted","data":{"iv":…,"ct":…}} of the plain JSON. */
int seal_message(struct seal *s, struct str plain, struct buf *out,
                 struct err *e) NODISCARD;

/* For the test vector: all inputs given. */
int seal_derive(const uint8_t private_scalar[32], struct str peer_public,
                const uint8_t salt[32], uint8_t session_key[32], struct err *e) NODISCARD;
int seal_encrypt(const uint8_t session_key[32], const uint8_t iv[12], struct str plain,
                 struct buf *ct, struct err *e) NODISCARD;

#endif
