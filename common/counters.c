#include "common/counters.h"

#include "common/fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNTER_IS_GAUGE true
#define COUNTER_IS_TOTAL false

const struct counter_row counter_rows[] = {
#define COUNTER(name, kind, help)                                                        \
    {#name, help, COUNTER_IS_##kind, offsetof(struct counters, name)},
#include "common/counters.def"
};
const size_t counter_rows_n = ARRAY_LEN(counter_rows);

static struct counters *map_page(int fd, struct err *e)
{
    void *p =
        mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        return p;
    err_errno(e, "cannot map the counters");
    return NULL;
}

/* Sealed against shrinking: a worker that could cut the page would kill the supervisor
 * with SIGBUS. */
int counters_create(struct counters **out, struct err *e)
{
    int fd = memfd_create("heliod-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_errno(e, "cannot make a page of counters");
    if (ftruncate(fd, sizeof(struct counters)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        err_errno(e, "cannot size and seal the page of counters");
        fd_close(&fd);
        return -1;
    }
    *out = map_page(fd, e);
    if (!*out)
        fd_close(&fd);
    return fd;
}

struct counters *counters_map(int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        err_errno(e, "cannot look at the counters' descriptor %d", fd);
        return NULL;
    }
    if (st.st_size != (off_t)sizeof(struct counters)) {
        err_set(e, "the page of counters has %lld bytes instead of %zu",
                (long long)st.st_size, sizeof(struct counters));
        return NULL;
    }
    return map_page(fd, e);
}

void counters_unmap(struct counters *c)
{
    if (c)
        munmap(c, sizeof(*c));
}

static uint64_t *place(const struct counters *c, const struct counter_row *row)
{
    return (uint64_t *)((char *)(uintptr_t)c + row->offset);
}

void counters_zero_gauges(struct counters *c)
{
    for (size_t i = 0; i < counter_rows_n; i++)
        if (counter_rows[i].is_gauge)
            __atomic_store_n(place(c, &counter_rows[i]), 0, __ATOMIC_RELAXED);
}

uint64_t counters_read(const struct counters *c, const struct counter_row *row)
{
    return __atomic_load_n(place(c, row), __ATOMIC_RELAXED);
}
