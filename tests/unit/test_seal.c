// floors: auth
#include "common/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/mem.h"
#include "worker/auth/seal.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

/* PROTOCOL A7's vector. */
#define CLIENT_PUBLIC                                                                    \
    "BAIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTtGUp968uXcS0t2jyoWqh2Wlb0X8dYWZZS8ol8"   \
    "ZTBuV5Q="
#define SERVER_PUBLIC                                                                    \
    "BNZak5d8qj0bCBhS/1ennkZfFmBXcwS66tUF3TpIWJzzUBheiVNy32Ih6joTdVfkc/3bZ1XwW9UHw8Uz"   \
    "/OnJEoU="
#define SALT "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define SESSION_KEY "2daa5ee8df255bb8468de3878c6c8ec92ab9429a828c1b6fd339e9a283d541a9"
#define IV "oKGio6Slpqeoqaqr"
#define PLAIN "{\"event\":\"note\",\"data\":{\"n\":1}}"
#define CT "k962Iaq6ccmdjxwq08WLYVFrYLx0K0YMV28pMe34zRika1cJieX0+V6/5mkW5GY="

static void unbase64(const char *text, uint8_t *out, size_t n)
{
    struct buf b = {0};
    assert_int_equal(buf_unbase64(&b, str_of(text)), 0);
    assert_int_equal(b.n, n);
    memcpy(out, b.p, n);
    buf_free(&b);
}

static void assert_hex(const uint8_t *p, size_t n, const char *hex)
{
    struct buf b = {0};
    buf_hex(&b, p, n);
    assert_string_equal(buf_cstr(&b), hex);
    buf_free(&b);
}

static void vector_of_a7(void **state UNUSED)
{
    static const struct {
        uint8_t scalar;
        const char *peer;
    } sides[] = {{0x22, CLIENT_PUBLIC}, {0x11, SERVER_PUBLIC}};
    uint8_t scalar[32], salt[32], key[32], iv[12];
    struct err e;

    unbase64(SALT, salt, sizeof(salt));
    unbase64(IV, iv, sizeof(iv));
    for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
        struct buf ct = {0}, text = {0};
        memset(scalar, sides[i].scalar, sizeof(scalar));
        assert_int_equal(seal_derive(scalar, str_of(sides[i].peer), salt, key, &e), 0);
        assert_hex(key, sizeof(key), SESSION_KEY);
        assert_int_equal(seal_encrypt(key, iv, STR(PLAIN), &ct, &e), 0);
        buf_base64(&text, buf_view(&ct));
        assert_string_equal(buf_cstr(&text), CT);
        buf_free(&ct);
        buf_free(&text);
    }
}

static void scalars_outside_the_group_are_refused(void **state UNUSED)
{
    uint8_t scalar[32], salt[32] = {0}, key[32];
    struct err e = {""};
    memset(scalar, 0xFF, sizeof(scalar)); /* above the order */
    assert_int_equal(seal_derive(scalar, STR(CLIENT_PUBLIC), salt, key, &e), -1);
    assert_string_not_equal(e.text, "");
    memset(scalar, 0, sizeof(scalar));
    assert_int_equal(seal_derive(scalar, STR(CLIENT_PUBLIC), salt, key, &e), -1);
}

/* ── the client's side, without seal.c ── */

struct client {
    EVP_PKEY *pair;
    char public[128];
    uint8_t key[32];
};

static void client_init(struct client *c)
{
    uint8_t point[65];
    size_t n;
    struct buf b = {0};
    c->pair = EVP_EC_gen("P-256");
    assert_non_null(c->pair);
    assert_int_equal(EVP_PKEY_get_octet_string_param(c->pair, OSSL_PKEY_PARAM_PUB_KEY,
                                                     point, sizeof(point), &n),
                     1);
    assert_int_equal(n, 65);
    buf_base64(&b, (struct str){(char *)point, n});
    strcpy(c->public, buf_cstr(&b));
    buf_free(&b);
}

static void client_agree(struct client *c, const char *server_public, const char *salt64)
{
    uint8_t point[65], salt[32], x[32];
    size_t n = sizeof(x);
    EVP_PKEY *server = EVP_PKEY_new();
    unbase64(server_public, point, sizeof(point));
    unbase64(salt64, salt, sizeof(salt));
    assert_int_equal(EVP_PKEY_copy_parameters(server, c->pair), 1);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(server, point, sizeof(point)), 1);

    EVP_PKEY_CTX *ecdh = EVP_PKEY_CTX_new(c->pair, NULL);
    assert_int_equal(EVP_PKEY_derive_init(ecdh), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ecdh, server), 1);
    assert_int_equal(EVP_PKEY_derive(ecdh, x, &n), 1);
    EVP_PKEY_CTX_free(ecdh);
    EVP_PKEY_free(server);

    EVP_PKEY_CTX *hkdf = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    const char *info = "ignis-ecdh-p256-aes-256-gcm-v1";
    n = sizeof(c->key);
    assert_int_equal(EVP_PKEY_derive_init(hkdf), 1);
    assert_int_equal(EVP_PKEY_CTX_set_hkdf_md(hkdf, EVP_sha256()), 1);
    assert_int_equal(EVP_PKEY_CTX_set1_hkdf_salt(hkdf, salt, sizeof(salt)), 1);
    assert_int_equal(EVP_PKEY_CTX_set1_hkdf_key(hkdf, x, sizeof(x)), 1);
    assert_int_equal(
        EVP_PKEY_CTX_add1_hkdf_info(hkdf, (const uint8_t *)info, (int)strlen(info)), 1);
    assert_int_equal(EVP_PKEY_derive(hkdf, c->key, &n), 1);
    EVP_PKEY_CTX_free(hkdf);
}

