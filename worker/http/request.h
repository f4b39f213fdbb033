/* request: a strict, bounded reader of one HTTP/1.x request head (RFC 9112): request
 * line, Host, fields. Owns nothing: everything is a view into the head. Pure; knows no
 * connection. */
#ifndef WORKER_HTTP_REQUEST_H
#define WORKER_HTTP_REQUEST_H

#include "common/str.h"

#define REQUEST_FIELDS_MAX 1000

struct request_field {
    struct str name, value; /* value without surrounding blanks */
};
struct request {
    struct str method, target; /* as sent */
    struct str path,
        query;      /* origin-form; query without '?'; p NULL when there is none */
    unsigned minor; /* HTTP/1.<minor> */
    struct request_field *fields; /* the caller's array */
    size_t fields_n, fields_cap;
    size_t size; /* bytes of the head, blank line included */
    struct str host;
    uint64_t content_length;
    bool has_content_length, is_chunked;
    bool keep_alive; /* by version and Connection */
};
enum request_verdict {
    REQUEST_OK,
    REQUEST_MORE,      /* incomplete; nothing wrong so far */
    REQUEST_BAD,       /* 400 */
    REQUEST_TOO_LARGE, /* 431: over max_bytes or more fields than fields_cap */
    REQUEST_URI_LONG,  /* 414: the request line alone is over max_bytes */
    REQUEST_VERSION,   /* 505: not HTTP/1.x */
    REQUEST_TLS,       /* 400: a TLS handshake */
};
/* Reads from the start of text each time (the caller keeps the bytes). *why: a sentence
 * naming what is wrong. Refused, among others: bare CR or LF, obs-fold, blank before ':',
 * control characters, no or several Host in 1.1, bad Host characters, Content-Length with
 * Transfer-Encoding, several differing Content-Length, a method that is no token, a
 * target that is neither origin-form nor absolute-form nor '*'. */
enum request_verdict request_parse(struct str text, size_t max_bytes, struct request *out,
                                   const char **why);

/* The first field of that name (compared without case); p NULL when absent. */
struct str request_field(const struct request *r, const char *name);
size_t request_count(const struct request *r, const char *name);
/* Is the token in the comma-separated list, over all fields of that name (without case)?
 */
bool request_has_token(const struct request *r, const char *name, const char *token);
/* The elements of such a list one by one, empty ones left out; at zeroed at first. */
struct request_list {
    struct str rest;
    size_t field;
};
bool request_next(const struct request *r, const char *name, struct request_list *at,
                  struct str *out);
bool request_is_token(struct str s); /* RFC 9110 §5.6.2, at least one character */
/* host[:port] as in Host (RFC 3986 §3.2; an IPv6 address in its brackets). port 0: none.
 * False: not such a thing. */
bool request_authority(struct str s, struct str *host, unsigned *port);
/* Percent-decodes into out (cap bytes); false: bad escape, NUL, or no room. */
bool request_decode(struct str s, char *out, size_t cap, size_t *n);
/* The decoded value of a query key; false when absent or malformed. */
bool request_query(struct str query, const char *key, char *out, size_t cap, size_t *n);

#endif
