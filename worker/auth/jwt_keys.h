/* jwt_keys: the keys that verify tokens, and the one place where a signature is judged
 * (RFC 7518 §3, RFC 8037). Owns each key as OpenSSL holds it, parsed once. Never lets a
 * key serve an algorithm it was not made for. */
#ifndef WORKER_AUTH_JWT_KEYS_H
#define WORKER_AUTH_JWT_KEYS_H

#include "common/err.h"
#include "common/str.h"

struct jwt_alg; /* one row of the table of algorithms */
const struct jwt_alg *jwt_alg_find(struct str name); /* NULL: unknown, `none` included */
const char *jwt_alg_name(const struct jwt_alg *alg);

struct jwt_key;
/* material: a shared secret's bytes or a PEM public key or certificate. kid p NULL: a key
 * without name. */
struct jwt_key *jwt_key_new(struct str material, struct str kid, struct err *e);
void jwt_key_free(struct jwt_key *key);
struct str jwt_key_kid(const struct jwt_key *key);
const char *jwt_key_kind(
    const struct jwt_key *key); /* "a shared secret", "an RSA key" … for messages */
bool jwt_key_fits(const struct jwt_key *key, const struct jwt_alg *alg);
/* A secret shorter than the hash it is used with, against RFC 7518 §3.2; works, but is
 * weak. */
bool jwt_key_is_short(const struct jwt_key *key, const struct jwt_alg *alg);
/* input: header "." payload as they came. False for a key that does not fit, too. */
bool jwt_key_verifies(struct jwt_key *key, const struct jwt_alg *alg, struct str input,
                      struct str signature);

#endif
