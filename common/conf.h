/* conf: the configuration as a value: every key of conf_keys.def with its bounds.
 * Owns all it holds; counted by reference; never changes once a reload has put it in
 * force. Knows no YAML and opens no file: the supervisor feeds it (conf_set), workers
 * decode it from a sealed memfd. */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include "common/buf.h"
#include "common/err.h"

enum conf_kind {
    CONF_BOOL,
    CONF_INT,
    CONF_SIZE,
    CONF_TIME,
    CONF_STR,
    CONF_STRS,
    CONF_WORKERS,
    CONF_CONTENT,
    CONF_ENUM,
    CONF_BLOCK,
    CONF_LIST,
};
enum conf_flags { CONF_LIVE = 1, CONF_BOOT = 2, CONF_SECRET = 4 };

/* The choices of each ENUM key, in the table's order (a unit test holds them together).
 */
enum conf_auth_method { AUTH_ANONYMOUS, AUTH_STATIC, AUTH_JWT, AUTH_HOOK, AUTH_TICKET };
enum conf_protocol {
    PROTOCOL_EVENTS,
    PROTOCOL_ECHO,
    PROTOCOL_SIGNALING,
    PROTOCOL_NOTIFICATIONS
};
enum conf_encryption { ENCRYPTION_NONE, ENCRYPTION_BUILTIN, ENCRYPTION_HOOK };
enum conf_refusals { REFUSALS_HTTP, REFUSALS_CLOSE };
enum conf_io_uring { IO_URING_AUTO, IO_URING_ON, IO_URING_OFF };
enum conf_compression { COMPRESSION_OFF, COMPRESSION_ON };
enum conf_inbound { INBOUND_NONE, INBOUND_REDIS };

struct conf_strs {
    struct str *v; /* each NUL-terminated behind its n bytes */
    size_t n;
};
struct conf_content {
    struct str value; /* what the supervisor read; p NULL when not given */
    char *source;     /* "file:/path", "env:NAME", or NULL: inline */
};

#define CONF_TYPE_BOOL bool
#define CONF_TYPE_INT int64_t
#define CONF_TYPE_SIZE int64_t   /* bytes */
#define CONF_TYPE_TIME int64_t   /* milliseconds */
#define CONF_TYPE_STR struct str /* never p NULL; NUL-terminated behind its n bytes */
#define CONF_TYPE_STRS struct conf_strs
#define CONF_TYPE_WORKERS int64_t /* 0: auto */
#define CONF_TYPE_CONTENT struct conf_content

/* One struct per section: struct conf_log, conf_redis, … conf_endpoint, conf_main. */
#define SECTION_BEGIN(section, help) struct conf_##section {
#define SECTION_END(section)                                                             \
    }                                                                                    \
    ;
#define KEY(section, name, KIND, dflt, min, max, flags, help) CONF_TYPE_##KIND name;
#define ENUM(section, name, choices, dflt, flags, help) int name;
#define BLOCK(section, name, type, help) struct conf_##type name;
#define LIST(section, name, type, max, help)                                             \
    struct {                                                                             \
        struct conf_##type *v;                                                           \
        size_t n;                                                                        \
    } name;
#include "common/conf_keys.def"

struct conf_key {
    const char *name;
    enum conf_kind kind;
    size_t offset;
    const char *dflt; /* text; NULL for blocks and lists */
    int64_t min, max; /* numbers: the value; texts: the length; lists: the count */
    unsigned flags;
    const char *choices;            /* ENUM: "a|b|c" */
    const struct conf_section *sub; /* BLOCK, LIST */
    const char *help;
};
struct conf_section {
    const char *name, *help;
    const struct conf_key *keys;
    size_t n, size; /* keys; bytes of the struct */
};
extern const struct conf_section conf_main_section;

/* The key of that name. NULL: e says that it is unknown, where it belongs or which one is
 * near. */
const struct conf_key *conf_find(const struct conf_section *s, struct str name,
                                 struct err *e);
/* CONTENT keys have two siblings that say where the bytes are. */
#define CONF_FILE_SUFFIX "_file"
#define CONF_ENV_SUFFIX "_env"
#define CONF_ELEMENT_MAX 1024 /* bytes of one element of a STRS */

struct conf {
    struct conf_main main; /* first: section pointers are offsets into this */
    uint32_t generation;   /* 1 at boot, higher with each reload that went live */
    unsigned refs;
    char *file;                   /* where it came from, for messages; NULL in workers */
    struct conf_origins *origins; /* path → line, for `show config`; NULL in workers */
};

struct conf *conf_new(void); /* all defaults; refs 1; no list rows */
struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf *c);

/* Sets one leaf by path: "redis.url", "endpoints[2].auth.method",
 * "endpoints[0].rooms.join[1]" ([0] replaces what was there, the next index appends;
 * without an index the text is the whole list: elements separated by commas, `\` before a
 * comma or blank that belongs to an element). A list row comes into being when its first
 * key is set, in order. line 0: not from a file. Errors are `path: what` (the caller
 * knows file and line), name the nearest known key for an unknown one, never show a
 * secret, and change nothing. */
int conf_set(struct conf *c, const char *path, struct str text, int line,
             struct err *e) NODISCARD;
/* The same for a CONTENT key whose bytes came from elsewhere: source "file:/path" or
 * "env:NAME". */
int conf_set_content(struct conf *c, const char *path, struct str bytes,
                     const char *source, int line, struct err *e) NODISCARD;
/* The line a key, block or row was first set in, 0 for none or unknown; whether it was
 * set at all. */
int conf_line(const struct conf *c, const char *path);
bool conf_is_given(const struct conf *c, const char *path);
/* The rules that need more than one key (endpoint without path, duplicate paths, jwt
 * without key or algorithms, hook method without hook URL, URL syntax, ping_after <
 * idle_timeout, …). *line: the line to blame, 0 if none. Fills what is derived: an absent
 * listener list becomes 127.0.0.1:8000. Errors are `path: what`. */
int conf_check(struct conf *c, int *line, struct err *e) NODISCARD;

/* One leaf after the other, in table order: path, key, the value as text (secrets as they
 * are: mask before showing), and the line it came from (0: default). */
typedef void (*conf_leaf_fn)(void *ctx, const char *path, const struct conf_key *key,
                             struct str text, int line);
void conf_walk(const struct conf *c, conf_leaf_fn fn, void *ctx);
/* Calls fn for every leaf that differs, with the new text and line (a row added: all its
 * leaves; removed: all, text p NULL). */
void conf_diff(const struct conf *old, const struct conf *new, conf_leaf_fn fn,
               void *ctx);
/* The text of an ENUM key's value: one of its choices. */
struct str conf_choice(const struct conf_key *key, int value);

/* For the memfd between supervisor and workers: everything, contents included. */
void conf_encode(const struct conf *c, struct buf *out);
int conf_seal(const struct conf *c, struct err *e) NODISCARD; /* that memfd, or -1 */
struct conf *conf_decode(struct str bytes, struct err *e) NODISCARD;

#endif
