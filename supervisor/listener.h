/* listener: the ports. One SO_REUSEPORT socket per TCP address *and slot*, one shared
 * socket per Unix address, held by the supervisor for life, handed to workers by message.
 * Owns every descriptor in its table and the files of Unix sockets. Never accepts; never
 * just closes a socket that may hold waiting clients: they are served first, then it is
 * closed. */
#ifndef SUPERVISOR_LISTENER_H
#define SUPERVISOR_LISTENER_H

#include "common/conf.h"
#include "common/err.h"

#define SLOTS_MAX 256 /* = the bound of `workers` */
/* 64 configured; as many in preparation; as many being drained */
#define LISTENER_ROWS_MAX 192

enum listener_row_state {
    LISTENER_ROW_FREE,
    LISTENER_ROW_PENDING, /* bound aside by a prepare, not listening yet */
    LISTENER_ROW_LIVE,
    LISTENER_ROW_LEAVING, /* no longer configured; its queues are being served (Unix: the
                             file is gone already) */
};
enum listener_seat_state {
    LISTENER_SEAT_NONE,
    LISTENER_SEAT_PENDING, /* made by a prepare that is not committed */
    LISTENER_SEAT_LIVE,
    LISTENER_SEAT_LEAVING, /* new connections pass it by (cBPF on the group); its queue is
                              being served */
};

/* Plain data: may be copied into another program image together with its descriptors. */
struct listener_row {
    uint32_t id; /* never reused in the life of the table, never 0; travels as
                    msg_listener.id */
    uint32_t state;
    uint32_t is_unix;
    uint32_t backlog, mode;
    uint32_t next_backlog, next_mode; /* of the prepare under way */
    uint32_t wanted;                  /* by the prepare under way */
    uint64_t dev, ino;                /* Unix: the file, to remove no other */
    char address[112];         /* as configured, NUL-terminated; `*:8000` is two rows,
                                  0.0.0.0:8000 and [::]:8000 */
    int32_t shared_fd;         /* Unix: the one socket; -1 for TCP */
    uint32_t group_n;          /* TCP: sockets in the kernel's reuseport group … */
    uint16_t group[SLOTS_MAX]; /* … and the slot of each, in the kernel's order */
    int32_t fd[SLOTS_MAX];     /* TCP: -1 or this slot's own socket */
    uint8_t seat[SLOTS_MAX];   /* enum listener_seat_state, TCP and Unix alike */
};
struct listeners {
    uint32_t version; /* 1 */
    uint32_t next_id;
    uint32_t preparing;  /* a prepare is neither committed nor abandoned … */
    uint32_t next_slots; /* … and is for so many slots */
    struct listener_row rows[LISTENER_ROWS_MAX];
};

void listeners_init(struct listeners *l);
/* Closes everything, removes the files of Unix sockets. */
void listeners_fini(struct listeners *l);

/* Phase one: binds (without listening) what `c` wants for slots 0 … slots-1 and is not
 * there yet: new addresses, and the new slots of old ones. Each new TCP address is first
 * probed without SO_REUSEPORT; one held by somebody else is an error that names the
 * address and, if it can be known, the holder's pid and command. A stale Unix socket file
 * is replaced; one somebody listens on is an error. On -1 nothing has changed. One
 * prepare at a time (a bug otherwise). `c` may have no listeners at all (the graceful
 * stop): every row then becomes LEAVING at commit. A row or seat that is LEAVING and is
 * wanted again is not bound a second time: it is still ours, commit makes it LIVE again
 * under the same id (and includes it again); a listeners_close() that comes for it
 * afterwards does nothing. (Only a Unix address that is LEAVING has lost its file
 * already: wanted again, it is a new row.) */
int listeners_prepare(struct listeners *l, const struct conf *c, unsigned slots,
                      struct err *e) NODISCARD;
/* Phase two, exactly one of: commit (pending ones listen and become LIVE, changed
 * backlogs and modes are applied; addresses no longer wanted become LEAVING in all seats;
 * seats of slots >= the prepared count become LEAVING) … -1 and e when
 * the kernel refused a part of it: the rest is done, the refused seats are closed and
 * NONE. */
int listeners_commit(struct listeners *l, struct err *e) NODISCARD;
/* … or abandon: what prepare made is closed and removed; LIVE rows are untouched. */
void listeners_abandon(struct listeners *l);

/* The descriptor for this row and slot (Unix: the shared one), -1 when the seat is NONE.
 * Stays the table's. */
int listeners_fd(const struct listener_row *row, unsigned slot);
struct listener_row *listeners_find(struct listeners *l,
                                    uint32_t id); /* NULL: no such row (any more) */

/* Clients in the accept queue of this seat; 0 for Unix addresses, whose queue cannot be
 * asked. */
unsigned listeners_waiting(const struct listener_row *row, unsigned slot);

/* A drained seat: closes its socket (TCP; for good, even if a worker still holds a
 * duplicate), gives the seat back; the last seat of a LEAVING row frees the row. Does
 * nothing for a seat that is not LEAVING. */
void listeners_close(struct listeners *l, uint32_t id, unsigned slot);

#define LISTENERS_EACH(row, l)                                                           \
    for (struct listener_row *row = (l)->rows; row < (l)->rows + LISTENER_ROWS_MAX;      \
         row++)                                                                          \
        if (row->state != LISTENER_ROW_FREE)

#endif
