/* conf_check: the rules that need more than one key, or more than a length; what its
 * rooms share: the general ones, authentication, endpoints. Owns nothing. First fault
 * wins. */
#ifndef COMMON_CONF_CHECK_H
#define COMMON_CONF_CHECK_H

#include "common/conf.h"

struct check {
    struct conf *c;
    int *line;
    struct err *e;
};
/* A path such as "endpoints[3].auth.key". */
struct check_at {
    char s[192];
};
struct check_at PRINTF(1, 2) check_at(const char *fmt, ...);
/* `path: what`, and the line to blame; -1. */
int PRINTF(3, 4) check_blame(struct check *k, const char *path, const char *fmt, ...);
/* " in line 7", if it stands in a file. */
struct check_at check_first_in(const struct check *k, const char *path);

/* Of endpoint n. */
int check_auth(struct check *k, size_t n, const struct conf_endpoint *p);
int check_signaling(struct check *k, size_t n, const struct conf_endpoint *p);

int check_origins(struct check *k, const char *path, const struct conf_strs *l);
int check_endpoints(struct check *k);

#endif
