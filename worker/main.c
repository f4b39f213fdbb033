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

int main(int argc, char **argv)
{
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
