/* heliod-worker: started by heliod with its descriptors in place; not for the command
 * line. */
#include "worker/worker.h"

#include "common/log.h"

#include <fcntl.h>

static int usage(void)
{
    fputs("heliod-worker is started by heliod (see heliod(8)); it cannot run alone.\n",
          stderr);
    return 2;
}

/* The worker's part of `heliod -t`: a configuration is looked at, not served. */
static int check(void)
{
    struct err e = {0};
    struct shadow s;
    if (shadow_read(&s, 0, WORKER_FD_CHAN, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    shadow_drop(&s);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && str_is(str_of(argv[1]), "check"))
        return check();
    uint64_t slot, number;
    enum log_level level;
    if (argc != 5 || !str_to_u64(str_of(argv[1]), UINT16_MAX, &slot) ||
        !str_to_u64(str_of(argv[2]), UINT32_MAX, &number) ||
        !log_level_parse(str_of(argv[3]), &level) || fcntl(WORKER_FD_CHAN, F_GETFD) < 0 ||
        fcntl(WORKER_FD_COUNTERS, F_GETFD) < 0 || fcntl(WORKER_FD_LOG, F_GETFD) < 0)
        return usage();
    log_set_level(level);
    return worker_run((unsigned)slot, (unsigned)number, argv[4]);
}
