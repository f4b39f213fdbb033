/* digest: SHA-256 and HMAC-SHA256 (FIPS 180-4, RFC 2104), for token hashes and hook
 * signatures. Owns the keyed context it made. Never shows a key again; wiping is
 * OpenSSL's. */
#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

#include "common/str.h"

#define DIGEST_SHA256 32 /* bytes */

void digest_sha256(struct str in, uint8_t out[DIGEST_SHA256]);

/* A kept key: signing again costs no key schedule. */
struct digest_hmac;
struct digest_hmac *digest_hmac_new(struct str key);
void digest_hmac_free(struct digest_hmac *h);
/* The signature of all parts, one behind the other. */
void digest_hmac_sign(struct digest_hmac *h, const struct str *parts, size_t n,
                      uint8_t out[DIGEST_SHA256]);

#endif
