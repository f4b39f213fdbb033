#include "common/digest.h"

#include "common/mem.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

struct digest_hmac {
    EVP_MAC_CTX *ctx;
};

void digest_sha256(struct str in, uint8_t out[DIGEST_SHA256])
{
    static EVP_MD *md; /* fetched once: a fetch costs more than a short hash */
    if (!md)
        md = EVP_MD_fetch(NULL, "SHA256", NULL);
    BUG_ON(!md || EVP_Digest(in.p ? in.p : "", in.n, out, NULL, md, NULL) != 1);
}

void digest_sha1(struct str in, uint8_t out[DIGEST_SHA1])
{
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA1", NULL);
    BUG_ON(!md || EVP_Digest(in.p ? in.p : "", in.n, out, NULL, md, NULL) != 1);
    EVP_MD_free(md);
}

void digest_hmac_sha1(struct str key, struct str in, uint8_t out[DIGEST_SHA1])
{
    size_t n = 0;
    const uint8_t *bytes = (const uint8_t *)(in.p ? in.p : "");
    BUG_ON(!EVP_Q_mac(NULL, "HMAC", NULL, "SHA1", NULL, key.p ? key.p : "", key.n, bytes,
                      in.n, out, DIGEST_SHA1, &n));
    BUG_ON(n != DIGEST_SHA1);
}

struct digest_hmac *digest_hmac_new(struct str key)
{
    struct digest_hmac *h = NEW(struct digest_hmac);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    h->ctx = EVP_MAC_CTX_new(mac);
    BUG_ON(!h->ctx);
    const uint8_t *bytes = key.p ? (const uint8_t *)key.p : (const uint8_t *)"";
    BUG_ON(EVP_MAC_init(h->ctx, bytes, key.n, params) != 1);
    EVP_MAC_free(mac);
    return h;
}

void digest_hmac_free(struct digest_hmac *h)
{
    if (!h)
        return;
    EVP_MAC_CTX_free(h->ctx);
    free(h);
}

void digest_hmac_sign(struct digest_hmac *h, const struct str *parts, size_t n,
                      uint8_t out[DIGEST_SHA256])
{
    size_t length;
    BUG_ON(EVP_MAC_init(h->ctx, NULL, 0, NULL) != 1); /* the same key again */
    for (size_t i = 0; i < n; i++)
        BUG_ON(EVP_MAC_update(h->ctx, (const uint8_t *)parts[i].p, parts[i].n) != 1);
    BUG_ON(EVP_MAC_final(h->ctx, out, &length, DIGEST_SHA256) != 1);
    BUG_ON(length != DIGEST_SHA256);
}
