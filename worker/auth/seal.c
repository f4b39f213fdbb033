#include "worker/auth/seal.h"

#include "common/mem.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#define KEY_BYTES 32
#define IV_BYTES 12
#define TAG_BYTES 16
#define SALT_BYTES 32
#define POINT_BYTES 65  /* SEC 1 §2.3.3: 4 ‖ x ‖ y */
#define SHARED_BYTES 32 /* the x-coordinate */
#define SCRATCH_KEPT (64 << 10)
#define CURVE "prime256v1"
#define INFO "ignis-ecdh-p256-aes-256-gcm-v1"

struct seal {
    uint8_t key[KEY_BYTES];
};

/* What one worker needs for all its seals, made at the first use. One cipher context
 * serves every connection: expanding the key anew costs 0.15 µs a message, a context per
 * connection 1 KiB. */
static struct {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *gcm;
    EVP_KDF *hkdf;
    struct buf scratch;
    uint8_t ivs[IV_BYTES * 128]; /* random bytes are drawn in batches: 0.5 µs a call */
    size_t ivs_left;
} tools;

/* The error queue is shared with TLS, where leftovers would be taken for its own
 * failures. */
static int fail(struct err *e, const char *what)
{
    ERR_clear_error();
    return err_set(e, "%s", what);
}

static int have_tools(struct err *e)
{
    if (tools.gcm)
        return 0;
    if (!tools.cipher)
        tools.cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (!tools.hkdf)
        tools.hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    if (!tools.cipher || !tools.hkdf)
        return fail(e, "OpenSSL offers no AES-256-GCM or no HKDF");
    tools.gcm = EVP_CIPHER_CTX_new();
    BUG_ON(!tools.gcm);
    BUG_ON(EVP_EncryptInit_ex2(tools.gcm, tools.cipher, NULL, NULL, NULL) != 1);
    return 0;
}

/* ── keys ── */

static EVP_PKEY *key_of_params(int selection, OSSL_PARAM_BLD *build)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    BUG_ON(!params || !ctx);
    if (EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, selection, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static OSSL_PARAM_BLD *curve_params(void)
{
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BUG_ON(!build);
    BUG_ON(OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, CURVE, 0) !=
           1);
    return build;
}

/* Taking the point in checks that it is on the curve, which for P-256 (cofactor 1) is all
 * there is to check: SEC 1 §3.2.2.1. */
static EVP_PKEY *public_key(struct str point)
{
    OSSL_PARAM_BLD *build = curve_params();
    BUG_ON(OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point.p,
                                            point.n) != 1);
    EVP_PKEY *key = key_of_params(EVP_PKEY_PUBLIC_KEY, build);
    OSSL_PARAM_BLD_free(build);
    return key;
}

static bool is_in_range(EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    bool ok = ctx && EVP_PKEY_private_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static EVP_PKEY *private_key(const uint8_t scalar[32])
{
    OSSL_PARAM_BLD *build = curve_params();
    BIGNUM *d = BN_secure_new();
    BUG_ON(!d || !BN_bin2bn(scalar, 32, d));
    BUG_ON(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d) != 1);
    EVP_PKEY *key = key_of_params(EVP_PKEY_KEYPAIR, build);
    BN_clear_free(d);
    OSSL_PARAM_BLD_free(build);
    if (key && is_in_range(key))
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *peer_key(struct str base64, struct err *e)
{
    struct buf point = {0};
    EVP_PKEY *key = NULL;
    if (base64.n > 4 * (POINT_BYTES + 2) / 3)
        err_set(e, "the public key is too long for a P-256 point");
    else if (buf_unbase64(&point, base64) != 0)
        err_set(e, "the public key is not base64");
    else if (point.n != POINT_BYTES || point.p[0] != 4)
        err_set(e, "the public key is not an uncompressed P-256 point of 65 bytes");
    else if (!(key = public_key(buf_view(&point))))
        fail(e, "the public key is not a point of P-256");
    buf_free(&point);
    return key;
}

/* ── agreement ── */

static int shared_x(EVP_PKEY *own, EVP_PKEY *peer, uint8_t x[SHARED_BYTES], struct err *e)
{
    size_t n = SHARED_BYTES;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    bool ok = ctx && EVP_PKEY_derive_init(ctx) == 1 &&
              EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) == 1 && /* see public_key() */
              EVP_PKEY_derive(ctx, x, &n) == 1 && n == SHARED_BYTES;
    EVP_PKEY_CTX_free(ctx);
    return ok ? 0 : fail(e, "ECDH failed");
}

static int stretch(const uint8_t x[SHARED_BYTES], const uint8_t salt[SALT_BYTES],
                   uint8_t key[KEY_BYTES], struct err *e)
{
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(tools.hkdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)x, SHARED_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, SALT_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)INFO,
                                          sizeof(INFO) - 1),
        OSSL_PARAM_construct_end(),
    };
    bool ok = ctx && EVP_KDF_derive(ctx, key, KEY_BYTES, params) == 1;
    EVP_KDF_CTX_free(ctx);
    return ok ? 0 : fail(e, "HKDF failed");
}

static int agree(EVP_PKEY *own, struct str peer_public, const uint8_t salt[SALT_BYTES],
                 uint8_t key[KEY_BYTES], struct err *e)
{
    uint8_t x[SHARED_BYTES];
    if (have_tools(e) != 0)
        return -1;
    EVP_PKEY *peer = peer_key(peer_public, e);
    if (!peer)
        return -1;
    int rc = shared_x(own, peer, x, e);
    if (rc == 0)
        rc = stretch(x, salt, key, e);
    OPENSSL_cleanse(x, sizeof(x));
    EVP_PKEY_free(peer);
    return rc;
}

