#include "worker/http/api_keys.h"

#include "common/digest.h"

/* p NULL: there is none, or more than one. */
static struct str bearer_token(const struct request *r)
{
    struct str token, field = request_field(r, "Authorization");
    if (request_count(r, "Authorization") != 1)
        return STR_NONE;
    struct str scheme = str_split(field, ' ', &token);
    return str_eq_nocase(scheme, STR("Bearer")) ? str_trim(token) : STR_NONE;
}

/* By their digests: not even the length of a key shows in the time. */
static bool is_same(struct str a, struct str b)
{
    uint8_t of_a[DIGEST_SHA256], of_b[DIGEST_SHA256];
    digest_sha256(a, of_a);
    digest_sha256(b, of_b);
    return str_eq_secret((struct str){(const char *)of_a, sizeof(of_a)},
                         (struct str){(const char *)of_b, sizeof(of_b)});
}

/* All are compared, whichever fits. */
const struct conf_api_key *api_keys_find(const struct conf_main *conf,
                                         const struct request *r)
{
    const struct conf_api_key *found = NULL;
    struct str token = bearer_token(r);
    for (size_t i = 0; i < conf->api_keys.n; i++) {
        const struct conf_api_key *k = &conf->api_keys.v[i];
        bool fits = is_same(k->key.value, token);
        found = fits && token.n ? k : found;
    }
    return found;
}
