/* mem: allocation that does not fail: out of memory is a bug line and an abort, never a
 * half-done deed. Owns nothing. Free with free(). */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include "common/base.h"

void *mem_new(size_t n) __attribute__((malloc, returns_nonnull));     /* zeroed */
void *mem_resize(void *p, size_t n) __attribute__((returns_nonnull)); /* n > 0 */
char *mem_strdup(const char *s); /* NULL stays NULL */
#define NEW(type) ((type *)mem_new(sizeof(type)))
/* Overwrites before freeing (secrets). */
void mem_wipe_free(void *p, size_t n);

#endif
