/* seating: which worker serves which listener just now: its own ones, those of a
 * throttled neighbour (lent), those on their way out (drained first, closed after). One
 * function puts everything right after any change. Owns the assignments. Never closes a
 * socket whose queue has not been served while anybody lives who could serve it. */
#ifndef SUPERVISOR_SEATING_H
#define SUPERVISOR_SEATING_H

#include "supervisor/listener.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct supervisor;
struct member;

/* Between excluding a slot and its last accept: a client whose handshake is half done
 * joins the queue one round trip later. */
#define SEATING_GRACE_MS 300

enum seating_mode { SEATING_NONE, SEATING_WAITS, SEATING_DRAINED_BY, SEATING_LENT_TO };
struct seating_entry {
    uint32_t mode;
    uint32_t child; /* DRAINED_BY, LENT_TO */
    int64_t due_ms; /* WAITS */
};
struct seating {
    struct seating_entry entries[LISTENER_ROWS_MAX][SLOTS_MAX];
    struct event timer;
    bool has_missed; /* somebody has to be sent a listener once more */
    bool in_haste;   /* a stop: no grace */
};

void seating_init(struct supervisor *s);
void seating_fini(struct supervisor *s);
/* Its own listeners, those it does not have yet. */
void seating_give(struct supervisor *s, struct member *m);
/* Everybody has what is theirs, leaving seats are drained, throttled slots are lent. Call
 * it after every change. */
void seating_settle(struct supervisor *s);
/* LISTENER_DRAINED */
void seating_drained(struct member *m, uint32_t id, unsigned slot);
/* The listener sent did not arrive: a worker has no descriptor left. */
void seating_missed(struct member *m, uint32_t id, unsigned slot);
void seating_forget(
    struct supervisor *s,
    uint32_t child); /* it is dead, or retires from sockets its successor has */

#endif
