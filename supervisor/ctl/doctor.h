/* doctor: one examination of a WebSocket URL from the user's side of the wire: what was
 * learnt so far, and what each check found. Owns both. Never changes anything at the
 * server, never shows the token or the URL's query. */
#ifndef CTL_DOCTOR_H
#define CTL_DOCTOR_H

#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/doctor_url.h"
#include "supervisor/ctl/doctor_frame.h"

/* Exit statuses are these and DOCTOR_EXIT: helioctl(8) promises the numbers. */
enum doctor_cause {
    DOCTOR_UNDECIDED,
    DOCTOR_NOT_RUNNING,
    DOCTOR_URL,
    DOCTOR_ORIGIN,
    DOCTOR_PATH,
    DOCTOR_PORT,
    DOCTOR_REACH,
    DOCTOR_TLS,
    DOCTOR_AUTH,
    DOCTOR_LIVENESS,
    DOCTOR_BUS,
    DOCTOR_CAUSES
};
#define DOCTOR_EXIT 10
#define DOCTOR_CLOCK_OFF_S 5 /* from where a difference is worth a word */

enum proof { PROOF_NONE, PROOF_GOOD, PROOF_BAD };

struct finding {
    enum proof proof;
    enum doctor_cause cause; /* of PROOF_BAD */
    bool goes_on;            /* bad, yet what lies behind can be examined */
    struct buf said, fix;
};

struct doctor {
    struct ctl *ctl;
    const char *text; /* the URL as given */
    int64_t step_ms;  /* the longest a single step waits */
    struct doctor_url url;
    struct doctor_trust *trust;
    struct doctor_wire wire; /* what the handshake was made on */
    bool is_local;           /* the server's address is this machine's */
    bool is_running;         /* its control socket answered */
    bool is_secure;          /* it speaks TLS, and so do we */
    bool is_doubtful;        /* its certificate is not good: no secret goes there */
    bool is_client_asked;    /* for a certificate */
    char alert[160];         /* of TLS, instead of an answer */
    bool is_ours;            /* it is a heliod */
    bool is_open;            /* a WebSocket, and it answers */
    int64_t opened_ms;       /* since when */
    char greeting[32];       /* `type` of the first message that came unasked, or "" */
    bool has_date;
    int64_t ahead_s; /* the server's clock before ours */
};

/* Checks in the order of cause and effect: the first bad one is the verdict. */
struct check {
    const char *name;
    void (*prove)(struct doctor *d, struct finding *f);
};
extern const struct check doctor_checks[];
extern const size_t doctor_checks_n;

void finding_good(struct finding *f, const char *fmt, ...) PRINTF(2, 3);
void finding_none(struct finding *f, const char *fmt, ...) PRINTF(2, 3);
void finding_bad(struct finding *f, enum doctor_cause cause, const char *fmt, ...)
    PRINTF(3, 4);
void finding_fix(struct finding *f, const char *fmt, ...) PRINTF(2, 3);
void finding_fini(struct finding *f);

/* doctor_reach.c: up to the server */
void doctor_prove_url(struct doctor *d, struct finding *f);
void doctor_prove_running(struct doctor *d, struct finding *f);
void doctor_prove_reach(struct doctor *d, struct finding *f);
/* doctor_secure.c: TLS */
void doctor_prove_tls(struct doctor *d, struct finding *f);
/* doctor_server.c: what kind of server it is */
void doctor_prove_server(struct doctor *d, struct finding *f);
void doctor_prove_bus(struct doctor *d, struct finding *f);
/* doctor_socket.c: the WebSocket */
void doctor_prove_handshake(struct doctor *d, struct finding *f);
/* doctor_refusal.c: why there is none */
void doctor_explain_status(struct doctor *d, const struct doctor_head *h,
                           struct finding *f);
void doctor_explain_close(struct doctor *d, unsigned code, const char *reason,
                          struct finding *f);
/* doctor_config.c: a key of the URL's endpoint, if the broker was asked for and tells it:
 * "].allowed_origins" is at "endpoints[2].allowed_origins (line 33)". */
bool doctor_config_get(struct doctor *d, const char *key, struct buf *where,
                       struct buf *value);
/* How often workers of the broker were started anew; -1: it was not asked for. */
int64_t doctor_restarts(struct doctor *d);
/* doctor_auth.c: the token */
void doctor_prove_token(struct doctor *d, struct finding *f);
/* It was refused; how: "refused with 401: …". Says what is wrong with it, as far as it
 * can be seen, and whose clock is. */
void doctor_blame_token(struct doctor *d, const char *how, struct finding *f);
/* doctor_hold.c: whether it lives on */
void doctor_prove_hold(struct doctor *d, struct finding *f);

/* A fresh connection, over TLS once is_secure; false: f says so. */
bool doctor_connect(struct doctor *d, struct doctor_wire *w, struct finding *f);
/* How an answer began. */
enum speech { SPEECH_NONE, SPEECH_HTTP, SPEECH_TLS };
/* Two requests at most; learns the clock, and whether it is ours. first: the beginning of
 * what came. */
enum speech doctor_ask(struct doctor *d, struct buf *first);
/* Neither HTTP nor TLS. */
void doctor_explain_other(struct doctor *d, const struct buf *first, struct finding *f);

/* A connection and the opening handshake at the URL's target; GOT_IT: any answer. */
enum got doctor_shake(struct doctor *d, struct doctor_wire *w, const char *origin,
                      struct doctor_head *h, struct finding *f);
/* The status of another handshake; 0: none. */
unsigned doctor_status_of(struct doctor *d, struct str target, const char *origin);
/* A proxy's word for "my back end is not there". */
bool doctor_is_gateway_error(unsigned status);
/* The token, as the events protocol wants it. */
void doctor_put_authenticate(struct doctor *d, struct doctor_wire *w);
/* The opening handshake for a target, with Origin and token as given. */
void doctor_put_handshake(struct doctor *d, struct buf *out, struct str target,
                          const char *origin);
void doctor_put_host(const struct doctor *d, struct buf *out);
/* The URL with ws for wss or the reverse, without what its query says. */
void doctor_put_swapped(const struct doctor *d, struct buf *out);
/* " (it is held by pid 812 (nginx))", "" when that cannot be seen. */
const char *doctor_holder(const struct doctor *d);

#endif
