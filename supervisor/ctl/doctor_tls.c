#include "supervisor/ctl/doctor_tls.h"

#include "common/mem.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define NAMES_MAX 6
#define WHY_MAX 160

struct doctor_tls {
    SSL *ssl;
    short wants;
    enum tls_fault fault;
    char why[WHY_MAX];
    struct doctor_cert cert;
};

/* ---- whom to trust ---- */

static SSL_CTX *ctx_of(struct doctor_trust *t)
{
    return (SSL_CTX *)(void *)t;
}

/* The file is judged first: of one that is not there, OpenSSL has no words. */
static int trust_file(SSL_CTX *ctx, const char *path, struct err *e)
{
    if (access(path, R_OK) < 0)
        return err_errno(e, "--ca %s cannot be read", path);
    if (!SSL_CTX_load_verify_file(ctx, path))
        return err_set(e, "--ca %s holds no certificate in PEM", path);
    return 0;
}

struct doctor_trust *doctor_trust_new(const char *ca_file, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx) {
        err_set(e, "OpenSSL cannot be used: is openssl.cnf in order?");
    } else if (ca_file && trust_file(ctx, ca_file, e) < 0) {
        SSL_CTX_free(ctx);
        ctx = NULL;
    } else {
        SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION); /* that of browsers */
        SSL_CTX_set_default_verify_paths(ctx);
        SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    ERR_clear_error();
    return (struct doctor_trust *)(void *)ctx;
}

void doctor_trust_free(struct doctor_trust *t)
{
    SSL_CTX_free(ctx_of(t));
}

/* ---- the certificate ---- */

static int64_t seconds_of(const ASN1_TIME *at)
{
    struct tm tm;

    return at && ASN1_TIME_to_tm(at, &tm) == 1 ? timegm(&tm) : 0;
}

static void note_dates(struct doctor_cert *c, const X509 *x)
{
    c->from_s = seconds_of(X509_get0_notBefore(x));
    c->until_s = seconds_of(X509_get0_notAfter(x));
}

static void note_name(struct buf *out, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;

    buf_clear(out);
    if (bio &&
        X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) > 0) {
        long n = BIO_get_mem_data(bio, &text);
        buf_put(out, text, (size_t)MAX(n, 0L));
    }
    BIO_free(bio);
}

static void put_name(struct buf *out, const GENERAL_NAME *name)
{
    char ip[INET6_ADDRSTRLEN];
    const ASN1_STRING *s = name->d.ia5; /* an iPAddress is a string of octets, too */
    const unsigned char *p = ASN1_STRING_get0_data(s);
    int n = ASN1_STRING_length(s);

    buf_str(out, out->n ? STR(", ") : STR_NONE);
    if (name->type == GEN_DNS)
        buf_put(out, p, (size_t)n);
    else if (inet_ntop(n == 4 ? AF_INET : AF_INET6, p, ip, sizeof(ip)))
        buf_str(out, str_of(ip));
}

/* What browsers compare with the host (RFC 9525 §6): never the common name. */
static void note_names(struct buf *out, const X509 *x)
{
    GENERAL_NAMES *list = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int told = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(list, i);
        int n = name->type == GEN_IPADD ? ASN1_STRING_length(name->d.iPAddress) : 0;
        if (name->type != GEN_DNS && n != 4 && n != 16)
            continue;
        if (told++ == NAMES_MAX) {
            buf_str(out, STR(", …"));
            break;
        }
        put_name(out, name);
    }
    GENERAL_NAMES_free(list);
}

static enum cert_fault fault_of(int error, X509_STORE_CTX *store)
{
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return CERT_NAME;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return CERT_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return CERT_EARLY;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return CERT_SELF_SIGNED;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return sk_X509_num(X509_STORE_CTX_get0_untrusted(store)) <= 1 ? CERT_INCOMPLETE
                                                                      : CERT_UNKNOWN_CA;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return CERT_UNKNOWN_CA;
    default:
        return CERT_OTHER;
    }
}

static void note_fault(struct doctor_cert *c, enum cert_fault fault, int error,
                       X509_STORE_CTX *store)
{
    const X509 *x = X509_STORE_CTX_get_current_cert(store);

    if ((fault & (CERT_EXPIRED | CERT_EARLY)) && x) {
        note_dates(c, x);
        c->is_ca_date = X509_STORE_CTX_get_error_depth(store) > 0;
    } else if ((fault & (CERT_UNKNOWN_CA | CERT_INCOMPLETE)) && x) {
        note_name(&c->issuer, X509_get_issuer_name(x));
    } else if (fault == CERT_OTHER) {
        buf_str(&c->other, str_of(X509_verify_cert_error_string(error)));
    }
    c->faults |= fault;
}

/* OpenSSL's verdict, fault by fault; always "go on". */
static int on_verify(int ok, X509_STORE_CTX *store)
{
    const SSL *ssl =
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct doctor_tls *t = SSL_get_app_data(ssl);
    int error = X509_STORE_CTX_get_error(store);
    enum cert_fault fault = ok ? 0 : fault_of(error, store);

    if (!ok && !(t->cert.faults & fault))
        note_fault(&t->cert, fault, error, store);
    return 1;
}

