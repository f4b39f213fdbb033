/* pages: the workers' counters as the supervisor keeps them: one page per slot, outliving
 * its workers. Owns the mappings and the totals of pages that are gone. Never lets two
 * workers write into one page. */
#ifndef SUPERVISOR_PAGES_H
#define SUPERVISOR_PAGES_H

#include "common/buf.h"
#include "common/counters.h"
#include "supervisor/listener.h"

struct supervisor;
struct member;

struct pages {
    struct counters *of_slot[SLOTS_MAX]; /* NULL: none yet */
    struct counters past[SLOTS_MAX];     /* totals of pages that have left the slot */
};

void pages_fini(struct supervisor *s);
/* For a worker that is to be started: the slot's page, or one of its own when it is a
 * successor. */
int pages_take(struct member *m, bool is_successor, struct err *e) NODISCARD;
/* It is dead: the slot's page stays; one of its own adds its totals to the slot's past.
 */
void pages_drop(struct member *m);
/* The slot's page is that of the worker that sits in it now; the old one stays its
 * predecessor's … */
void pages_hand_over(struct supervisor *s, unsigned slot, const struct member *successor);
/* … who is dead. */
void pages_inherit(struct supervisor *s, unsigned slot, const struct member *heir);
/* The slot is given up: its page goes with its worker, or now if it has none. */
void pages_give_up(struct supervisor *s, unsigned slot, bool has_worker);

/* Adds, slot by slot, its page, its past and the workers that retire from it. */
void pages_sum(const struct supervisor *s, const struct counter_row *row,
               uint64_t sums[SLOTS_MAX]);
/* Appends such sums: a struct counters for each configured slot, in order. */
void pages_put_sums(const struct supervisor *s, struct buf *out);

#endif
