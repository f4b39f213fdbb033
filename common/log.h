/* log: one line per event: `time level process[slot.gen] room: sentence key=value …`.
 * Owns the place lines go to and the level. Never blocks, never prints a payload or a
 * secret; what came from outside goes through log_esc first. Verbs: error (an operator
 * must act), warn (degraded), info (lifecycle), debug. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/err.h"
#include "common/str.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

extern enum log_level log_threshold; /* read by the macros; set through log_set_level */

/* `process` is copied ("heliod", "worker[0.1]"). sink gets each whole line without its
 * newline (NULL: stderr). */
typedef void (*log_sink_fn)(void *ctx, enum log_level level, struct str line);
void log_init(const char *process, log_sink_fn sink, void *ctx);
void log_set_level(enum log_level level);
const char *log_level_name(enum log_level level);
bool log_level_parse(struct str s, enum log_level *out);

/* room: the file's ROOM constant. Preserves errno. */
void log_line(enum log_level level, const char *room, const char *fmt, ...) PRINTF(3, 4);
void log_line_errno(enum log_level level, const char *room, const char *fmt, ...)
    PRINTF(3, 4);

#define LOG_AT(level, ...)                                                               \
    do {                                                                                 \
        if ((level) <= log_threshold)                                                    \
            log_line(level, ROOM, __VA_ARGS__);                                          \
    } while (0)
/* Each .c that logs: `#define ROOM "hub"` above its includes' end. */
#define log_error(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_error_errno(...) log_line_errno(LOG_LEVEL_ERROR, ROOM, __VA_ARGS__)
#define log_warn_errno(...) log_line_errno(LOG_LEVEL_WARN, ROOM, __VA_ARGS__)

/* Escaped, cut at 128 bytes, quoted if it holds a blank or is empty; valid until eight
 * further calls (a ring of statics). */
const char *log_esc(struct str s);

/* At most `burst` lines per `window_ms`; when a window ends with lines swallowed, the
 * next permitted call says how many in *swallowed. For lines that peers can cause. */
struct log_limit {
    int64_t window_start_ms;
    unsigned passed, swallowed;
};
bool log_permit(struct log_limit *l, unsigned burst, int64_t window_ms,
                unsigned *swallowed);

#endif
