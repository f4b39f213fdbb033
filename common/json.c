#include "common/json.h"

#include "common/scan.h"

static struct json_object *parse(struct json_tokener *t, struct str text, struct err *e)
{
    struct json_object *o = json_tokener_parse_ex(t, text.p, (int)text.n);
    /* a number on its own ends only with its text */
    if (json_tokener_get_error(t) == json_tokener_continue)
        o = json_tokener_parse_ex(t, "", -1);
    enum json_tokener_error error = json_tokener_get_error(t);
    if (error == json_tokener_success)
        return o;
    err_set(e, "not JSON: %s", json_tokener_error_desc(error));
    return NULL;
}

struct json_object *json_read(struct str text, struct err *e)
{
    if (e)
        e->text[0] = '\0';
    if (text.n > INT32_MAX || scan_text(text, NULL, 0) == SCAN_BAD) {
        err_set(e, "not JSON");
        return NULL;
    }
    struct json_tokener *t = json_tokener_new_ex(SCAN_DEPTH + 1);
    BUG_ON(!t);
    struct json_object *o = parse(t, text, e);
    json_tokener_free(t);
    return o;
}

struct json_object *json_get(struct json_object *o, const char *key)
{
    struct json_object *member;
    if (!json_object_is_type(o, json_type_object))
        return NULL;
    return json_object_object_get_ex(o, key, &member) ? member : NULL;
}

struct str json_get_str(struct json_object *o, const char *key)
{
    struct json_object *m = json_get(o, key);
    if (!json_object_is_type(m, json_type_string))
        return STR_NONE;
    return (struct str){json_object_get_string(m), (size_t)json_object_get_string_len(m)};
}

int64_t json_get_int(struct json_object *o, const char *key, int64_t dflt)
{
    struct json_object *m = json_get(o, key);
    return json_object_is_type(m, json_type_int) ? json_object_get_int64(m) : dflt;
}
