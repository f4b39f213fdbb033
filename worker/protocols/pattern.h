/* pattern: may this user have that room? Patterns of `rooms.join` and `rooms.publish`.
 * Owns nothing. Pure. */
#ifndef WORKER_PROTOCOLS_PATTERN_H
#define WORKER_PROTOCOLS_PATTERN_H

#include "common/conf.h"

/* Who asks. user p NULL: nobody in particular, so `{userId}` matches nothing. own_id: the
 * connection's id. */
struct pattern_subject {
    struct str user, own_id;
};
/* `*` stands for any text, `{userId}` for the user's own id, letter by letter (a `*` in
 * it is no pattern). A pattern with `*` never matches what looks like another
 * connection's id (PROTOCOL A12). */
bool pattern_match(struct str pattern, struct str room,
                   const struct pattern_subject *who);
bool pattern_permits(const struct conf_strs *patterns, struct str room,
                     const struct pattern_subject *who);

#endif
