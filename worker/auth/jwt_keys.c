#include "worker/auth/jwt_keys.h"

#include "common/mem.h"
#include "common/scan.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define SECRET_MIN 16
#define RSA_BITS_MIN 2048
#define HMAC_MAX 64
#define PART_MAX 66                      /* r or s of P-521 */
#define DER_MAX (3 + 2 * (PART_MAX + 3)) /* SEQUENCE of two INTEGERs */

enum family { FAMILY_HS, FAMILY_RS, FAMILY_PS, FAMILY_ES, FAMILY_ED };
enum kind {
    KIND_SECRET,
    KIND_RSA,
    KIND_RSA_PSS,
    KIND_P256,
    KIND_P384,
    KIND_P521,
    KIND_ED25519,
    KIND_ED448,
};

struct jwt_alg {
    const char *name;
    enum family family;
    const char *digest; /* NULL: part of the scheme */
    size_t bytes;       /* HS: of the hash; ES: of r and of s */
    unsigned kinds;     /* of keys it takes, as bits */
};

#define KINDS(k) (1u << (k))
#define ANY_RSA (KINDS(KIND_RSA) | KINDS(KIND_RSA_PSS))
static const struct jwt_alg algs[] = {
    {"HS256", FAMILY_HS, "SHA256", 32, KINDS(KIND_SECRET)},
    {"HS384", FAMILY_HS, "SHA384", 48, KINDS(KIND_SECRET)},
    {"HS512", FAMILY_HS, "SHA512", 64, KINDS(KIND_SECRET)},
    {"RS256", FAMILY_RS, "SHA256", 0, KINDS(KIND_RSA)},
    {"RS384", FAMILY_RS, "SHA384", 0, KINDS(KIND_RSA)},
    {"RS512", FAMILY_RS, "SHA512", 0, KINDS(KIND_RSA)},
    {"PS256", FAMILY_PS, "SHA256", 0, ANY_RSA},
    {"PS384", FAMILY_PS, "SHA384", 0, ANY_RSA},
    {"PS512", FAMILY_PS, "SHA512", 0, ANY_RSA},
    {"ES256", FAMILY_ES, "SHA256", 32, KINDS(KIND_P256)},
    {"ES384", FAMILY_ES, "SHA384", 48, KINDS(KIND_P384)},
    {"ES512", FAMILY_ES, "SHA512", 66, KINDS(KIND_P521)},
    {"EdDSA", FAMILY_ED, NULL, 0, KINDS(KIND_ED25519) | KINDS(KIND_ED448)},
};
static const char *const kind_names[] = {
    [KIND_SECRET] = "a shared secret", [KIND_RSA] = "an RSA key",
    [KIND_RSA_PSS] = "an RSA-PSS key", [KIND_P256] = "a P-256 key",
    [KIND_P384] = "a P-384 key",       [KIND_P521] = "a P-521 key",
    [KIND_ED25519] = "an Ed25519 key", [KIND_ED448] = "an Ed448 key",
};

struct jwt_key {
    struct str kid; /* owned */
    enum kind kind;
    size_t secret_n;
    EVP_MAC_CTX *mac[ARRAY_LEN(algs)]; /* KIND_SECRET: keyed, one for each HS row */
    EVP_PKEY *public;                  /* all others */
    EVP_MD_CTX *md;
};

const struct jwt_alg *jwt_alg_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(algs); i++)
        if (str_is(name, algs[i].name))
            return &algs[i];
    return NULL;
}

const char *jwt_alg_name(const struct jwt_alg *alg)
{
    return alg->name;
}

/* ── shared secrets ── */

static EVP_MAC_CTX *keyed_mac(struct str secret, const char *digest)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)digest, 0),
        OSSL_PARAM_construct_end(),
    };
    BUG_ON(!ctx);
    BUG_ON(EVP_MAC_init(ctx, (const uint8_t *)secret.p, secret.n, params) != 1);
    EVP_MAC_free(mac);
    return ctx;
}

/* Key confusion begins with a public key that lies where a secret belongs: whatever is
 * recognisably a public key is none. */
static int check_secret(struct str material, struct err *e)
{
    const uint8_t *der = (const uint8_t *)material.p;
    EVP_PKEY *public = d2i_PUBKEY(NULL, &der, (long)material.n);
    EVP_PKEY_free(public);
    ERR_clear_error();
    if (public)
        return err_set(e, "this is a DER public key; give it as PEM");
    if (str_starts(material, STR("ssh-")) || str_starts(material, STR("ecdsa-sha2-")))
        return err_set(e, "this is an OpenSSH public key; give it as PEM "
                          "(ssh-keygen -e -m PKCS8)");
    struct scan_member kty = {.name = "kty"};
    if (scan_text(str_trim(material), &kty, 1) == SCAN_OBJECT && kty.seen)
        return err_set(e, "this is a JWK; give the secret's bytes or a PEM public key");
    if (material.n < SECRET_MIN)
        return err_set(e, "this is a shared secret of %zu bytes; at least %d are needed",
                       material.n, SECRET_MIN);
    return 0;
}

