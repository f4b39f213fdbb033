#include "common/base.h"

#include <unistd.h>

/* Straight to stderr: whatever broke may be what the log stands on. */
void bug_at(const char *file, int line, const char *what)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "bug: pid %d: %s:%d: %s\n", (int)getpid(), file,
                     line, what);
    if (n > 0)
        (void)!write(STDERR_FILENO, text, MIN((size_t)n, sizeof(text) - 1));
    abort();
}
