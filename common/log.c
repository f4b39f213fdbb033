#include "common/log.h"

#include "common/buf.h"
#include "common/clock.h"

#include <stdarg.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192
#define ESC_RING 8
#define ESC_MAX 128

enum log_level log_threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static char process_name[64] = "heliod";
static log_sink_fn sink_fn;
static void *sink_ctx;

void log_init(const char *process, log_sink_fn sink, void *ctx)
{
    snprintf(process_name, sizeof(process_name), "%s", process);
    sink_fn = sink;
    sink_ctx = ctx;
}

void log_set_level(enum log_level level)
{
    log_threshold = level;
}

const char *log_level_name(enum log_level level)
{
    return (size_t)level < ARRAY_LEN(level_names) ? level_names[level] : "?";
}

bool log_level_parse(struct str s, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (!str_is(s, level_names[i]))
            continue;
        *out = (enum log_level)i;
        return true;
    }
    return false;
}

static void write_stderr(struct str line)
{
    char out[LINE_MAX_BYTES + 8];
    memcpy(out, line.p, line.n);
    out[line.n] = '\n';
    (void)!write(STDERR_FILENO, out, line.n + 1);
}

/* A sink that logs (its own failure, say) must not call itself for ever. */
static void emit(enum log_level level, struct str line)
{
    static bool emitting;
    if (emitting)
        return;
    emitting = true;
    if (sink_fn)
        sink_fn(sink_ctx, level, line);
    else
        write_stderr(line);
    emitting = false;
}

static void compose(enum log_level level, const char *room, int error, const char *fmt,
                    va_list ap)
{
    char text[LINE_MAX_BYTES];
    struct buf line = {0};
    vsnprintf(text, sizeof(text), fmt, ap);
    clock_format(&line, clock_wall_ms());
    buf_printf(&line, " %s %s %s: ", log_level_name(level), process_name, room);
    size_t tail = error ? strlen(strerror(error)) + 2 : 0;
    buf_escape(&line, str_of(text), LINE_MAX_BYTES - line.n - tail - strlen("…"));
    if (error)
        buf_printf(&line, ": %s", strerror(error));
    emit(level, buf_view(&line));
    buf_free(&line);
}

void log_line(enum log_level level, const char *room, const char *fmt, ...)
{
    int saved = errno;
    if (level > log_threshold)
        return;
    va_list ap;
    va_start(ap, fmt);
    compose(level, room, 0, fmt, ap);
    va_end(ap);
    errno = saved;
}

void log_line_errno(enum log_level level, const char *room, const char *fmt, ...)
{
    int saved = errno;
    if (level > log_threshold)
        return;
    va_list ap;
    va_start(ap, fmt);
    compose(level, room, saved, fmt, ap);
    va_end(ap);
    errno = saved;
}

static void quote(struct buf *b, struct str s)
{
    buf_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_char(b, '\\');
        buf_char(b, s.p[i]);
    }
    buf_char(b, '"');
}

static bool needs_quotes(struct str s)
{
    return s.n == 0 || memchr(s.p, ' ', s.n) || memchr(s.p, '"', s.n);
}

const char *log_esc(struct str s)
{
    static struct buf ring[ESC_RING];
    static unsigned turn;
    struct buf *out = &ring[turn++ % ESC_RING];
    struct buf plain = {0};
    buf_clear(out);
    buf_escape(&plain, s, ESC_MAX);
    if (needs_quotes(buf_view(&plain)))
        quote(out, buf_view(&plain));
    else
        buf_str(out, buf_view(&plain));
    buf_free(&plain);
    return buf_cstr(out);
}

bool log_permit(struct log_limit *l, unsigned burst, int64_t window_ms,
                unsigned *swallowed)
{
    int64_t now = clock_now_ms();
    *swallowed = 0;
    if (l->window_start_ms == 0 || now - l->window_start_ms >= window_ms) {
        *swallowed = l->swallowed;
        *l = (struct log_limit){.window_start_ms = now};
    }
    if (l->passed >= burst) {
        l->swallowed += *swallowed + 1;
        *swallowed = 0;
        return false;
    }
    l->passed++;
    return true;
}
