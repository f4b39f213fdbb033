// floors: hub
/* What somebody wants notified, and what Redis says of an inbox. Each input is all of
 * them: a notice, an id of a stream's entry, the state of an inbox, news of it, what a
 * stream holds. */
#include "common/strict.h"
#include "common/utf8.h"
#include "common/uuid.h"
#include "worker/hub/inbox.h"
#include "worker/hub/inbox_notice.h"
#include "worker/hub/netstring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- notices ---- */

static bool is_ours(const struct scan_value *name)
{
    return scan_string_is(name, "id") || scan_string_is(name, "read") ||
           scan_string_is(name, "created_at");
}

static bool next_other(struct str object, size_t *pos, struct scan_value *name,
                       struct scan_value *value)
{
    while (scan_next_member(object, pos, name, value))
        if (!is_ours(name))
            return true;
    return false;
}

/* What the program wrote is there, byte by byte, in its order. */
static void check_others(struct str came, struct str stored)
{
    struct scan_value name, value, name_then, value_then;
    size_t pos = 0, pos_then = 0;
    while (next_other(came, &pos, &name, &value)) {
        BUG_ON(!next_other(stored, &pos_then, &name_then, &value_then));
        BUG_ON(!str_eq(name.raw, name_then.raw) || !str_eq(value.raw, value_then.raw));
    }
    BUG_ON(next_other(stored, &pos_then, &name_then, &value_then));
}

/* As inbox.lua composes it. */
static void compose(const struct notice *n, struct buf *out)
{
    buf_str(out, STR("{\"id\":"));
    buf_json(out, buf_view(&n->id));
    buf_str(out, STR(",\"created_at\":\"2026-01-01T00:00:00.000Z\",\"read\":false"));
    buf_str(out, buf_view(&n->members));
    buf_char(out, '}');
}

static void wrap(const char *before, struct str inner, const char *after, struct buf *out)
{
    buf_clear(out);
    buf_str(out, str_of(before));
    buf_str(out, inner);
    buf_str(out, str_of(after));
}

/* Wherever it stands on its way to clients. */
static void check_composed(const struct notice *n, struct str came)
{
    enum { ID, CREATED, READ, MEMBERS };
    struct scan_member m[MEMBERS] = {{"id"}, {"created_at"}, {"read"}};
    struct buf out = {0}, answer = {0}, scratch = {0};
    struct inbox_state state;
    struct str text;
    int64_t version;
    compose(n, &out);
    BUG_ON(scan_text(buf_view(&out), m, MEMBERS) != SCAN_OBJECT);
    BUG_ON(m[ID].seen != 1 || m[CREATED].seen != 1 || m[READ].seen != 1);
    BUG_ON(m[READ].value.type != SCAN_FALSE);
    BUG_ON(!str_eq(scan_string(&m[ID].value, &scratch), buf_view(&n->id)));
    check_others(came, buf_view(&out));
    wrap("{\"notifications\":[", buf_view(&out), "]}", &answer);
    BUG_ON(scan_text(buf_view(&answer), NULL, 0) != SCAN_OBJECT);
    wrap("{\"version\":1,\"count\":1,\"unread\":[", buf_view(&out), "]}", &answer);
    BUG_ON(!inbox_state_read(buf_view(&answer), &state));
    wrap("n7 {\"type\":\"notification\",\"notification\":", buf_view(&out), "}", &answer);
    BUG_ON(inbox_news_read(buf_view(&answer), &version, &text) != 'n' || version != 7);
    buf_free(&out);
    buf_free(&answer);
    buf_free(&scratch);
}

static void check_users(const struct notice *n)
{
    for (size_t i = 0; i < n->users_n; i++) {
        BUG_ON(n->users[i].n == 0 || n->users[i].n > INBOX_USER_MAX);
        BUG_ON(!utf8_ok(n->users[i].p, n->users[i].n));
        for (size_t j = 0; j < i; j++)
            BUG_ON(str_eq(n->users[i], n->users[j]));
    }
}

