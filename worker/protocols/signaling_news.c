#include "worker/protocols/signaling_news.h"

#include "worker/http/route.h"
#include "worker/protocols/signaling_message.h"

#define AWAY_MAX_MS 86400000
#define NEWS_PEERS_MAX 256 /* room_size is at most 100 */

static struct str word(struct str *rest)
{
    return str_split(*rest, ' ', rest);
}

static bool read_id(struct str *rest, struct uuid *out)
{
    return uuid_parse(word(rest), out);
}

/* Or `-`: nobody. */
static bool read_id_or_none(struct str *rest, struct uuid *out, bool *has)
{
    struct str w = word(rest);
    *has = !str_is(w, "-");
    return !*has || uuid_parse(w, out);
}

static bool is_segment(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!route_is_segment_char(s.p[i]))
            return false;
    }
    return s.n > 0 && s.n <= ROUTE_SEGMENT_MAX;
}

static bool read_code(struct str s, unsigned *out)
{
    uint64_t code;
    if (!str_to_u64(s, 4999, &code))
        return false;
    *out = (unsigned)code;
    return true;
}

static bool read_peer(struct str text, struct news_peer *out)
{
    struct str id = str_split(text, '/', &text);
    out->role = str_split(text, '/', &text);
    struct str worker = str_split(text, '/', &text);
    return uuid_parse(id, &out->id) && is_segment(out->role) &&
           uuid_parse(worker, &out->worker) && read_code(text, &out->code);
}

bool news_next_peer(struct str *peers, struct news_peer *out)
{
    return peers->p && read_peer(word(peers), out);
}

/* Nobody, if the room is empty. */
static bool read_peers(struct str rest, struct news *out)
{
    struct news_peer p;
    size_t n = 0;
    out->peers = rest.n ? rest : STR_NONE;
    if (rest.n == 0)
        return rest.p != NULL;
    while (rest.p) {
        if (++n > NEWS_PEERS_MAX || !read_peer(word(&rest), &p))
            return false;
    }
    return true;
}

static bool has_peer(struct str peers, const struct uuid *id)
{
    struct news_peer p;
    while (news_next_peer(&peers, &p)) {
        if (uuid_eq(&p.id, id))
            return true;
    }
    return false;
}

static bool read_in(struct str rest, struct news *out)
{
    return read_id(&rest, &out->id) && read_id_or_none(&rest, &out->was, &out->has_was) &&
           read_peers(rest, out) && has_peer(out->peers, &out->id);
}

static bool read_out(struct str rest, struct news *out)
{
    static const char *const reasons[] = {"left", "lost", "replaced", "kicked"};
    bool is_good = read_id(&rest, &out->id) && read_code(word(&rest), &out->code);
    out->reason = rest;
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (str_is(rest, reasons[i]))
            return is_good;
    }
    return false;
}

static bool read_away(struct str rest, struct news *out)
{
    uint64_t ms;
    bool is_good = read_id(&rest, &out->id) && str_to_u64(rest, AWAY_MAX_MS, &ms);
    out->ms = is_good ? (int64_t)ms : 0;
    return is_good;
}

static bool read_say(struct str rest, struct news *out)
{
    struct signal_parts parts;
    struct str head = str_split(rest, '\n', &out->json);
    return read_id(&head, &out->worker) && read_id(&head, &out->id) &&
           read_id_or_none(&head, &out->to, &out->has_to) && !head.p && out->json.p &&
           signal_read(out->json, &parts) == SIGNAL_RELAY;
}

static bool read_probe(struct str rest, struct news *out)
{
    out->room = word(&rest);
    return is_segment(out->room) && read_id(&rest, &out->id) &&
           read_id(&rest, &out->worker) && uuid_parse(rest, &out->to);
}

static bool read_answer(struct str rest, struct news *out)
{
    out->room = word(&rest);
    return is_segment(out->room) && read_id(&rest, &out->id) &&
           uuid_parse(rest, &out->to);
}

enum news_type news_read(struct str line, struct news *out)
{
    static const struct {
        const char *name;
        enum news_type type;
        bool (*read)(struct str rest, struct news *out);
    } kinds[] = {
        {"say", NEWS_SAY, read_say},        {"in", NEWS_IN, read_in},
        {"out", NEWS_OUT, read_out},        {"all", NEWS_ALL, read_peers},
        {"away", NEWS_AWAY, read_away},     {"probe", NEWS_PROBE, read_probe},
        {"alive", NEWS_ALIVE, read_answer}, {"gone", NEWS_GONE, read_answer},
    };
    struct str rest, name = str_split(line, ' ', &rest);
    *out = (struct news){.type = NEWS_BAD};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_is(name, kinds[i].name) && kinds[i].read(rest, out))
            out->type = kinds[i].type;
    }
    return out->type;
}

void news_write_say(struct buf *out, struct str worker, const struct uuid *id,
                    const struct uuid *to, struct str json)
{
    buf_printf(out, "say " STR_FMT " ", STR_ARG(worker));
    uuid_put(out, id);
    buf_char(out, ' ');
    if (to)
        uuid_put(out, to);
    else
        buf_char(out, '-');
    buf_char(out, '\n');
    buf_str(out, json);
}

void news_write_answer(struct buf *out, enum news_type type, struct str room,
                       const struct uuid *id, const struct uuid *to)
{
    buf_printf(out, "%s " STR_FMT " ", type == NEWS_ALIVE ? "alive" : "gone",
               STR_ARG(room));
    uuid_put(out, id);
    buf_char(out, ' ');
    uuid_put(out, to);
}
