/* json: json-c's only door, for what is not hot: JWT parts, hook answers, ctl filters and
 * rows. Owns nothing it does not return. Never takes what scan.h would refuse: the text
 * is judged there first. */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include "common/err.h"
#include "common/str.h"

#include <json-c/json.h>

/* NULL and e set when it is not JSON. Note: JSON null also yields NULL with e->text
 * empty. Caller: json_object_put. */
struct json_object *json_read(struct str text, struct err *e);
/* Members of an object; defaults when absent or of another type. The views live as long
 * as the object. */
struct str json_get_str(struct json_object *o,
                        const char *key); /* STR_NONE when absent */
int64_t json_get_int(struct json_object *o, const char *key, int64_t dflt);
struct json_object *json_get(struct json_object *o,
                             const char *key); /* borrowed, NULL when absent */

#endif
