/* msg: what supervisor, workers and helioctl say to one another (msg.def): numbers,
 * names, payloads, checks. Owns nothing. No pointers and no host-specific times travel:
 * both ends are this program's, of one version (HELLO says it). */
#ifndef COMMON_MSG_H
#define COMMON_MSG_H

#include "common/str.h"

#define MSG_VERSION 1
#define MSG_TAIL_MAX (160 * 1024)

struct msg_empty {
    uint32_t unused;
};
struct msg_hello {
    uint32_t version, pid, slot, worker; /* worker: the how-manieth in this slot */
};
struct msg_listener {
    uint32_t id;
    uint32_t slot;
    uint32_t state;
    uint32_t accepted;
};
struct msg_gen {
    uint32_t gen;
};
struct msg_flag {
    uint32_t on;
};
struct msg_timeout {
    uint32_t ms;
};
struct msg_id {
    uint32_t id;
};
struct msg_query {
    uint32_t id;
    uint32_t what;
    uint32_t limit;
};
struct msg_end {
    uint32_t id;
    uint32_t status;
    uint64_t count;
};
struct msg_level {
    uint32_t id;
    uint32_t level;
};
struct msg_slot {
    uint32_t id;
    uint32_t slot;
};
struct msg_flag_id {
    uint32_t id;
    uint32_t on;
};

/* msg_listener.state: OWN listeners are kept until DRAIN, SHUTDOWN or RETIRE; a LENT one
 * belongs to a slot without a worker and is served until LISTENER_DRAIN; a LEFT one is
 * accepted empty as room permits, closed and answered DRAINED. In DRAINED: MISSED when
 * its descriptor did not arrive. */
enum msg_listener_state { LISTENER_OWN, LISTENER_LENT, LISTENER_LEFT, LISTENER_MISSED };

/* msg_query.what */
enum msg_what {
    QUERY_STATUS,
    QUERY_WORKERS,
    QUERY_CONNECTIONS,
    QUERY_ROOMS,
    QUERY_USERS,
    QUERY_CONFIG,
    QUERY_COUNTERS,
    QUERY_MEMORY, /* a row for each worker; the supervisor adds what the kernel says */
    QUERY_N
};

/* msg_end.status; also helioctl's exit codes */
enum msg_status {
    END_OK = 0,
    END_FAILED = 1,
    END_USAGE = 2,
    END_UNAVAILABLE = 3,
    END_DENIED = 4,
    END_PARTIAL = 5
};

enum msg_direction { MSG_S2W = 1, MSG_W2S = 2, MSG_C2S = 4, MSG_S2C = 8, MSG_ANY = 15 };

enum msg_type {
#define MSG(num, name, dir, type) MSG_##name = num,
#include "common/msg.def"
};

/* Never made: tells the compiler which type belongs to a name. */
union msg_payload {
#define MSG(num, name, dir, type) type name;
#include "common/msg.def"
};

struct msg_row {
    uint32_t type;
    const char *name;
    unsigned direction;
    uint32_t size;  /* of the fixed payload */
    size_t handler; /* offset into struct msg_handlers */
};
/* NULL for an unknown number. */
const struct msg_row *msg_find(uint32_t type);

/* A doorway file is a designated initialiser of this. A handler that wants to keep *fd
 * sets it to -1; otherwise it is closed behind it. The tail dies when the handler
 * returns. `gone` is called once, last: the peer closed, or spoke nonsense (why). */
struct msg_handlers {
#define MSG(num, name, dir, type)                                                        \
    void (*name)(void *ctx, const type *m, struct str tail, int *fd);
#include "common/msg.def"
    void (*gone)(void *ctx, const char *why);
};

#endif
