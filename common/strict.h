/* strict: JSON objects from outside in which nothing may be unknown, or stand twice. Owns
 * nothing. Never passes over a member silently: whoever wrote it believes that it does
 * something. */
#ifndef COMMON_STRICT_H
#define COMMON_STRICT_H

#include "common/err.h"
#include "common/scan.h"

/* A whole text that must be one object: judges it, fills the wanted members, and refuses
 * others, and repeated ones, by name. *object: its bytes. -1: e says what is wrong. */
int strict_read(struct str text, struct scan_member *wanted, size_t n, struct str *object,
                struct err *e) NODISCARD;
/* The members of an object that was judged good; where: put before their names in e. */
int strict_members(struct str object, const char *where, const char *const *known,
                   size_t n, struct err *e) NODISCARD;

#endif
