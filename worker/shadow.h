/* shadow: a configuration that came and was understood, but is not in force yet.
 * Owns it and the settings made of it until they are taken over. */
#ifndef WORKER_SHADOW_H
#define WORKER_SHADOW_H

#include "worker/protocols/endpoint.h"

struct shadow {
    uint32_t gen;
    struct conf *conf;      /* NULL: there is none */
    struct settings **sets; /* one per endpoint of conf */
};

/* fd: the memfd of conf_encode; stays the caller's. Parses every endpoint's keys and
 * tokens. -1: e says what is wrong, and there is no shadow. */
int shadow_read(struct shadow *s, uint32_t gen, int fd, struct err *e) NODISCARD;
void shadow_drop(struct shadow *s);
/* Whoever took over conf and sets calls this instead. */
void shadow_taken(struct shadow *s);

#endif
