/* err: why an operation against the environment failed, in words for an operator.
 * Owns its text (fixed size, cut if longer). Never logs: whoever stops an error logs it,
 * once. */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include "common/base.h"

struct err {
    char text[1024];
};

/* Sets the text; always returns -1, so that `return err_set(e, …)` reads as a sentence. e
 * may be NULL. */
int err_set(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* The same with ": <errno's text>" appended. Preserves errno. */
int err_errno(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* Puts words before the text: "<words>: <text>". Returns -1. */
int err_add(struct err *e, const char *fmt, ...) PRINTF(2, 3);

#endif