static void check_id(const struct notice *n, const struct scan_value *given,
                     struct str own_id)
{
    struct buf scratch = {0};
    struct uuid ignored;
    struct str id = buf_view(&n->id);
    BUG_ON(id.n == 0 || !utf8_ok(id.p, id.n) || scan_utf16_length(id) > 2 * INBOX_ID_MAX);
    if (given->type != SCAN_BAD)
        BUG_ON(!str_eq(id, scan_string(given, &scratch)));
    else if (own_id.p)
        BUG_ON(!str_eq(id, own_id));
    else
        BUG_ON(!uuid_parse(id, &ignored));
    buf_free(&scratch);
}

static void check_notice(struct str text, struct str own_id)
{
    struct scan_member m[] = {{"notification"}}, id[] = {{"id"}};
    struct notice n;
    struct err e = {0};
    if (notice_read(&n, text, own_id, &e) != 0) {
        BUG_ON(!e.text[0] || !utf8_ok(e.text, strlen(e.text)));
        BUG_ON(n.users || n.names.p || n.id.p || n.members.p);
        return;
    }
    BUG_ON(scan_text(text, m, 1) != SCAN_OBJECT || n.members.n > NOTICE_MAX);
    scan_object(m[0].value.raw, id, 1);
    check_id(&n, &id[0].value, own_id);
    check_users(&n);
    check_composed(&n, m[0].value.raw);
    notice_fini(&n);
}

/* ---- objects in which nothing may be unknown ---- */

static bool is_known(const struct scan_value *name)
{
    return scan_string_is(name, "user") || scan_string_is(name, "id");
}

static void check_strict(struct str text)
{
    struct scan_member m[] = {{"user"}, {"id"}};
    struct scan_value name, value;
    struct str object = STR_NONE;
    struct err e = {0};
    size_t pos = 0, unknown = 0;
    bool is_object = scan_text(text, m, ARRAY_LEN(m)) == SCAN_OBJECT;
    bool is_repeated = m[0].seen > 1 || m[1].seen > 1;
    int rc = strict_read(text, m, ARRAY_LEN(m), &object, &e);
    while (is_object && scan_next_member(scan_value_of(text).raw, &pos, &name, &value))
        unknown += !is_known(&name);
    BUG_ON((rc == 0) != (is_object && unknown == 0 && !is_repeated));
    if (rc == 0)
        BUG_ON(object.p[0] != '{' || object.p[object.n - 1] != '}');
    else
        BUG_ON(!e.text[0] || !utf8_ok(e.text, strlen(e.text)));
}

/* ---- what Redis says ---- */

static void check_inside(struct str whole, struct str part)
{
    BUG_ON(part.n > 0 && (part.p < whole.p || part.p + part.n > whole.p + whole.n));
}

static void check_state(struct str text)
{
    struct inbox_state s;
    if (!inbox_state_read(text, &s))
        return;
    BUG_ON(s.version < 0 || s.count < 0);
    BUG_ON(scan_text(s.unread, NULL, 0) != SCAN_ARRAY);
    check_inside(text, s.unread);
}

static void check_news(struct str payload)
{
    int64_t version;
    struct str text;
    char kind = inbox_news_read(payload, &version, &text);
    if (kind == 0)
        return;
    BUG_ON((kind != 'n' && kind != 'c') || payload.p[0] != kind || version < 0);
    BUG_ON(text.n == 0 || text.p + text.n != payload.p + payload.n);
    BUG_ON(kind == 'n' && scan_text(text, NULL, 0) != SCAN_OBJECT);
    check_inside(payload, text);
}

/* Each begins where the one before ends, and says how long it is. */
static void check_netstrings(struct str text)
{
    struct str rest = text, before = text, one;
    uint64_t n;
    while (netstring_take(&rest, &one)) {
        const char *colon = one.p - 1;
        struct str digits = {before.p, (size_t)(colon - before.p)};
        BUG_ON(colon <= before.p || *colon != ':' || one.p[one.n] != ',');
        BUG_ON(!str_to_u64(digits, UINT64_MAX, &n) || n != one.n);
        BUG_ON(rest.p != one.p + one.n + 1 || rest.p + rest.n != text.p + text.n);
        before = rest;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    check_notice(text, STR_NONE);
    check_notice(text, STR("stream-1-0"));
    check_notice(STR("{\"broadcast\":true,\"notification\":{\"a\":1}}"), text);
    check_strict(text);
    check_state(text);
    check_news(text);
    check_netstrings(text);
    return 0;
}
