/* doctor_token: what a JWT says about itself, read without its key: times and algorithm.
 * Owns nothing. Never shows a token, nor a claim that is not a time. */
#ifndef CTL_DOCTOR_TOKEN_H
#define CTL_DOCTOR_TOKEN_H

#include "common/buf.h"

enum token_state { TOKEN_OPAQUE, TOKEN_GOOD, TOKEN_EXPIRED, TOKEN_EARLY, TOKEN_UNSIGNED };

/* now_s: the clock that counts. Appends what was found, in words for the check list. */
enum token_state doctor_token_judge(struct str token, int64_t now_s, struct buf *said);

#endif
