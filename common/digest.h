/* digest: SHA-256 and SHA-1, and HMAC with either (FIPS 180-4, RFC 2104), for token
 * hashes, hook signatures, TURN credentials and the names Redis gives to scripts. Owns
 * the keyed context it made. Never shows a key again; wiping is OpenSSL's. */
#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

#include "common/str.h"

#define DIGEST_SHA256 32 /* bytes */
#define DIGEST_SHA1 20

void digest_sha256(struct str in, uint8_t out[DIGEST_SHA256]);
/* Broken as a secret's guard: for names only. */
void digest_sha1(struct str in, uint8_t out[DIGEST_SHA1]);

/* TURN's scheme of credentials wants it; as a MAC it is still good. */
void digest_hmac_sha1(struct str key, struct str in, uint8_t out[DIGEST_SHA1]);

/* A kept key: signing again costs no key schedule. */
struct digest_hmac;
struct digest_hmac *digest_hmac_new(struct str key);
void digest_hmac_free(struct digest_hmac *h);
/* The signature of all parts, one behind the other. */
void digest_hmac_sign(struct digest_hmac *h, const struct str *parts, size_t n,
                      uint8_t out[DIGEST_SHA256]);

#endif
