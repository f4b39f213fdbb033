/* hook_queue: which hook call goes out next: one after the other per order, and per
 * configuration at most `concurrency` under way and `queue` waiting. Owns gates and
 * lanes, not the calls. Never knows of HTTP. */
#ifndef WORKER_AUTH_HOOK_QUEUE_H
#define WORKER_AUTH_HOOK_QUEUE_H

#include "common/buf.h"
#include "common/conf.h"
#include "common/digest.h"
#include "common/list.h"
#include "common/log.h"
#include "common/map.h"

/* The limits, secret and CA of one configured hooks block: a copy, because the block may
 * go while calls are under way. */
struct hook_gate {
    struct list link;
    const void *conf; /* identity only, never followed */
    int64_t timeout_ms, concurrency, queue;
    struct buf secret, ca;
    struct digest_hmac *hmac; /* NULL: unsigned */
    struct list ready;
    size_t calls, waiting, active; /* calls: all of them, ended ones until they leave */
    struct log_limit limit;
};

/* BLOCKED: behind others of its order. READY: all places of its gate are taken. */
enum hook_state { HOOK_BLOCKED, HOOK_READY, HOOK_ACTIVE, HOOK_ENDED };

/* A call's part in it; embedded. */
struct hook_ticket {
    struct list place; /* READY: in gate.ready; ACTIVE: the caller's to use */
    struct list turn;  /* in the lane */
    struct hook_gate *gate;
    struct hook_lane *lane; /* NULL: no order */
    enum hook_state state;
};

typedef void (*hook_go_fn)(struct hook_ticket *t);
struct hook_queue {
    struct list gates;
    size_t gates_n;
    struct map lanes;
    hook_go_fn go;
};

void hook_queue_init(struct hook_queue *q, hook_go_fn go);
/* All tickets must have left. */
void hook_queue_fini(struct hook_queue *q);
/* NULL: full. Else the gate to hand to hook_queue_enter. */
struct hook_gate *hook_queue_admit(struct hook_queue *q, const struct conf_hooks *conf,
                                   const void *order);
/* go(t) is called now or when its time has come. */
void hook_queue_enter(struct hook_queue *q, struct hook_ticket *t, struct hook_gate *gate,
                      const void *order);
/* The call is over. Between end and leave the lane stands still, while the caller is told
 * (and may enter and leave others). */
void hook_queue_end(struct hook_ticket *t);
/* For ended tickets, and for ones that wait and shall not go. The ticket may be freed
 * behind it. */
void hook_queue_leave(struct hook_queue *q, struct hook_ticket *t);

#endif
