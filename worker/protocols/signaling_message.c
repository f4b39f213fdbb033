#include "worker/protocols/signaling_message.h"

static bool is_reserved(const struct scan_value *type)
{
    static const char *const reserved[] = {"joined",        "user-joined", "user-left",
                                           "user-returned", "error",       "pong"};
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (scan_string_is(type, reserved[i]))
            return true;
    }
    return false;
}

static const char *find_fault(enum scan_type whole, const struct scan_member *type)
{
    if (whole == SCAN_BAD)
        return "This is not JSON; a message is a JSON object with a `type`";
    if (whole != SCAN_OBJECT)
        return "This is no JSON object; a message is an object with a `type`";
    if (type->seen > 1)
        return "`type` stands there more than once";
    if (type->value.type != SCAN_STRING)
        return "`type` is missing, or is not a text";
    if (is_reserved(&type->value))
        return "Messages of this type come from the server only";
    return NULL;
}

enum signal_type signal_read(struct str text, struct signal_parts *out)
{
    struct scan_member m[] = {{.name = "type"}, {.name = "to"}};
    enum scan_type whole = scan_text(text, m, ARRAY_LEN(m));
    out->to = m[1].value;
    out->fault = find_fault(whole, &m[0]);
    if (out->fault)
        return SIGNAL_BAD;
    if (scan_string_is(&m[0].value, "ping"))
        return SIGNAL_PING;
    return scan_string_is(&m[0].value, "leave") ? SIGNAL_LEAVE : SIGNAL_RELAY;
}

void signal_write(struct buf *out, struct str text, struct str id, struct str role)
{
    struct scan_value name, value;
    size_t pos = 0;
    buf_char(out, '{');
    while (scan_next_member(text, &pos, &name, &value)) {
        if (scan_string_is(&name, "from"))
            continue;
        buf_str(out, name.raw);
        buf_char(out, ':');
        buf_str(out, value.raw);
        buf_char(out, ',');
    }
    buf_str(out, STR("\"from\":{\"id\":"));
    buf_json(out, id);
    buf_str(out, STR(",\"userType\":"));
    buf_json(out, role);
    buf_str(out, STR("}}"));
}