/* The text between two marks of a message. */
static void cut(struct str message, const char *before, const char *after,
                struct buf *out)
{
    const char *from = memmem(message.p, message.n, before, strlen(before));
    assert_non_null(from);
    from += strlen(before);
    size_t left = (size_t)(message.p + message.n - from);
    const char *to = memmem(from, left, after, strlen(after));
    assert_non_null(to);
    assert_int_equal(buf_unbase64(out, (struct str){from, (size_t)(to - from)}), 0);
}

/* Decrypts; *iv gets the 12 bytes. False: the tag does not fit. */
static bool open_message(const uint8_t key[32], struct str message, struct buf *plain,
                         uint8_t iv_out[12])
{
    struct buf iv = {0}, ct = {0};
    int n = 0, tail = 0;
    assert_true(str_starts(message, STR("{\"event\":\"encrypted\",\"data\":{\"iv\":\"")));
    assert_true(str_ends(message, STR("\"}}")));
    cut(message, "\"iv\":\"", "\",\"ct\":", &iv);
    cut(message, "\",\"ct\":\"", "\"}}", &ct);
    assert_int_equal(iv.n, 12);
    assert_true(ct.n >= 16);
    memcpy(iv_out, iv.p, 12);
    size_t body = ct.n - 16;
    uint8_t *to = (uint8_t *)buf_reserve(plain, body + 16);
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    assert_int_equal(
        EVP_DecryptInit_ex(gcm, EVP_aes_256_gcm(), NULL, key, (uint8_t *)iv.p), 1);
    assert_int_equal(EVP_DecryptUpdate(gcm, to, &n, (uint8_t *)ct.p, (int)body), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, 16, ct.p + body), 1);
    bool ok = EVP_DecryptFinal_ex(gcm, to + n, &tail) == 1;
    plain->n += body;
    EVP_CIPHER_CTX_free(gcm);
    buf_free(&iv);
    buf_free(&ct);
    return ok;
}

static void round_trip(const struct client *c, struct seal *s, struct str text,
                       uint8_t iv[12])
{
    struct buf message = {0}, plain = {0};
    struct err e;
    assert_int_equal(seal_message(s, text, &message, &e), 0);
    assert_true(open_message(c->key, buf_view(&message), &plain, iv));
    assert_int_equal(plain.n, text.n);
    assert_true(str_eq(buf_view(&plain), text));
    buf_free(&message);
    buf_free(&plain);
}

static void round_trips_of_all_lengths(void **state UNUSED)
{
    static const size_t lengths[] = {0,  1,   2,    3,     15,      16,     17,
                                     31, 100, 4096, 65535, 1 << 17, 1 << 20};
    struct client c;
    struct buf server = {0}, salt = {0};
    struct err e;
    uint8_t iv[12];

    client_init(&c);
    struct seal *s = seal_agree(str_of(c.public), &server, &salt, &e);
    assert_non_null(s);
    assert_int_equal(server.n, 88);
    assert_int_equal(salt.n, 44);
    client_agree(&c, buf_cstr(&server), buf_cstr(&salt));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        char *text = mem_new(lengths[i] + 1);
        for (size_t k = 0; k < lengths[i]; k++)
            text[k] = (char)('a' + (k * 7 + i) % 26);
        round_trip(&c, s, (struct str){text, lengths[i]}, iv);
        free(text);
    }
    seal_free(s);
    EVP_PKEY_free(c.pair);
    buf_free(&server);
    buf_free(&salt);
}

static void messages_append_and_ivs_differ(void **state UNUSED)
{
    enum { N = 1000 }; /* several batches of random bytes */
    static uint8_t ivs[N][12];
    struct client c;
    struct buf server = {0}, salt = {0}, out = {0};
    struct err e;

    client_init(&c);
    struct seal *s = seal_agree(str_of(c.public), &server, &salt, &e);
    assert_non_null(s);
    client_agree(&c, buf_cstr(&server), buf_cstr(&salt));
    buf_str(&out, STR("before"));
    assert_int_equal(seal_message(s, STR(PLAIN), &out, &e), 0);
    assert_true(str_starts(buf_view(&out), STR("before{\"event\":\"encrypted\"")));
    for (size_t i = 0; i < N; i++) {
        round_trip(&c, s, STR(PLAIN), ivs[i]);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(ivs[i], ivs[k], 12);
    }
    seal_free(s);
    EVP_PKEY_free(c.pair);
    buf_free(&server);
    buf_free(&salt);
    buf_free(&out);
}

