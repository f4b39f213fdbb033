/* answer: HTTP responses: status line, fields, a body, mostly of JSON.
 * Owns nothing. Never sends a refusal without its reason. */
#ifndef WORKER_HTTP_ANSWER_H
#define WORKER_HTTP_ANSWER_H

#include "worker/http/upgrade.h"
#include "worker/net/conn.h"

/* with_body false for HEAD: Content-Length as it would be. Closes unless keep_alive,
 * and when the worker is leaving. */
void answer_json(struct conn *c, unsigned status, struct str body, bool with_body,
                 bool keep_alive);
/* The refusal's status and the body {"error","message","hint"}; counted. */
void answer_refusal(struct conn *c, const struct refusal *r, bool with_body,
                    bool keep_alive);
/* What else may be said of an answer. */
struct answer_how {
    bool with_body, keep_alive;
    const char *type;  /* Content-Type; NULL: JSON */
    struct str fields; /* more of them, each with its CR LF */
    struct str etag;   /* given: may be kept, and asked about with If-None-Match */
};
/* 204 and 304 have no body and say nothing of one. */
void answer_send(struct conn *c, unsigned status, struct str body,
                 const struct answer_how *how);
void answer_explain(struct conn *c, const struct refusal *r,
                    const struct answer_how *how);
/* Fills all but the message. */
void refusal_set(struct refusal *r, unsigned status, const char *error, const char *hint);

#endif
