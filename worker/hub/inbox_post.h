/* inbox_post: a notice on its way into inboxes: a script for each user, a few at a time,
 * one answer when all are through. Owns the notice until then. Never sends on once Redis
 * has failed it. */
#ifndef WORKER_HUB_INBOX_POST_H
#define WORKER_HUB_INBOX_POST_H

#include "worker/hub/inbox.h"

/* Scripts of one post that are under way at once: with the longest notification less than
 * a quarter of what redis.queue holds by default. */
#define INBOX_POST_WINDOW 16

struct inbox_posted {
    enum bus_reply_type type; /* BUS_TEXT: all is stored; else how it failed … */
    struct str why;           /* … and Redis' own words */
    struct str ids; /* {"ids":{<user>:<id>,…}} of what is stored; broadcast: "*" */
    size_t stored, users; /* broadcast counts as one */
};
typedef void (*inbox_posted_fn)(void *ctx, const struct inbox_posted *p);

/* text, own_id: as notice_read has them. -1: e says what is wrong with it, nothing was
 * done; else fn is called once, perhaps at once. */
int inbox_post(struct hub *h, const struct conf_inbox *limits, struct str text,
               struct str own_id, inbox_posted_fn fn, void *ctx, struct err *e) NODISCARD;

#endif
