/* static: a list of `user:sha256:<64 hex digits>` lines; whoever knows the token behind a
 * hash is that user. The fields are counted from the right, so a user may hold colons. A
 * user may have several tokens, a token one user. Owns the parsed list; never holds a
 * token in clear. */
#include "worker/auth/auth.h"

#include "common/digest.h"
#include "common/map.h"
#include "common/mem.h"
#include "common/utf8.h"

#define TOKEN_MAX 8192
#define USER_MAX 256
#define INDEX_BYTES                                                                      \
    16 /* of the hash: the map's key; the rest is compared in constant time */
#define MARK ":sha256:"

struct entry {
    uint8_t hash[DIGEST_SHA256];
    unsigned line;
    size_t user_n;
    char user[];
};
struct static_auth {
    struct map entries; /* struct entry, owned */
};

static struct str index_of(const uint8_t hash[DIGEST_SHA256])
{
    return (struct str){(const char *)hash, INDEX_BYTES};
}

static struct str key_of_entry(const void *item)
{
    return index_of(((const struct entry *)item)->hash);
}

static struct str rest_of(const uint8_t hash[DIGEST_SHA256])
{
    return (struct str){(const char *)hash + INDEX_BYTES, DIGEST_SHA256 - INDEX_BYTES};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int parse_hash(struct str hex, uint8_t hash[DIGEST_SHA256])
{
    for (size_t i = 0; i < DIGEST_SHA256; i++) {
        int high = hex_digit(hex.p[2 * i]), low = hex_digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static int check_user(struct str user, struct err *e)
{
    if (user.n == 0)
        return err_set(e, "the user is empty");
    if (user.n > USER_MAX)
        return err_set(e, "the user is longer than %d bytes", USER_MAX);
    if (str_trim(user).n != user.n)
        return err_set(e, "a blank before or behind the user");
    if (!utf8_ok(user.p, user.n))
        return err_set(e, "the user is not UTF-8");
    for (size_t i = 0; i < user.n; i++)
        if ((unsigned char)user.p[i] < 0x20 || user.p[i] == 0x7F)
            return err_set(e, "the user holds a control character");
    return 0;
}

/* The line itself is never shown: it may be a token somebody forgot to hash. */
static int split_line(struct str line, struct str *user, uint8_t hash[DIGEST_SHA256],
                      struct err *e)
{
    size_t tail = strlen(MARK) + 2 * DIGEST_SHA256;
    struct str mark = {line.p + line.n - MIN(tail, line.n), strlen(MARK)};
    if (line.n < tail || !str_is(mark, MARK))
        return err_set(e, "expected user:sha256:<%d hex digits>", 2 * DIGEST_SHA256);
    struct str hex = {mark.p + mark.n, 2 * DIGEST_SHA256};
    if (parse_hash(hex, hash) != 0)
        return err_set(e, "the hash holds a character that is no hex digit");
    *user = (struct str){line.p, line.n - tail};
    return check_user(*user, e);
}

static int add_line(struct static_auth *a, struct str line, unsigned number,
                    struct err *e)
{
    uint8_t hash[DIGEST_SHA256];
    struct str user;
    if (split_line(line, &user, hash, e) != 0)
        return -1;
    const struct entry *twin = map_get(&a->entries, index_of(hash));
    if (twin)
        return err_set(e, "the same token as in line %u", twin->line);
    struct entry *entry = mem_new(sizeof(*entry) + user.n);
    memcpy(entry->hash, hash, sizeof(hash));
    entry->line = number;
    entry->user_n = user.n;
    memcpy(entry->user, user.p, user.n);
    map_put(&a->entries, entry);
    return 0;
}

static struct str without_cr(struct str line)
{
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

static int add_lines(struct static_auth *a, struct str text, struct err *e)
{
    for (unsigned number = 1; text.p && text.n; number++) {
        struct str rest, line = str_trim(without_cr(str_split(text, '\n', &rest)));
        if (line.n && line.p[0] != '#' && add_line(a, line, number, e) != 0)
            return err_add(e, "line %u", number);
        text = rest;
    }
    return 0;
}

static void close_static(void *state)
{
    struct static_auth *a = state;
    MAP_EACH (struct entry, entry, &a->entries)
        free(entry);
    map_fini(&a->entries);
    free(a);
}

static void *open_static(const struct conf_auth *conf, struct err *e)
{
    struct static_auth *a = NEW(struct static_auth);
    const char *source = conf->tokens.source;
    bool is_file = source && strncmp(source, "file:", 5) == 0;
    map_init(&a->entries, key_of_entry);
    if (add_lines(a, conf->tokens.value, e) == 0)
        return a;
    if (is_file)
        err_add(e, "%s", source + 5);
    err_add(e, "auth.%s", is_file ? "tokens_file" : "tokens");
    close_static(a);
    return NULL;
}

static enum auth_verdict refuse(struct err *why, const char *text)
{
    err_set(why, "%s", text);
    return AUTH_REFUSED;
}

static enum auth_verdict check_static(const void *state, struct str token,
                                      int64_t now_s UNUSED, struct auth_identity *who,
                                      struct err *why)
{
    const struct static_auth *a = state;
    uint8_t hash[DIGEST_SHA256];
    if (!token.p || token.n == 0)
        return refuse(why, "no token");
    if (token.n > TOKEN_MAX)
        return refuse(why, "the token is longer than 8 KiB");
    digest_sha256(token, hash);
    const struct entry *entry = map_get(&a->entries, index_of(hash));
    if (!entry || !str_eq_secret(rest_of(entry->hash), rest_of(hash)))
        return refuse(why, "unknown token");
    buf_put(&who->user, entry->user, entry->user_n);
    who->has_user = true;
    return AUTH_ACCEPTED;
}

const struct auth_ops auth_static_ops = {
    .open = open_static,
    .close = close_static,
    .check = check_static,
};