/* What the faults left unsaid. */
static void note_rest(struct doctor_tls *t)
{
    struct doctor_cert *c = &t->cert;
    X509 *x = SSL_get1_peer_certificate(t->ssl);

    snprintf(c->version, sizeof(c->version), "%s", SSL_get_version(t->ssl));
    if (x && !(c->faults & (CERT_EXPIRED | CERT_EARLY)))
        note_dates(c, x);
    if (x && !c->issuer.n)
        note_name(&c->issuer, X509_get_issuer_name(x));
    if (x)
        note_names(&c->names, x);
    X509_free(x);
}

/* ---- the session ---- */

/* 1: go on, without one. */
static int on_client_cert(SSL *ssl, void *ctx UNUSED)
{
    struct doctor_tls *t = SSL_get_app_data(ssl);

    t->cert.is_client_asked = true;
    return 1;
}

static void expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (X509_VERIFY_PARAM_set1_ip_asc(param, host))
        return; /* no SNI: RFC 6066 §3 knows names only */
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    X509_VERIFY_PARAM_set1_host(param, host, 0);
    SSL_set_tlsext_host_name(ssl, host);
}

struct doctor_tls *doctor_tls_new(struct doctor_trust *trust, int fd, const char *host)
{
    static const unsigned char alpn[] = "\x08http/1.1"; /* as browsers do for ws */
    struct doctor_tls *t = NEW(struct doctor_tls);

    t->ssl = SSL_new(ctx_of(trust));
    BUG_ON(!t->ssl || !SSL_set_fd(t->ssl, fd));
    SSL_set_app_data(t->ssl, t);
    SSL_set_verify(t->ssl, SSL_VERIFY_PEER, on_verify);
    SSL_set_cert_cb(t->ssl, on_client_cert, NULL);
    SSL_set_alpn_protos(t->ssl, alpn, sizeof(alpn) - 1);
    expect_host(t->ssl, host);
    ERR_clear_error();
    return t;
}

void doctor_tls_free(struct doctor_tls *t)
{
    if (!t)
        return;
    if (!t->fault && SSL_is_init_finished(t->ssl))
        SSL_shutdown(t->ssl);
    ERR_clear_error();
    SSL_free(t->ssl);
    buf_free(&t->cert.names);
    buf_free(&t->cert.issuer);
    buf_free(&t->cert.other);
    free(t);
}

static enum tls_fault fault_of_reason(int reason)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return TLS_FAULT_NO_TLS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return TLS_FAULT_VERSION;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return TLS_FAULT_ENDED;
    default:
        return reason >= SSL_AD_REASON_OFFSET ? TLS_FAULT_ALERT : TLS_FAULT_OTHER;
    }
}

/* An alert by its own name: OpenSSL's begins with "sslv3" for historical reasons. */
static const char *words_of(unsigned long code)
{
    int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;
    const char *name = alert > 0 ? SSL_alert_desc_string_long(alert) : "unknown";

    return strcmp(name, "unknown") == 0 ? ERR_reason_error_string(code) : name;
}

static void note_failure(struct doctor_tls *t, int error)
{
    unsigned long code = ERR_peek_last_error();
    const char *why = code ? words_of(code) : NULL;

    t->fault = error == SSL_ERROR_SSL && code ? fault_of_reason(ERR_GET_REASON(code))
                                              : TLS_FAULT_ENDED;
    snprintf(t->why, sizeof(t->why), "%s", why ? why : "");
}

/* What a call of OpenSSL came to: its result, 0 for "later", -1 for "over". */
static int settle(struct doctor_tls *t, int rc)
{
    int error = SSL_get_error(t->ssl, rc);
    bool is_later = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;

    t->wants = error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    if (rc <= 0 && !is_later)
        note_failure(t, error);
    ERR_clear_error(); /* else the next call finds it again */
    return rc > 0 ? rc : is_later ? 0 : -1;
}

int doctor_tls_shake(struct doctor_tls *t)
{
    int rc = t->fault ? -1 : settle(t, SSL_connect(t->ssl));

    if (rc > 0)
        note_rest(t);
    return rc;
}

ssize_t doctor_tls_read(struct doctor_tls *t, void *p, size_t n)
{
    return t->fault ? -1 : settle(t, SSL_read(t->ssl, p, (int)MIN(n, (size_t)INT_MAX)));
}

ssize_t doctor_tls_write(struct doctor_tls *t, const void *p, size_t n)
{
    return t->fault ? -1 : settle(t, SSL_write(t->ssl, p, (int)MIN(n, (size_t)INT_MAX)));
}

short doctor_tls_wants(const struct doctor_tls *t)
{
    return t->wants;
}

enum tls_fault doctor_tls_fault(const struct doctor_tls *t, const char **why)
{
    *why = t->why;
    return t->fault;
}

struct doctor_cert *doctor_tls_cert(struct doctor_tls *t)
{
    return &t->cert;
}
