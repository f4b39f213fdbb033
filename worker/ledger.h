/* ledger: where this worker's memory goes. Owns nothing. Looks at every connection and
 * room: milliseconds for ten thousand of them. */
#ifndef WORKER_LEDGER_H
#define WORKER_LEDGER_H

#include "worker/worker.h"

/* One JSON object of bytes. `unexplained` is what of malloc's is none of the others. */
void ledger_write(const struct worker *w, struct buf *json);

#endif
