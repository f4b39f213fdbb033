// floors: common
#include "common/digest.h"

#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void assert_hex(const uint8_t digest[DIGEST_SHA256], const char *hex)
{
    struct buf b = {0};
    buf_hex(&b, digest, DIGEST_SHA256);
    assert_string_equal(buf_cstr(&b), hex);
    buf_free(&b);
}

static void sha256_vectors(void **state UNUSED)
{
    static const struct {
        struct str in;
        const char *hex;
    } vectors[] = {
        /* FIPS 180-4 examples */
        {{NULL, 0}, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {{"abc", 3}, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56},
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    uint8_t out[DIGEST_SHA256];
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        digest_sha256(vectors[i].in, out);
        assert_hex(out, vectors[i].hex);
    }
}

/* RFC 4231, test cases 2, 1 and 6; each text whole and in pieces, each twice. */
static void hmac_vectors(void **state UNUSED)
{
    static const struct {
        uint8_t key_byte;
        size_t key_n;
        const char *key, *text, *hex;
    } vectors[] = {
        {0, 4, "Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {0x0b, 20, NULL, "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {0xaa, 131, NULL, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };
    uint8_t out[DIGEST_SHA256];
    char key[131];
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        if (vectors[i].key)
            memcpy(key, vectors[i].key, vectors[i].key_n);
        else
            memset(key, vectors[i].key_byte, vectors[i].key_n);
        struct digest_hmac *h = digest_hmac_new((struct str){key, vectors[i].key_n});
        struct str text = str_of(vectors[i].text);
        struct str pieces[] = {{text.p, 3}, {text.p + 3, 0}, {text.p + 3, text.n - 3}};
        for (int again = 0; again < 2; again++) {
            digest_hmac_sign(h, &text, 1, out);
            assert_hex(out, vectors[i].hex);
            digest_hmac_sign(h, pieces, ARRAY_LEN(pieces), out);
            assert_hex(out, vectors[i].hex);
        }
        digest_hmac_free(h);
    }
    digest_hmac_free(NULL);
}

static void sha1_vectors(void **state UNUSED)
{
    static const struct {
        struct str in;
        const char *hex;
    } vectors[] = {
        /* FIPS 180-4 examples */
        {{NULL, 0}, "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {{"abc", 3}, "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56},
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    };
    uint8_t out[DIGEST_SHA1];
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct buf b = {0};
        digest_sha1(vectors[i].in, out);
        buf_hex(&b, out, sizeof(out));
        assert_string_equal(buf_cstr(&b), vectors[i].hex);
        buf_free(&b);
    }
}

/* RFC 2202, test cases 1, 2, 6 and 7; and nothing at all. */
static void hmac_sha1_vectors(void **state UNUSED)
{
    char twenty[20], eighty[80];
    memset(twenty, 0x0b, sizeof(twenty));
    memset(eighty, 0xaa, sizeof(eighty));
    const struct {
        struct str key, in;
        const char *hex;
    } vectors[] = {
        {{twenty, 20}, STR("Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00"},
        {STR("Jefe"), STR("what do ya want for nothing?"),
         "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
        {{eighty, 80},
         STR("Test Using Larger Than Block-Size Key - Hash Key First"),
         "aa4ae5e15272d00e95705637ce8a3b55ed402112"},
        {{eighty, 80},
         STR("Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data"),
         "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"},
        {STR_NONE, STR_NONE, "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d"},
    };
    uint8_t out[DIGEST_SHA1];
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct buf b = {0};
        digest_hmac_sha1(vectors[i].key, vectors[i].in, out);
        buf_hex(&b, out, sizeof(out));
        assert_string_equal(buf_cstr(&b), vectors[i].hex);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(sha1_vectors),
        cmocka_unit_test(hmac_vectors),
        cmocka_unit_test(hmac_sha1_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
