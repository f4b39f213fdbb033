#include "supervisor/resident.h"

#include <fcntl.h>
#include <unistd.h>

/* The kilobytes behind each line of this name, added up. */
static uint64_t kilobytes(struct str text, const char *name)
{
    uint64_t sum = 0;
    while (text.n > 0) {
        struct str line = str_split(text, '\n', &text), rest;
        struct str key = str_split(line, ':', &rest);
        uint64_t n = 0;
        if (!str_is(key, name))
            continue;
        while (rest.n && (*rest.p < '0' || *rest.p > '9'))
            rest = (struct str){rest.p + 1, rest.n - 1};
        if (str_to_u64(str_split(rest, ' ', &rest), UINT64_MAX / 1024, &n))
            sum += n;
    }
    return sum;
}

static size_t read_rollup(pid_t pid, char *out, size_t cap)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, out, cap);
    close(fd);
    return n > 0 ? (size_t)n : 0;
}

void resident_add(pid_t pid, struct str row, struct buf *out)
{
    char text[4096];
    struct str rollup = {text, read_rollup(pid, text, sizeof(text))};
    if (row.n < 2 || row.p[row.n - 1] != '}') {
        buf_str(out, row);
        return;
    }
    buf_put(out, row.p, row.n - 1);
    buf_printf(out, ",\"pid\":%d", pid);
    if (rollup.n)
        buf_printf(
            out, ",\"rss\":%" PRIu64 ",\"private\":%" PRIu64,
            kilobytes(rollup, "Rss") * 1024,
            (kilobytes(rollup, "Private_Clean") + kilobytes(rollup, "Private_Dirty")) *
                1024);
    buf_char(out, '}');
}
