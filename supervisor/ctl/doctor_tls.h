/* doctor_tls: a client's TLS on a socket that does not block, and what there is to say of
 * the certificate. Owns sessions and the list of whom to trust. Never ends a handshake
 * for a certificate: it notes the faults, so that what lies behind can be examined too.
 */
#ifndef CTL_DOCTOR_TLS_H
#define CTL_DOCTOR_TLS_H

#include "common/buf.h"
#include "common/err.h"

struct doctor_trust;
struct doctor_tls;

/* Bits: a certificate may have several. */
enum cert_fault {
    CERT_NAME = 1,
    CERT_EXPIRED = 2,
    CERT_EARLY = 4,
    CERT_SELF_SIGNED = 8,
    CERT_UNKNOWN_CA = 16,
    CERT_INCOMPLETE = 32, /* nothing sent but itself: unknown, or the rest is missing */
    CERT_OTHER = 64,
};
struct doctor_cert {
    unsigned faults;
    int64_t from_s, until_s; /* of the first certificate with a faulty date, or its own */
    bool is_client_asked;    /* the server asked for one of ours */
    bool is_ca_date;         /* it is a CA's, not the server's */
    struct buf names;        /* whom it is for: "a.example, *.b.example" */
    struct buf issuer;       /* the one that was not found, or its own */
    struct buf other;        /* CERT_OTHER in words */
    char version[16];        /* "TLSv1.3" */
};

enum tls_fault {
    TLS_FAULT_NONE,
    TLS_FAULT_NO_TLS,  /* what came is no record of TLS */
    TLS_FAULT_VERSION, /* no version in common */
    TLS_FAULT_ALERT,   /* the server refused, its word is told */
    TLS_FAULT_ENDED,   /* closed or reset */
    TLS_FAULT_OTHER,
};

/* The CAs of this machine and those of a file (NULL: none). NULL: e. */
struct doctor_trust *doctor_trust_new(const char *ca_file, struct err *e);
void doctor_trust_free(struct doctor_trust *t);

/* host: a name or an IP address, without brackets. The descriptor stays the caller's. */
struct doctor_tls *doctor_tls_new(struct doctor_trust *trust, int fd, const char *host);
void doctor_tls_free(struct doctor_tls *t); /* says good-bye if it can */

/* These three: > 0 done, 0 wait for doctor_tls_wants (of poll), < 0 over, see the fault.
 */
int doctor_tls_shake(struct doctor_tls *t);
ssize_t doctor_tls_read(struct doctor_tls *t, void *p, size_t n);
ssize_t doctor_tls_write(struct doctor_tls *t, const void *p, size_t n);
short doctor_tls_wants(const struct doctor_tls *t);

/* why: "" or OpenSSL's words, until the next call. */
enum tls_fault doctor_tls_fault(const struct doctor_tls *t, const char **why);
struct doctor_cert *doctor_tls_cert(struct doctor_tls *t);

#endif
