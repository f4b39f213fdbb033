/* doctor_wire: one connection to any server, blocking with a deadline: bytes in clear or
 * over TLS, HTTP heads. Owns the socket, the TLS session
 * and what was read. Never reads more
 * than DOCTOR_WIRE_MAX bytes, never writes to a terminal. */
#ifndef CTL_DOCTOR_WIRE_H
#define CTL_DOCTOR_WIRE_H

#include "common/buf.h"
#include "common/err.h"
#include "supervisor/ctl/doctor_tls.h"

#include <sys/socket.h>

#define DOCTOR_WIRE_MAX (1u << 20) /* unread bytes kept */

enum reach {
    REACH_OK,
    REACH_NO_NAME,
    REACH_REFUSED,
    REACH_TIMEOUT,
    REACH_NO_ROUTE,
    REACH_FAILED,
};
struct doctor_wire {
    int fd;                       /* -1: not open */
    struct doctor_tls *tls;       /* NULL: in clear */
    struct buf in;                /* unread */
    struct sockaddr_storage peer; /* the last one tried */
    int64_t heard_ms;             /* when bytes came last */
    bool ended;                   /* the other side closed or reset */
};
/* An answer's head; views into the wire's `in`, until the next read. */
struct doctor_head {
    unsigned status;
    struct str fields, body;
};
enum got { GOT_IT, GOT_TIMEOUT, GOT_END, GOT_NONSENSE };

/* Tries all addresses of the host; of failures the most telling is kept. e says which. */
enum reach doctor_wire_open(struct doctor_wire *w, const char *host, uint16_t port,
                            int64_t timeout_ms, struct err *e) NODISCARD;
void doctor_wire_close(struct doctor_wire *w);
/* Whether the address is one of this machine's. */
bool doctor_wire_is_local(const struct sockaddr_storage *sa);

/* TLS from here on. GOT_END: no, and w->tls knows why. */
enum got doctor_wire_secure(struct doctor_wire *w, struct doctor_trust *trust,
                            const char *host, int64_t until);

/* A failed write shows as GOT_END at the next read. */
void doctor_wire_send(struct doctor_wire *w, struct str bytes);
/* At least n bytes in w->in. until: on the monotonic clock. */
enum got doctor_wire_need(struct doctor_wire *w, size_t n, int64_t until);
/* GOT_NONSENSE: no HTTP. body: what came of Content-Length, or until the end. */
enum got doctor_wire_head(struct doctor_wire *w, int64_t until, struct doctor_head *h);
/* The field's value, p NULL: absent. */
struct str doctor_head_field(const struct doctor_head *h, const char *name);
void doctor_wire_drop_head(struct doctor_wire *w, const struct doctor_head *h);

#endif
