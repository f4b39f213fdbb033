/* reload: the transaction that puts a configuration in force: everywhere or nowhere. Boot
 * is the first one. Owns the next configuration while it is under way. Never changes
 * anything live before every worker has agreed. */
#ifndef SUPERVISOR_RELOAD_H
#define SUPERVISOR_RELOAD_H

#include "common/conf.h"
#include "supervisor/slot.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct supervisor;
struct member;

enum reload_state { RELOAD_IDLE, RELOAD_RESOLVING, RELOAD_COMMITTING };

struct reload {
    enum reload_state state;
    struct conf *next;
    int fd;                      /* next, sealed */
    unsigned workers;            /* of next */
    uint32_t offered;            /* the highest generation ever offered to a worker */
    uint32_t round;              /* how many reloads were asked for and begun */
    bool is_asked;               /* another one is to begin */
    bool is_party[CHILDREN_MAX]; /* answer awaited */
    unsigned waiting;
    struct event timer, begin;
};

void reload_init(struct supervisor *s);
void reload_fini(struct supervisor *s);
/* Workers that a configuration asks for. */
unsigned reload_workers(const struct conf *c);
/* The boot's: with a configuration that was loaded already. -1: nothing was begun. */
int reload_boot(struct supervisor *s, struct conf *next, struct err *e) NODISCARD;
/* SIGHUP and helioctl. Begins in the next turn, or after the one under way. Returns the
 * round that will answer. */
uint32_t reload_ask(struct supervisor *s);
void reload_cancel(struct supervisor *s, const char *why); /* a stop outranks it */

/* A worker's answer: true when it belonged to the transaction. */
bool reload_agreed(struct supervisor *s, struct member *m, uint32_t gen);
bool reload_refused(struct supervisor *s, struct member *m, uint32_t gen, struct str why);
void reload_lost(struct supervisor *s, struct member *m); /* it died */

#endif
