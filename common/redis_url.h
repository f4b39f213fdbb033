/* redis_url: reads redis.url. Owns its copies. Never connects. */
#ifndef COMMON_REDIS_URL_H
#define COMMON_REDIS_URL_H

#include "common/err.h"
#include "common/str.h"

#define REDIS_MANAGED_SOCKET                                                             \
    "redis/redis.sock" /* below run_dir: where the managed server listens */

enum redis_kind { REDIS_MANAGED, REDIS_TCP, REDIS_UNIX };
struct redis_url {
    enum redis_kind kind;
    char host[256]; /* REDIS_TCP; IPv6 without brackets */
    uint16_t port;
    char path[108];                /* REDIS_UNIX */
    char user[128], password[512]; /* percent-decoded; empty: none */
    unsigned db;
};
/* "managed", redis://[user[:password]@]host[:port][/db], redis://:password@host…,
 * unix:///path[?db=N]. -1: `Invalid redis connection! <what is wrong>`. Never repeats a
 * password. */
int redis_url_parse(struct str text, struct redis_url *out, struct err *e) NODISCARD;

#endif
