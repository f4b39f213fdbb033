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

struct print {
    uint8_t bytes[DIGEST_SHA256];
};

static struct print print_of(struct str s)
{
    struct print p;
    digest_sha256(s, p.bytes);
    return p;
}

static struct str view(const struct print *p)
{
    return (struct str){(const char *)p->bytes, sizeof(p->bytes)};
}

/* By their digests, so that not even the length of a key shows in the time; and all of
 * them, whichever fits. */
const struct conf_api_key *api_keys_find(const struct conf_main *conf,
                                         const struct request *r)
{
    const struct conf_api_key *found = NULL;
    struct str token = bearer_token(r);
    struct print of_token = print_of(token);
    for (size_t i = 0; i < conf->api_keys.n; i++) {
        struct print of_key = print_of(conf->api_keys.v[i].key.value);
        bool fits = str_eq_secret(view(&of_key), view(&of_token));
        found = fits && token.n ? &conf->api_keys.v[i] : found;
    }
    return found;
}
