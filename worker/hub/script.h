/* script: Lua that Redis runs in one piece (EVALSHA; EVAL when Redis does not know it
 * yet). Owns what it has to remember of a call until it is answered. Never runs one
 * twice: only a script that was not found is sent again, and then comes after whatever
 * was asked meanwhile. */
#ifndef WORKER_HUB_SCRIPT_H
#define WORKER_HUB_SCRIPT_H

#include "worker/hub/bus.h"

/* Static, one for each file of Lua. sha is filled in at the first call. */
struct script {
    const struct str *text;
    char sha[41];
};

/* KEYS are put behind the prefix. ARGV[1] is the prefix (for channels the script
 * publishes to), ARGV[2] … are args. fn: once, as in bus_ops.call; bus NULL counts as
 * down. */
void script_call(struct bus *b, struct script *s, const struct str *keys, size_t keys_n,
                 const struct str *args, size_t args_n, bus_reply_fn fn, void *ctx);

#endif
