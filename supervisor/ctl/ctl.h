/* ctl: one run of helioctl: what was asked for, where answers go, the broker if it is
 * asked. Owns the connection. Never prints a value from outside without escaping it. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "supervisor/ctl/client.h"
#include "supervisor/ctl/options.h"

#define CTL_PROGRAM "helioctl"

struct ctl {
    struct options opt;
    FILE *out, *err;
    struct client client;
};

/* All of it; returns the exit status (enum msg_status). */
int ctl_run(int argc, char **argv, FILE *out, FILE *err);

/* Connects at the first call. */
enum msg_status ctl_ask(struct ctl *ctl, enum msg_type type, void *fixed, struct str tail,
                        client_row_fn row, void *ctx, uint64_t *count,
                        struct err *e) NODISCARD;

/* A failure: one line on stderr, or with --json an object on stdout. Returns the status.
 */
int ctl_fail(struct ctl *ctl, enum msg_status status, const char *fmt, ...) PRINTF(3, 4);
/* JSON that stays on one line and cannot steer a terminal: what is no ordinary text is
 * written as \uXXXX. */
void ctl_put_json(FILE *out, struct str json);

#endif