int seal_derive(const uint8_t private_scalar[32], struct str peer_public,
                const uint8_t salt[32], uint8_t session_key[32], struct err *e)
{
    EVP_PKEY *own = private_key(private_scalar);
    if (!own)
        return fail(e, "the private scalar is not one of P-256");
    int rc = agree(own, peer_public, salt, session_key, e);
    EVP_PKEY_free(own);
    return rc;
}

static int put_public(struct buf *out, EVP_PKEY *own, struct err *e)
{
    uint8_t point[POINT_BYTES];
    size_t n = 0;
    if (EVP_PKEY_get_octet_string_param(own, OSSL_PKEY_PARAM_PUB_KEY, point,
                                        sizeof(point), &n) != 1 ||
        n != POINT_BYTES)
        return fail(e, "the fresh key pair shows no public point");
    buf_base64(out, (struct str){(char *)point, n});
    return 0;
}

/* All or nothing: the answers are appended only when the key stands. */
static int agree_fresh(struct seal *s, struct str client_public,
                       struct buf *server_public, struct buf *salt, struct err *e)
{
    uint8_t bytes[SALT_BYTES];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return fail(e, "no random bytes");
    EVP_PKEY *own = EVP_EC_gen(CURVE);
    if (!own)
        return fail(e, "no fresh key pair");
    int rc = agree(own, client_public, bytes, s->key, e);
    if (rc == 0)
        rc = put_public(server_public, own, e);
    if (rc == 0)
        buf_base64(salt, (struct str){(char *)bytes, sizeof(bytes)});
    EVP_PKEY_free(own);
    return rc;
}

struct seal *seal_agree(struct str client_public, struct buf *server_public,
                        struct buf *salt, struct err *e)
{
    struct seal *s = NEW(struct seal);
    if (agree_fresh(s, client_public, server_public, salt, e) == 0)
        return s;
    seal_free(s);
    return NULL;
}

struct seal *seal_of_key(struct str session_key, struct err *e)
{
    struct buf key = {0};
    struct seal *s = NULL;
    if (session_key.n > 4 * (KEY_BYTES + 2) / 3 || buf_unbase64(&key, session_key) != 0 ||
        key.n != KEY_BYTES) {
        err_set(e, "the session key is not the base64 of %d bytes", KEY_BYTES);
    } else {
        s = NEW(struct seal);
        memcpy(s->key, key.p, KEY_BYTES);
    }
    if (key.p)
        OPENSSL_cleanse(key.p, key.cap);
    buf_free(&key);
    return s;
}

void seal_free(struct seal *s)
{
    if (s)
        mem_wipe_free(s, sizeof(*s));
}

/* ── messages ── */

static int next_iv(uint8_t iv[IV_BYTES], struct err *e)
{
    if (tools.ivs_left == 0) {
        if (RAND_bytes(tools.ivs, sizeof(tools.ivs)) != 1)
            return fail(e, "no random bytes");
        tools.ivs_left = sizeof(tools.ivs);
    }
    tools.ivs_left -= IV_BYTES;
    memcpy(iv, tools.ivs + tools.ivs_left, IV_BYTES);
    return 0;
}

int seal_encrypt(const uint8_t session_key[32], const uint8_t iv[12], struct str plain,
                 struct buf *ct, struct err *e)
{
    int n, tail;
    if (have_tools(e) != 0)
        return -1;
    if (plain.n > INT_MAX - TAG_BYTES)
        return err_set(e, "a message of %zu bytes is too long to encrypt", plain.n);
    uint8_t *out = (uint8_t *)buf_reserve(ct, plain.n + TAG_BYTES);
    const uint8_t *in = (const uint8_t *)plain.p;
    if (EVP_EncryptInit_ex2(tools.gcm, NULL, session_key, iv, NULL) != 1 ||
        (plain.n && EVP_EncryptUpdate(tools.gcm, out, &n, in, (int)plain.n) != 1) ||
        EVP_EncryptFinal_ex(tools.gcm, out + plain.n, &tail) != 1 ||
        EVP_CIPHER_CTX_ctrl(tools.gcm, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, out + plain.n) !=
            1)
        return fail(e, "AES-256-GCM failed");
    ct->n += plain.n + TAG_BYTES;
    return 0;
}

int seal_message(struct seal *s, struct str plain, struct buf *out, struct err *e)
{
    uint8_t iv[IV_BYTES];
    buf_clear(&tools.scratch);
    if (next_iv(iv, e) != 0 || seal_encrypt(s->key, iv, plain, &tools.scratch, e) != 0)
        return -1;
    buf_reserve(out, 64 + IV_BYTES / 3 * 4 + (tools.scratch.n + 2) / 3 * 4);
    buf_str(out, STR("{\"event\":\"encrypted\",\"data\":{\"iv\":\""));
    buf_base64(out, (struct str){(char *)iv, sizeof(iv)});
    buf_str(out, STR("\",\"ct\":\""));
    buf_base64(out, buf_view(&tools.scratch));
    buf_str(out, STR("\"}}"));
    if (tools.scratch.cap > SCRATCH_KEPT)
        buf_free(&tools.scratch);
    return 0;
}
