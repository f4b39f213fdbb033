/* doctor_token: what a JWT says about itself, read without its key: times and algorithm.
 * Owns nothing. Never shows a token, nor a claim that is not a time. */
#ifndef CTL_DOCTOR_TOKEN_H
#define CTL_DOCTOR_TOKEN_H

#include "common/buf.h"

enum token_state { TOKEN_OPAQUE, TOKEN_GOOD, TOKEN_EXPIRED, TOKEN_EARLY, TOKEN_UNSIGNED };

struct doctor_token {
    bool is_jwt;
    bool is_unsigned;
    char alg[17];    /* escaped; "unknown": none, or a strange one */
    int64_t from_s;  /* the later of nbf and iat; INT64_MIN: none */
    int64_t until_s; /* exp; INT64_MAX: none */
};

struct doctor_token doctor_token_read(struct str token);
/* By a clock. */
enum token_state doctor_token_judge(const struct doctor_token *t, int64_t now_s);
/* "a JWT, algorithm HS256, expired 60 s ago" */
void doctor_token_say(const struct doctor_token *t, int64_t now_s, struct buf *said);

#endif
