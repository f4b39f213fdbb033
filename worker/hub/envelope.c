#include "worker/hub/envelope.h"

#include "common/scan.h"

static const char *const kind_names[] = {
    [HUB_CLIENT] = "client",
    [HUB_USER] = "user",
    [HUB_ROOM] = "room",
    [HUB_BROADCAST] = "broadcast",
};

static bool kind_of(const struct scan_value *type, enum hub_kind *out)
{
    for (size_t i = 0; type->type == SCAN_STRING && i < ARRAY_LEN(kind_names); i++) {
        if (scan_string_is(type, kind_names[i])) {
            *out = (enum hub_kind)i;
            return true;
        }
    }
    return false;
}

static enum envelope_verdict bad(const char **why, const char *words)
{
    *why = words;
    return ENVELOPE_BAD;
}

enum envelope_verdict envelope_read(struct str payload, struct str own_id,
                                    struct buf *scratch, struct envelope *out,
                                    const char **why)
{
    enum { SERVER_ID, TYPE, TARGET, EVENT, DATA, EXCLUDE, MEMBERS };
    struct scan_member m[MEMBERS] = {{"serverId"}, {"type"}, {"target"},
                                     {"event"},    {"data"}, {"exclude"}};
    enum scan_type whole = scan_text(payload, m, MEMBERS);
    if (whole != SCAN_OBJECT)
        return bad(why, whole == SCAN_BAD ? "not JSON" : "not a JSON object");
    if (m[SERVER_ID].value.type != SCAN_STRING)
        return bad(why, "serverId is not a string");
    if (m[EVENT].value.type != SCAN_STRING)
        return bad(why, "event is not a string");
    buf_clear(scratch);
    if (str_eq(scan_string(&m[SERVER_ID].value, scratch), own_id))
        return ENVELOPE_OWN;

    *out = (struct envelope){.event_json = m[EVENT].value.raw};
    if (!kind_of(&m[TYPE].value, &out->kind))
        return bad(why, "type is none of client, user, room, broadcast");
    if (m[DATA].value.type != SCAN_BAD)
        out->data_json = m[DATA].value.raw;
    if (m[EXCLUDE].value.type != SCAN_BAD)
        out->exclude_json = m[EXCLUDE].value.raw;
    if (out->kind == HUB_BROADCAST)
        return ENVELOPE_OK;
    if (m[TARGET].value.type != SCAN_STRING)
        return bad(why, "target is not a string");
    buf_clear(scratch);
    out->target = scan_string(&m[TARGET].value, scratch);
    return out->target.n ? ENVELOPE_OK : bad(why, "target is empty");
}

/* ["<except>", and what the given list holds. */
static void write_exclude(struct buf *out, const struct hub_event *ev)
{
    bool by_id = ev->kind == HUB_ROOM || ev->kind == HUB_BROADCAST;
    if (!ev->except || !by_id) {
        if (ev->exclude_json.p) {
            buf_str(out, STR(",\"exclude\":"));
            buf_str(out, ev->exclude_json);
        }
        return;
    }
    char id[UUID_TEXT + 1];
    uuid_text(&ev->except->st.uuid, id);
    buf_printf(out, ",\"exclude\":[\"%s\"", id);
    struct scan_value item;
    size_t pos = 0;
    if (ev->exclude_json.n && ev->exclude_json.p[0] == '[') {
        while (scan_next(ev->exclude_json, &pos, &item)) {
            buf_char(out, ',');
            buf_str(out, item.raw);
        }
    }
    buf_char(out, ']');
}

void envelope_write(struct buf *out, struct str server_id, const struct hub_event *ev)
{
    buf_str(out, STR("{\"serverId\":"));
    buf_json(out, server_id);
    buf_printf(out, ",\"type\":\"%s\"", kind_names[ev->kind]);
    if (ev->kind != HUB_BROADCAST) {
        buf_str(out, STR(",\"target\":"));
        buf_json(out, ev->target);
    }
    buf_str(out, STR(",\"event\":"));
    buf_str(out, ev->event_json);
    if (ev->data_json.p) {
        buf_str(out, STR(",\"data\":"));
        buf_str(out, ev->data_json);
    }
    write_exclude(out, ev);
    buf_char(out, '}');
}

void envelope_delivery(struct buf *out, struct str event_json, struct str data_json)
{
    buf_str(out, STR("{\"event\":"));
    buf_str(out, event_json);
    if (data_json.p) {
        buf_str(out, STR(",\"data\":"));
        buf_str(out, data_json);
    }
    buf_char(out, '}');
}

void envelope_channel(struct buf *out, enum hub_kind kind, struct str target)
{
    buf_printf(out, "ws:%s", kind_names[kind]);
    if (kind != HUB_BROADCAST) {
        buf_char(out, ':');
        buf_str(out, target);
    }
}
