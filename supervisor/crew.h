/* crew: the living workers: their channels, their births and deaths. Owns each worker's
 * channel; the plain facts about them stand in the slot table. Never decides when a slot
 * is due (slot) or who serves which listener (seating). */
#ifndef SUPERVISOR_CREW_H
#define SUPERVISOR_CREW_H

#include "common/chan.h"
#include "common/counters.h"
#include "common/log.h"
#include "supervisor/slot.h"
#include "supervisor/spawn.h"

struct supervisor;

#define CREW_LOST_MAX 64
#define CREW_GONE_GRACE_MS 5000 /* for a process whose channel has closed */

struct member {
    struct supervisor *s;
    uint32_t index; /* of its struct child */
    struct chan chan;
    struct counters *page; /* the slot's, unless it is retiring or a successor */
    bool has_greeted, is_gone, is_reaped;
    bool is_told_to_leave; /* its end is planned */
    bool has_retire;       /* RETIRE was sent */
    bool is_aborted;       /* by the watchdog */
    int status;            /* when reaped */
    int64_t reaped_ms;
    int64_t kill_ms;  /* SIGKILL when this time has come; 0: no such plan */
    uint64_t turns;   /* what the watchdog saw last … */
    int64_t turns_ms; /* … and when it had changed */
    uint32_t offered; /* generation of a CONF_COMMIT not answered yet; 0: none */
    unsigned pauses;  /* questions that hold its channel back */
    uint32_t given[LISTENER_ROWS_MAX]; /* id of the listener it was given as its own, per
                                          row */
    char bus_why[160];
};

struct crew {
    struct member *members[CHILDREN_MAX];
    struct event due;                        /* the next slot to fill */
    char lost[CREW_LOST_MAX][SERVER_ID_MAX]; /* dead workers nobody was told of yet */
    unsigned lost_n;
    enum log_level level;
};

void crew_init(struct supervisor *s);
void crew_fini(struct supervisor *s);

/* Starts what is due and plans the next time to look. */
void crew_fill(struct supervisor *s);
/* A successor for a running slot; when it is READY the old worker retires. */
int crew_replace(struct supervisor *s, unsigned slot, struct err *e) NODISCARD;
/* The slot is given up: its worker drains its listeners, then keeps its last clients. */
void crew_retire(struct supervisor *s, unsigned slot);
void crew_send_retire(struct member *m); /* once its listeners are on their way */

/* News from from_worker.c. */
void crew_greeted(struct member *m, const struct msg_hello *hello, struct str server_id);
void crew_conf_ready(struct member *m, uint32_t gen);
void crew_conf_refused(struct member *m, uint32_t gen, struct str why);
void crew_is_ready(struct member *m, uint32_t gen);
void crew_bus_state(struct member *m, bool on, struct str why);
void crew_gone(struct member *m, const char *why);

/* As it logs: "worker[0.1]". NULL: no worker. (A logsink_who_fn.) */
const char *crew_name(void *supervisor, pid_t pid);
/* SIGCHLD: false when the pid is none of the workers. */
bool crew_reap(struct supervisor *s, pid_t pid, int status);
/* Buries it if it was reaped and its channel was read to the end. */
void crew_look_for_death(struct member *m);

/* A message that must arrive: a worker that does not take it is killed. */
void crew_tell(struct member *m, enum msg_type type, const void *fixed, struct str tail,
               int fd);
#define CREW_TELL(m, name, type, tail, fd, ...)                                          \
    crew_tell(m, MSG_##name, &(type){__VA_ARGS__}, tail, fd)
void crew_kill(struct member *m, int sig);
/* It misbehaves: logged, SIGKILL; nothing it still says is heard. */
void crew_give_up(struct member *m, const char *why);
/* Sends it the live configuration; APPLY follows its answer. */
void crew_offer(struct member *m);
void crew_send_addresses(struct supervisor *s, struct member *only); /* NULL: to all */
void crew_set_level(struct supervisor *s, enum log_level level);

/* Serving, and its channel stands. */
bool member_is_running(const struct member *m);
bool member_is_alive(const struct member *m); /* RUNNING or RETIRING: has clients */
struct child *member_child(const struct member *m);
/* Any running worker, from another slot than `not_slot` if there is one; NULL: none. */
struct member *crew_any(struct supervisor *s, unsigned not_slot);
unsigned crew_n(const struct supervisor *s); /* living or dying processes */

#define CREW_EACH(m, s)                                                                  \
    for (uint32_t m##_i = 0; m##_i < CHILDREN_MAX; m##_i++)                              \
        for (struct member *m = (s)->crew.members[m##_i]; m; m = NULL)

#endif
