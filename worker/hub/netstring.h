/* netstring: texts one behind the other, each with its length in front (5:hello,), as
 * scripts answer with what may hold any byte. Owns nothing; views. Pure. */
#ifndef WORKER_HUB_NETSTRING_H
#define WORKER_HUB_NETSTRING_H

#include "common/str.h"

/* The first one; *from: what stands behind it. false: there is none (*from stays). */
bool netstring_take(struct str *from, struct str *out);

#endif
