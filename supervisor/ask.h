/* ask: questions passed on to workers: QUERY and KICK to all of them, others to one;
 * rows come back as they are made. Owns the questions under way. Never piles rows up:
 * while the asker does not take them, the workers are not read. */
#ifndef SUPERVISOR_ASK_H
#define SUPERVISOR_ASK_H

#include "common/list.h"
#include "common/msg.h"
#include "supervisor/slot.h"

struct supervisor;
struct member;
struct question;

#define ASK_TIMEOUT_MS                                                                   \
    5000 /* without a sign of life from anybody asked, or from the asker */
#define ASK_QUEUE_HIGH (1u << 20) /* bytes that wait for the asker */

struct asking {
    struct list questions;
    uint32_t last_id;
};

struct ask_reply {
    size_t (*row)(void *ctx,
                  struct str json); /* returns the bytes that wait for the asker */
    void (*end)(void *ctx, enum msg_status status, uint64_t count,
                struct str text); /* last */
};

void ask_init(struct supervisor *s);
/* NULL: nobody could be asked, and `end` was called. Otherwise valid until `end`. */
struct question *ask_query(struct supervisor *s, const struct msg_query *m,
                           struct str filter, const struct ask_reply *reply, void *ctx);
struct question *ask_kick(struct supervisor *s, struct str filter,
                          const struct ask_reply *reply, void *ctx);
/* Of the one that can do it best; again of another if that one dies. type: of msg.def,
 * with a struct msg_id. */
struct question *ask_one(struct supervisor *s, enum msg_type type, struct str tail,
                         const struct ask_reply *reply, void *ctx);
void ask_resume(struct question *q); /* the asker has taken everything */
void ask_drop(
    struct question *q); /* the asker is gone: `end` is not called; NULL is fine */

/* News from workers. */
void ask_row(struct member *m, uint32_t id, struct str json);
void ask_end(struct member *m, const struct msg_end *end, struct str text);
void ask_lost(struct supervisor *s, struct member *m); /* it died */

#endif
