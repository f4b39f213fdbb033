/* inbox_notice: what somebody wants notified, and whom, as the HTTP API, helioctl and the
 * Redis stream write it: {"user"|"users"|"broadcast":true,"notification":{…}}. Owns its
 * copies. Never changes a member: their bytes go on as they came. */
#ifndef WORKER_HUB_INBOX_NOTICE_H
#define WORKER_HUB_INBOX_NOTICE_H

#include "common/buf.h"
#include "common/err.h"

#define NOTICE_USERS_MAX 1000
#define NOTICE_MAX (64 * 1024) /* bytes of a notification's members */

struct notice {
    struct str *users; /* each once; names lie in `names` */
    size_t users_n;    /* 0: everybody */
    struct buf names;
    struct buf id;      /* of the notification */
    struct buf members; /* all others but read and created_at, each behind a comma */
};

/* Nothing in it may be unknown. own_id: taken when the notification has no id; p NULL: a
 * UUID. -1: e says what is wrong, *n is empty. */
int notice_read(struct notice *n, struct str text, struct str own_id,
                struct err *e) NODISCARD;
void notice_fini(struct notice *n);

#endif
