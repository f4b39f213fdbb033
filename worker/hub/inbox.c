#include "worker/hub/inbox.h"

#include "common/log.h"
#include "common/scan.h"

#define ROOM "inbox"
#define KEY TOPIC_PREFIX "inbox:"
#define ARGS_OWN 5
#define ARGS_MAX (ARGS_OWN + 3)

extern const struct str inbox_lua;
static struct script script = {.text = &inbox_lua};

/* The parts of an inbox share a hash tag, as Redis calls it: {u:<user>}. */
static const char *const parts[] = {"order", "texts", "unread", "state"};
static const struct str all_keys[] = {{KEY "all:order", sizeof(KEY "all:order") - 1},
                                      {KEY "all:texts", sizeof(KEY "all:texts") - 1}};
#define PARTS ARRAY_LEN(parts)
#define ALL_PARTS ARRAY_LEN(all_keys)

/* Keys of an inbox one behind the other in b, which has room for all of them. */
static void write_keys(struct str user, struct buf *b, struct str keys[PARTS])
{
    buf_reserve(b, PARTS * (sizeof(KEY "{u:}:unread") + user.n));
    for (size_t i = 0; i < PARTS; i++) {
        size_t from = b->n;
        buf_str(b, STR(KEY "{u:"));
        buf_str(b, user);
        buf_str(b, STR("}:"));
        buf_str(b, str_of(parts[i]));
        keys[i] = (struct str){b->p + from, b->n - from};
    }
}

/* A number as an argument. */
struct digits {
    char s[24];
};
static struct digits digits(int64_t n)
{
    struct digits d;
    snprintf(d.s, sizeof(d.s), "%" PRId64, n);
    return d;
}

static void ask(const struct inbox *in, struct str operation, const struct str *more,
                size_t more_n, bus_reply_fn fn, void *ctx)
{
    struct buf names = {0};
    struct str keys[PARTS + ALL_PARTS];
    struct digits capacity = digits(in->limits->capacity);
    struct digits max_age_us = digits(in->limits->max_age * 1000);
    struct digits bytes = digits(in->answer_max ? in->answer_max : INBOX_ANSWER_MAX);
    struct str args[ARGS_MAX] = {operation, str_of(capacity.s), str_of(max_age_us.s),
                                 str_of(bytes.s), in->user};
    size_t keys_n = in->user.n ? PARTS : 0;
    BUG_ON(ARGS_OWN + more_n > ARGS_MAX);
    if (more_n)
        memcpy(args + ARGS_OWN, more, more_n * sizeof(*more));
    if (keys_n)
        write_keys(in->user, &names, keys);
    memcpy(keys + keys_n, all_keys, sizeof(all_keys));
    hub_eval(in->hub, &script, keys, keys_n + ALL_PARTS, args, ARGS_OWN + more_n, fn,
             ctx);
    buf_free(&names);
}

void inbox_unread(const struct inbox *in, int64_t since, int64_t limit, bus_reply_fn fn,
                  void *ctx)
{
    struct digits s = digits(since), l = digits(limit);
    struct str args[] = {str_of(s.s), str_of(l.s)};
    ask(in, STR("unread"), args, ARRAY_LEN(args), fn, ctx);
}

void inbox_read(const struct inbox *in, struct str id, bus_reply_fn fn, void *ctx)
{
    ask(in, STR("read"), &id, 1, fn, ctx);
}

void inbox_read_all(const struct inbox *in, bus_reply_fn fn, void *ctx)
{
    ask(in, STR("read_all"), NULL, 0, fn, ctx);
}

void inbox_list(const struct inbox *in, struct str before, int64_t limit, bus_reply_fn fn,
                void *ctx)
{
    struct digits l = digits(limit);
    struct str args[] = {str_of(l.s), before};
    ask(in, STR("list"), args, before.p ? 2 : 1, fn, ctx);
}

void inbox_put(const struct inbox *in, struct str id, struct str members, bus_reply_fn fn,
               void *ctx)
{
    struct buf json = {0};
    buf_json(&json, id);
    struct str args[] = {id, buf_view(&json), members};
    ask(in, in->user.n ? STR("publish") : STR("broadcast"), args, ARRAY_LEN(args), fn,
        ctx);
    buf_free(&json);
}

/* ---- what comes back ---- */

void inbox_note_refusal(const struct bus_reply *r)
{
    static struct log_limit limit;
    unsigned swallowed = 0;
    if (r->type == BUS_ERROR && log_permit(&limit, 1, 60000, &swallowed))
        log_error("Redis refuses the script that keeps inboxes: %s unlogged=%u",
                  log_esc(r->text), swallowed);
}

void inbox_note_malformed(struct str user)
{
    static struct log_limit limit;
    unsigned swallowed = 0;
    if (log_permit(&limit, 1, 60000, &swallowed))
        log_error("what Redis has of an inbox is not what heliod wrote user=%s "
                  "unlogged=%u",
                  log_esc(user), swallowed);
}

static bool read_number(struct str text, int64_t *out)
{
    uint64_t n;
    if (!str_to_u64(text, INT64_MAX, &n))
        return false;
    *out = (int64_t)n;
    return true;
}

bool inbox_state_read(struct str text, struct inbox_state *out)
{
    struct scan_member m[] = {{"version"}, {"count"}, {"unread"}};
    if (scan_text(text, m, ARRAY_LEN(m)) != SCAN_OBJECT || m[2].value.type != SCAN_ARRAY)
        return false;
    out->unread = m[2].value.raw;
    return read_number(m[0].value.raw, &out->version) &&
           read_number(m[1].value.raw, &out->count);
}

char inbox_news_read(struct str payload, int64_t *version, struct str *text)
{
    char kind = payload.n ? payload.p[0] : 0;
    if (kind != 'n' && kind != 'c')
        return 0;
    struct str number = str_split((struct str){payload.p + 1, payload.n - 1}, ' ', text);
    int64_t count;
    bool is_good = kind == 'n' ? scan_text(*text, NULL, 0) == SCAN_OBJECT
                               : read_number(*text, &count);
    return is_good && read_number(number, version) ? kind : 0;
}
