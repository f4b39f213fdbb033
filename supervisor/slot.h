/* slot: the seats of the house and who sits in them: state machine, back-off, throttling,
 * as one table of plain data. Owns nothing but the table (no pointers: a later program
 * image can take it over with its descriptors). Never forks, signals or looks at a clock:
 * time is handed in, what is due is handed back. */
#ifndef SUPERVISOR_SLOT_H
#define SUPERVISOR_SLOT_H

#include "common/buf.h"
#include "common/err.h"
#include "supervisor/listener.h"

#define CHILDREN_MAX 1024 /* one and a successor per slot; the rest are retiring */
#define CHILD_NONE UINT32_MAX
#define SERVER_ID_MAX 40
#define SLOT_TABLE_VERSION 1

#define SLOT_BACKOFF_MIN_MS 100
#define SLOT_BACKOFF_MAX_MS 30000
#define SLOT_HEALTHY_MS                                                                  \
    10000 /* a life this long after READY forgets the failures before it */
#define SLOT_THROTTLE_AT 5 /* failures in a row */

enum slot_state {
    SLOT_EMPTY,    /* not configured (any more) */
    SLOT_STARTING, /* its worker has not said READY */
    SLOT_RUNNING,
    SLOT_BACKOFF,   /* no worker; one is due at due_ms */
    SLOT_THROTTLED, /* the same after SLOT_THROTTLE_AT failures: neighbours serve its
                       listeners until a worker is READY */
    SLOT_STATES_N,
};
enum child_state {
    CHILD_FREE,
    CHILD_STARTING,
    CHILD_RUNNING,
    CHILD_RETIRING, /* out of its slot, keeps its last clients */
    CHILD_STOPPING, /* told to shut down, or killed */
    CHILD_STATES_N,
};

/* Every field is listed once: struct, encode and decode are read out of these. */
#define SLOT_FIELDS(F)                                                                   \
    F(uint32_t, state)                                                                   \
    F(uint32_t, lives)     /* workers started so far; the last one's number */           \
    F(uint32_t, child)     /* index, or CHILD_NONE */                                    \
    F(uint32_t, successor) /* STARTING beside a child that is to be replaced */          \
    F(uint32_t, failures)  /* in a row */                                                \
    F(uint32_t, restarts)  /* unplanned, in all */                                       \
    F(int64_t, due_ms)     /* BACKOFF, THROTTLED: when the next worker is started */     \
    F(int32_t, counters_fd)
#define CHILD_FIELDS(F)                                                                  \
    F(uint32_t, state)                                                                   \
    F(uint32_t, slot)                                                                    \
    F(uint32_t, worker)                                                                  \
    F(int32_t, pid)                                                                      \
    F(uint32_t, generation) /* of the configuration in force there; 0: none yet */       \
    F(uint32_t, bus_up)                                                                  \
    F(int64_t, started_ms)                                                               \
    F(int64_t, ready_ms) /* 0: never */                                                  \
    F(int32_t, chan_fd)                                                                  \
    F(int32_t, counters_fd)

#define FIELD(type, name) type name;
struct slot {
    SLOT_FIELDS(FIELD)
};
struct child {
    CHILD_FIELDS(FIELD)
    char server_id[SERVER_ID_MAX]; /* NUL-terminated; empty before HELLO */
};
#undef FIELD

struct slot_table {
    uint32_t slots_n; /* configured workers */
    struct slot slots[SLOTS_MAX];
    struct child children[CHILDREN_MAX];
};

void slot_table_init(struct slot_table *t);
/* Slots below n come to life (BACKOFF, due now); those from n on are given up by
 * slot_retire, one by one, by the caller. */
void slot_table_resize(struct slot_table *t, unsigned n, int64_t now_ms);
const char *slot_state_name(uint32_t state);
const char *child_state_name(uint32_t state);

/* A place for a new worker of this slot: its child when the seat is empty, else its
 * successor. CHILD_NONE when the table is full or a successor is already starting. The
 * caller fills pid and descriptors, or calls slot_died when it could not. */
uint32_t slot_seat(struct slot_table *t, unsigned slot, int64_t now_ms);
/* The worker serves. Returns the predecessor it replaces (now RETIRING), or CHILD_NONE.
 */
uint32_t slot_ready(struct slot_table *t, uint32_t child, int64_t now_ms);
/* Takes the child out of its slot (RETIRING); the slot becomes EMPTY; a successor that
 * was starting is STOPPING (the caller ends it). Returns the child, or CHILD_NONE if
 * there is none. */
uint32_t slot_retire(struct slot_table *t, unsigned slot);

struct slot_loss {
    bool was_seated;    /* the slot lost its worker: one is due at the slot's due_ms */
    bool was_successor; /* a replacement failed; the predecessor stays */
    bool was_serving;   /* it had clients, so it is missed (LOST) */
    bool throttled;     /* the slot has become THROTTLED by this */
    int64_t delay_ms;
};
/* The process is gone. planned: it was told to leave, so this is no failure. Frees the
 * child's place. */
struct slot_loss slot_died(struct slot_table *t, uint32_t child, bool planned,
                           int64_t now_ms);
/* BACKOFF or THROTTLED and its time has come. */
bool slot_is_due(const struct slot_table *t, unsigned slot, int64_t now_ms);
/* When the next slot is due; INT64_MAX: none. */
int64_t slot_next_due(const struct slot_table *t);
int64_t slot_backoff_ms(unsigned failures); /* 0 → 0, 1 → 100, 2 → 200 … 30000 */

uint32_t slot_child_by_pid(const struct slot_table *t, pid_t pid);
unsigned slot_count(const struct slot_table *t, enum slot_state state);

/* Little-endian, versioned; only what is in use. decode refuses another version, short or
 * contradictory bytes, changes nothing then. */
void slot_table_encode(const struct slot_table *t, struct buf *out);
int slot_table_decode(struct slot_table *t, struct str bytes, struct err *e) NODISCARD;

#define CHILDREN_EACH(i, t)                                                              \
    for (uint32_t i = 0; i < CHILDREN_MAX; i++)                                          \
        if ((t)->children[i].state != CHILD_FREE)

#endif