static int take_secret(struct jwt_key *key, struct str material, struct err *e)
{
    if (check_secret(material, e) != 0)
        return -1;
    key->kind = KIND_SECRET;
    key->secret_n = material.n;
    for (size_t i = 0; i < ARRAY_LEN(algs); i++)
        if (algs[i].family == FAMILY_HS)
            key->mac[i] = keyed_mac(material, algs[i].digest);
    return 0;
}

/* ── PEM ── */

static bool holds(struct str s, const char *text)
{
    return s.n && memmem(s.p, s.n, text, strlen(text));
}

/* An encrypted PEM must not ask at a terminal. */
static int no_password(char *buf UNUSED, int size UNUSED, int rw UNUSED, void *u UNUSED)
{
    return -1;
}

static EVP_PKEY *read_pem(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *key = NULL;
    BUG_ON(!bio);
    if (holds(pem, "-----BEGIN CERTIFICATE-----")) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        key = cert ? X509_get_pubkey(cert) : NULL;
        X509_free(cert);
    } else {
        key = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
    }
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static int rsa_kind(EVP_PKEY *public, enum kind kind, enum kind *out, struct err *e)
{
    int bits = EVP_PKEY_get_bits(public);
    *out = kind;
    if (bits < RSA_BITS_MIN)
        return err_set(e, "this is an RSA key of %d bits; at least %d are needed", bits,
                       RSA_BITS_MIN);
    return 0;
}

static int curve_kind(EVP_PKEY *public, enum kind *out, struct err *e)
{
    static const struct {
        int nid;
        enum kind kind;
    } curves[] = {
        {NID_X9_62_prime256v1, KIND_P256},
        {NID_secp384r1, KIND_P384},
        {NID_secp521r1, KIND_P521},
    };
    char name[64] = "";
    size_t n;
    int nid = NID_undef;
    if (EVP_PKEY_get_group_name(public, name, sizeof(name), &n) == 1)
        nid = OBJ_txt2nid(name);
    ERR_clear_error();
    for (size_t i = 0; i < ARRAY_LEN(curves); i++)
        if (nid == curves[i].nid) {
            *out = curves[i].kind;
            return 0;
        }
    return err_set(e,
                   "this is a key on the curve %s; P-256, P-384 and P-521 are supported",
                   name[0] ? name : "(unnamed)");
}

static int kind_of(EVP_PKEY *public, enum kind *out, struct err *e)
{
    const char *type = EVP_PKEY_get0_type_name(public);
    if (EVP_PKEY_is_a(public, "RSA"))
        return rsa_kind(public, KIND_RSA, out, e);
    if (EVP_PKEY_is_a(public, "RSA-PSS"))
        return rsa_kind(public, KIND_RSA_PSS, out, e);
    if (EVP_PKEY_is_a(public, "EC"))
        return curve_kind(public, out, e);
    if (EVP_PKEY_is_a(public, "ED25519"))
        return *out = KIND_ED25519, 0;
    if (EVP_PKEY_is_a(public, "ED448"))
        return *out = KIND_ED448, 0;
    return err_set(e, "this is a key of type %s, which signs no tokens",
                   type ? type : "?");
}

static int take_pem(struct jwt_key *key, struct str pem, struct err *e)
{
    const char *first = memmem(pem.p, pem.n, "-----BEGIN ", 11);
    struct str behind = {first + 11, (size_t)(pem.p + pem.n - first) - 11};
    if (holds(pem, "PRIVATE KEY-----"))
        return err_set(e, "this is a private key; verifying needs the public one "
                          "(openssl pkey -pubout), and only that should be here");
    if (holds(behind, "-----BEGIN "))
        return err_set(
            e, "this holds more than one PEM block; use auth.keys for several keys");
    key->public = read_pem(pem);
    if (!key->public)
        return err_set(e, "this is not a readable PEM public key or certificate");
    key->md = EVP_MD_CTX_new();
    BUG_ON(!key->md);
    return kind_of(key->public, &key->kind, e);
}

/* ── a key's life ── */

static int take(struct jwt_key *key, struct str material, struct err *e)
{
    if (material.n == 0)
        return err_set(e, "nothing in it");
    if (holds(material, "-----BEGIN "))
        return take_pem(key, material, e);
    return take_secret(key, material, e);
}

