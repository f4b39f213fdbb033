// floors: protocols
/* What peers say, and what workers tell each other about rooms. Each input is both: a
 * message and a line of a log. */
#include "worker/protocols/signaling_message.h"
#include "worker/protocols/signaling_news.h"

#include <json-c/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
#define ROLE "doctor"
#define FROM "{\"id\":\"" ID "\",\"userType\":\"" ROLE "\"}"

/* ---- messages ---- */

static void check_inside(struct str whole, struct str part)
{
    BUG_ON(part.n > 0 && (part.p < whole.p || part.p + part.n > whole.p + whole.n));
}

/* The next member that is no `from`. */
static bool next_other(struct str object, size_t *pos, struct scan_value *name,
                       struct scan_value *value)
{
    while (scan_next_member(object, pos, name, value))
        if (!scan_string_is(name, "from"))
            return true;
    return false;
}

/* All members but `from` are there, byte by byte, in their order. */
static void check_others(struct str came, struct str went)
{
    struct scan_value name, value, name_then, value_then;
    size_t pos = 0, pos_then = 0;
    while (next_other(came, &pos, &name, &value)) {
        BUG_ON(!next_other(went, &pos_then, &name_then, &value_then));
        BUG_ON(!str_eq(name.raw, name_then.raw) || !str_eq(value.raw, value_then.raw));
    }
    BUG_ON(next_other(went, &pos_then, &name_then, &value_then));
}

static const char *text_at(struct json_object *o, const char *key)
{
    return json_object_get_string(json_object_object_get(o, key));
}

/* As somebody else's parser reads it. json-c ends names at a NUL: such are left out. */
static void check_with_json_c(struct str went)
{
    static const char *const reserved[] = {"joined",        "user-joined", "user-left",
                                           "user-returned", "error",       "pong"};
    if (memmem(went.p, went.n, "\\u0000", 6))
        return;
    struct json_tokener *t = json_tokener_new_ex(SCAN_DEPTH + 1);
    struct json_object *o = json_tokener_parse_ex(t, went.p, (int)went.n);
    struct json_object *from = json_object_object_get(o, "from");
    BUG_ON(json_tokener_get_error(t) != json_tokener_success);
    BUG_ON(strcmp(text_at(from, "id"), ID) != 0 ||
           strcmp(text_at(from, "userType"), ROLE) != 0);
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        BUG_ON(strcmp(text_at(o, "type"), reserved[i]) == 0);
    json_object_put(o);
    json_tokener_free(t);
}

/* Another worker takes it for what it is. */
static void check_told(struct str went)
{
    struct buf line = {0};
    struct uuid id;
    struct news n;
    BUG_ON(!uuid_parse(STR(ID), &id));
    news_write_say(&line, STR(ID), &id, NULL, went);
    BUG_ON(news_read(buf_view(&line), &n) != NEWS_SAY || !str_eq(n.json, went));
    buf_free(&line);
}

static void check_relayed(struct str came)
{
    struct scan_member m[] = {{.name = "from"}, {.name = "type"}};
    struct signal_parts parts;
    struct buf out = {0};
    signal_write(&out, came, STR(ID), STR(ROLE));
    struct str went = buf_view(&out);
    BUG_ON(scan_text(went, m, ARRAY_LEN(m)) != SCAN_OBJECT);
    BUG_ON(m[0].seen != 1 || !str_is(m[0].value.raw, FROM) || m[1].seen != 1);
    BUG_ON(signal_read(went, &parts) != SIGNAL_RELAY);
    check_others(came, went);
    check_with_json_c(went);
    check_told(went);
    buf_free(&out);
}

static void check_message(struct str text)
{
    struct signal_parts parts;
    enum signal_type type = signal_read(text, &parts);
    BUG_ON((type == SIGNAL_BAD) != (parts.fault != NULL));
    check_inside(text, parts.to.raw);
    if (type == SIGNAL_RELAY)
        check_relayed(text);
}

/* ---- lines ---- */

static size_t count_words(struct str s)
{
    size_t n = s.n > 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == ' ';
    return n;
}

static void check_peers(struct str line, struct str peers)
{
    struct news_peer p;
    size_t n = 0, words = count_words(peers);
    for (; news_next_peer(&peers, &p); n++) {
        check_inside(line, p.role);
        check_inside(line, peers);
        BUG_ON(p.role.n == 0 || memchr(p.role.p, '"', p.role.n) || p.code > 4999);
    }
    BUG_ON(n != words);
}

/* Whatever is read as this worker would write it is written so again. */
static void check_rewritten(struct str line, const struct news *n)
{
    struct buf out = {0};
    char worker[UUID_TEXT + 1];
    uuid_text(&n->worker, worker);
    if (n->type == NEWS_SAY)
        news_write_say(&out, str_of(worker), &n->id, n->has_to ? &n->to : NULL, n->json);
    else
        news_write_answer(&out, n->type, n->room, &n->id, &n->to);
    BUG_ON(!str_eq(buf_view(&out), line));
    buf_free(&out);
}

static void check_line(struct str line)
{
    struct news n;
    news_read(line, &n);
    check_inside(line, n.json);
    check_inside(line, n.room);
    check_inside(line, n.reason);
    BUG_ON(n.type != NEWS_BAD && (n.code > 4999 || n.ms < 0));
    if (n.type == NEWS_IN || n.type == NEWS_ALL)
        check_peers(line, n.peers);
    if (n.type == NEWS_SAY)
        check_message(n.json);
    if (n.type == NEWS_SAY || n.type == NEWS_ALIVE || n.type == NEWS_GONE)
        check_rewritten(line, &n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, rest = text;
    struct news_peer p;
    check_message(text);
    check_line(text);
    for (size_t n = 0; news_next_peer(&rest, &p); n++)
        BUG_ON(n > size);
    return 0;
}
