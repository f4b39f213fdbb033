/* base: the words every room uses. Owns nothing, never includes a room. */
#ifndef COMMON_BASE_H
#define COMMON_BASE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define HELIOD_VERSION "0.1.0"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define NODISCARD __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A broken invariant: prints where, aborts with a core; the supervisor replaces the
 * process. */
NORETURN void bug_at(const char *file, int line, const char *what);
#define BUG_ON(cond)                                                                     \
    do {                                                                                 \
        if (UNLIKELY(cond))                                                              \
            bug_at(__FILE__, __LINE__, #cond);                                           \
    } while (0)

#endif
