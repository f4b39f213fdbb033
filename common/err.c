#include "common/err.h"

#include <stdarg.h>

/* Through a copy, because a caller may print the old text into the new one. */
static void set_text(struct err *e, const char *fmt, va_list ap)
{
    char text[sizeof(e->text)];
    vsnprintf(text, sizeof(text), fmt, ap);
    memcpy(e->text, text, strlen(text) + 1);
}

static void append(struct err *e, const char *text)
{
    size_t n = strlen(e->text);
    snprintf(e->text + n, sizeof(e->text) - n, ": %s", text);
}

int err_set(struct err *e, const char *fmt, ...)
{
    if (!e)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    set_text(e, fmt, ap);
    va_end(ap);
    return -1;
}

int err_errno(struct err *e, const char *fmt, ...)
{
    if (!e)
        return -1;
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    set_text(e, fmt, ap);
    va_end(ap);
    append(e, strerror(saved));
    errno = saved;
    return -1;
}

int err_add(struct err *e, const char *fmt, ...)
{
    if (!e)
        return -1;
    char old[sizeof(e->text)];
    memcpy(old, e->text, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    set_text(e, fmt, ap);
    va_end(ap);
    append(e, old);
    return -1;
}
