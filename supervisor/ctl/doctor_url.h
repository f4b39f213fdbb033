/* doctor_url: judges a WebSocket URL as people paste it: what is wrong with it, and how
 * it would be right. Owns its parts. Never asks the network. */
#ifndef CTL_DOCTOR_URL_H
#define CTL_DOCTOR_URL_H

#include "common/buf.h"
#include "common/err.h"

struct doctor_url {
    bool tls;
    bool has_port; /* else the scheme's own */
    uint16_t port;
    struct buf host;   /* without brackets */
    struct buf target; /* path and query */
    struct buf shown;  /* the URL without what its query says: that may be a secret */
};

/* 0, or -1: e says what is wrong, *fixed is the URL as it could be ("" when nobody can
 * tell), its query cut like `shown`. */
int doctor_url_judge(struct str text, struct doctor_url *u, struct buf *fixed,
                     struct err *e) NODISCARD;
void doctor_url_fini(struct doctor_url *u);

#endif