/* Two seals share one cipher context: each message must be under its own key. */
static void seals_do_not_mix(void **state UNUSED)
{
    struct client c[2];
    struct seal *s[2];
    struct buf server[2] = {{0}}, salt[2] = {{0}}, message = {0}, plain = {0};
    struct err e;
    uint8_t iv[12];

    for (int i = 0; i < 2; i++) {
        client_init(&c[i]);
        s[i] = seal_agree(str_of(c[i].public), &server[i], &salt[i], &e);
        assert_non_null(s[i]);
        client_agree(&c[i], buf_cstr(&server[i]), buf_cstr(&salt[i]));
    }
    assert_string_not_equal(server[0].p, server[1].p);
    assert_string_not_equal(salt[0].p, salt[1].p);
    for (int i = 0; i < 10; i++)
        round_trip(&c[i & 1], s[i & 1], STR(PLAIN), iv);
    assert_int_equal(seal_message(s[0], STR(PLAIN), &message, &e), 0);
    assert_false(open_message(c[1].key, buf_view(&message), &plain, iv));
    for (int i = 0; i < 2; i++) {
        seal_free(s[i]);
        EVP_PKEY_free(c[i].pair);
        buf_free(&server[i]);
        buf_free(&salt[i]);
    }
    buf_free(&message);
    buf_free(&plain);
}

static void bad_public_keys(void **state UNUSED)
{
    static const struct {
        const char *what, *key;
    } bad[] = {
        {"empty", ""},
        {"not base64", "!!!!"},
        {"no padding", "BAIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTtGUp968uXcS0t2jyoWqh2W"
                       "lb0X8dYWZZS8ol8ZTBuV5Q"},
        {"url alphabet", "BNZak5d8qj0bCBhS_1ennkZfFmBXcwS66tUF3TpIWJzzUBheiVNy32Ih6joTdVf"
                         "kc_3bZ1XwW9UHw8Uz_OnJEoU="},
        {"blank inside", "BAIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgC tTtGUp968uXcS0t2jyoWqh"
                         "2Wlb0X8dYWZZS8ol8ZTBuV5Q="},
        {"newline behind", CLIENT_PUBLIC "\n"},
        {"last bit of y wrong: off the curve",
         "BAIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTtGUp968uXcS0t2jyoWqh2Wlb0X8dYWZZS8ol"
         "8ZTBuV5U="},
        {"compressed point", "AgIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTt"},
        {"hybrid lead byte 6",
         "BgIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTtGUp968uXcS0t2jyoWqh2Wlb0X8dYWZZS8ol"
         "8ZTBuV5Q="},
        {"infinity", "AA=="},
        {"zeros",
         "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
         "AAAAAAAAAAAAAAAAAAAA="},
        {"x above the prime",
         "BP///////////////////////////////////////////0p968uXcS0t2jyoWqh2Wlb0X8dYWZZS8ol"
         "8ZTBuV5Q="},
        {"64 bytes", "BAIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTtGUp968uXcS0t2jyoWqh2Wlb"
                     "0X8dYWZZS8ol8ZTBuVw=="},
        {"66 bytes", "BAIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTtGUp968uXcS0t2jyoWqh2Wlb"
                     "0X8dYWZZS8ol8ZTBuV5QA"},
        {"two keys", CLIENT_PUBLIC CLIENT_PUBLIC},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf server = {0}, salt = {0};
        struct err e = {""};
        struct seal *s = seal_agree(str_of(bad[i].key), &server, &salt, &e);
        if (s || !e.text[0] || server.n || salt.n)
            fail_msg("taken: %s", bad[i].what);
        if (bad[i].key[0] && strstr(e.text, bad[i].key))
            fail_msg("key shown: %s", bad[i].what);
    }
}

static void keys_of_the_hook(void **state UNUSED)
{
    static const struct {
        const char *key;
        bool good;
    } keys[] = {
        {SALT, true},
        {"", false},
        {"AAECAwQFBgcICQoLDA0ODw==", false},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", false},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", false},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", false},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh_=", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct err e = {""};
        struct seal *s = seal_of_key(str_of(keys[i].key), &e);
        assert_int_equal(s != NULL, keys[i].good);
        assert_int_equal(e.text[0] != 0, !keys[i].good);
        seal_free(s);
    }
    struct client c;
    struct err e;
    uint8_t iv[12];
    unbase64(SALT, c.key, 32);
    struct seal *s = seal_of_key(STR(SALT), &e);
    round_trip(&c, s, STR(PLAIN), iv);
    seal_free(s);
    seal_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_of_a7),
        cmocka_unit_test(scalars_outside_the_group_are_refused),
        cmocka_unit_test(round_trips_of_all_lengths),
        cmocka_unit_test(messages_append_and_ivs_differ),
        cmocka_unit_test(seals_do_not_mix),
        cmocka_unit_test(bad_public_keys),
        cmocka_unit_test(keys_of_the_hook),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
