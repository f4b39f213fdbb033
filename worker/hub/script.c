#include "worker/hub/script.h"

#include "common/buf.h"
#include "common/digest.h"
#include "common/mem.h"

#define OWN_ARGUMENTS 4 /* EVALSHA, the digest, how many keys, the prefix */

/* A call under way: what is needed to make it again. */
struct run {
    struct bus *bus;
    const struct script *script;
    bus_reply_fn fn;
    void *ctx;
    struct buf texts; /* of the arguments */
    char keys_n[24];
    size_t argc;
    struct str argv[];
};

static void name_it(struct script *s)
{
    uint8_t digest[DIGEST_SHA1];
    struct buf hex = {0};
    if (s->sha[0])
        return;
    digest_sha1(*s->text, digest);
    buf_hex(&hex, digest, sizeof(digest));
    BUG_ON(hex.n + 1 != sizeof(s->sha));
    memcpy(s->sha, buf_cstr(&hex), sizeof(s->sha));
    buf_free(&hex);
}

/* The texts are in one buffer, which has room for all of them: views of it stay. */
static void add(struct run *r, struct str prefix, struct str s)
{
    struct str *arg = &r->argv[r->argc++];
    *arg = (struct str){r->texts.p + r->texts.n, prefix.n + s.n};
    buf_str(&r->texts, prefix);
    buf_str(&r->texts, s);
}

static size_t bytes_of(const struct str *v, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += v[i].n;
    return bytes;
}

static void finish(struct run *r, const struct bus_reply *reply)
{
    bus_reply_fn fn = r->fn;
    void *ctx = r->ctx;
    buf_free(&r->texts);
    free(r);
    fn(ctx, reply);
}

static void on_answer(void *ctx, const struct bus_reply *reply)
{
    finish(ctx, reply);
}

/* Redis forgets its scripts when it restarts. */
static void on_first_answer(void *ctx, const struct bus_reply *reply)
{
    struct run *r = ctx;
    if (reply->type != BUS_ERROR || !str_starts(reply->text, STR("NOSCRIPT"))) {
        finish(r, reply);
        return;
    }
    r->argv[0] = STR("EVAL");
    r->argv[1] = *r->script->text;
    r->bus->ops->call(r->bus, r->argv, r->argc, on_answer, r);
}

void script_call(struct bus *b, struct script *s, const struct str *keys, size_t keys_n,
                 const struct str *args, size_t args_n, bus_reply_fn fn, void *ctx)
{
    if (!b) {
        fn(ctx, &(struct bus_reply){.type = BUS_DOWN, .text = STR("there is no bus")});
        return;
    }
    size_t argc = OWN_ARGUMENTS + keys_n + args_n;
    struct str prefix = b->ops->prefix(b);
    struct run *r = mem_new(sizeof(*r) + argc * sizeof(*r->argv));
    r->bus = b;
    r->script = s;
    r->fn = fn;
    r->ctx = ctx;
    name_it(s);
    snprintf(r->keys_n, sizeof(r->keys_n), "%zu", keys_n);
    r->argv[r->argc++] = STR("EVALSHA");
    r->argv[r->argc++] = str_of(s->sha);
    r->argv[r->argc++] = str_of(r->keys_n);
    buf_reserve(&r->texts, (keys_n + 1) * prefix.n + bytes_of(keys, keys_n) +
                               bytes_of(args, args_n) + 1);
    for (size_t i = 0; i < keys_n; i++)
        add(r, prefix, keys[i]);
    add(r, prefix, STR_NONE);
    for (size_t i = 0; i < args_n; i++)
        add(r, STR_NONE, args[i]);
    b->ops->call(b, r->argv, r->argc, on_first_answer, r);
}
