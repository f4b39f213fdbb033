/* heliod: runs the broker's own program for what only it knows: the configuration.
 * Owns nothing. Never reads YAML itself, never uses a shell. */
#ifndef CTL_HELIOD_H
#define CTL_HELIOD_H

#include "common/buf.h"
#include "common/err.h"

/* The control socket of the broker that runs with this configuration (heliod
 * --print-socket -c FILE). */
int heliod_socket_of(const char *config, struct buf *path, struct err *e) NODISCARD;
/* Runs heliod -t -c FILE; what it printed on stdout and stderr. *status: its exit status.
 */
int heliod_check(const char *config, struct buf *out, struct buf *err, int *status,
                 struct err *e) NODISCARD;

#endif