struct jwt_key *jwt_key_new(struct str material, struct str kid, struct err *e)
{
    struct jwt_key *key = NEW(struct jwt_key);
    if (take(key, material, e) == 0) {
        key->kid = (struct str){kid.p ? str_dup(kid) : NULL, kid.n};
        return key;
    }
    jwt_key_free(key);
    return NULL;
}

void jwt_key_free(struct jwt_key *key)
{
    if (!key)
        return;
    for (size_t i = 0; i < ARRAY_LEN(key->mac); i++)
        EVP_MAC_CTX_free(key->mac[i]);
    EVP_MD_CTX_free(key->md);
    EVP_PKEY_free(key->public);
    free((char *)key->kid.p);
    free(key);
}

struct str jwt_key_kid(const struct jwt_key *key)
{
    return key->kid;
}

const char *jwt_key_kind(const struct jwt_key *key)
{
    return kind_names[key->kind];
}

bool jwt_key_fits(const struct jwt_key *key, const struct jwt_alg *alg)
{
    return alg->kinds & KINDS(key->kind);
}

bool jwt_key_is_short(const struct jwt_key *key, const struct jwt_alg *alg)
{
    return alg->family == FAMILY_HS && key->kind == KIND_SECRET &&
           key->secret_n < alg->bytes;
}

/* ── signatures ── */

static bool verify_mac(struct jwt_key *key, const struct jwt_alg *alg, struct str input,
                       struct str signature)
{
    uint8_t mac[HMAC_MAX];
    size_t n = 0;
    EVP_MAC_CTX *ctx = key->mac[alg - algs];
    if (EVP_MAC_init(ctx, NULL, 0, NULL) != 1 || /* the same key again */
        EVP_MAC_update(ctx, (const uint8_t *)input.p, input.n) != 1 ||
        EVP_MAC_final(ctx, mac, &n, sizeof(mac)) != 1 || n != alg->bytes)
        return false;
    return str_eq_secret((struct str){(char *)mac, n}, signature);
}

/* X.690 §8.3: shortest form, a zero in front where the top bit would mean minus. */
static size_t der_integer(uint8_t *out, const uint8_t *p, size_t n)
{
    while (n > 1 && *p == 0) {
        p++;
        n--;
    }
    size_t pad = *p >> 7;
    out[0] = 0x02;
    out[1] = (uint8_t)(n + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, p, n);
    return 2 + pad + n;
}

/* RFC 7518 §3.4 has r ‖ s of fixed lengths, OpenSSL wants SEQUENCE { r, s }. */
static size_t der_of_pair(uint8_t out[DER_MAX], const uint8_t *pair, size_t part)
{
    uint8_t body[DER_MAX];
    size_t n = der_integer(body, pair, part), head = 0;
    n += der_integer(body + n, pair + part, part);
    out[head++] = 0x30;
    if (n > 0x7F)
        out[head++] = 0x81;
    out[head++] = (uint8_t)n;
    memcpy(out + head, body, n);
    return head + n;
}

static bool set_pss(EVP_PKEY_CTX *ctx)
{
    /* RFC 7518 §3.5: MGF1 with the same hash (the default), salt as long as the hash. */
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool verify_public(struct jwt_key *key, const struct jwt_alg *alg,
                          struct str input, struct str signature)
{
    uint8_t der[DER_MAX];
    EVP_PKEY_CTX *ctx;
    const uint8_t *sig = (const uint8_t *)signature.p;
    size_t n = signature.n;
    if (alg->family == FAMILY_ES) {
        if (n != 2 * alg->bytes)
            return false;
        n = der_of_pair(der, sig, alg->bytes);
        sig = der;
    }
    EVP_MD_CTX_reset(key->md);
    return EVP_DigestVerifyInit_ex(key->md, &ctx, alg->digest, NULL, NULL, key->public,
                                   NULL) == 1 &&
           (alg->family != FAMILY_PS || set_pss(ctx)) &&
           EVP_DigestVerify(key->md, sig, n, (const uint8_t *)input.p, input.n) == 1;
}

bool jwt_key_verifies(struct jwt_key *key, const struct jwt_alg *alg, struct str input,
                      struct str signature)
{
    if (!jwt_key_fits(key, alg) || signature.n == 0)
        return false;
    if (alg->family == FAMILY_HS)
        return verify_mac(key, alg, input, signature);
    bool ok = verify_public(key, alg, input, signature);
    ERR_clear_error(); /* the queue is shared with TLS */
    return ok;
}
