/* redis_store: the directory in which the managed Redis keeps its append-only file
 * (redis.persist). Owns the lock that makes it one heliod's. Never changes a directory
 * that somebody else has made: what is wrong with it is said. */
#ifndef SUPERVISOR_REDIS_STORE_H
#define SUPERVISOR_REDIS_STORE_H

#include "common/err.h"

#include <sys/types.h>

/* dir: absolute. Makes it (0700, of uid and gid) if it is not there, else looks whether
 * it is fit, and locks it. Returns the descriptor that holds the lock, -1: e says what is
 * wrong. */
int redis_store_open(const char *dir, uid_t uid, gid_t gid, struct err *e) NODISCARD;

#endif
