/* helioctl: the landlord's counter: asks a running broker and tells it what to do. */
#include "supervisor/ctl/ctl.h"

int main(int argc, char **argv)
{
    return ctl_run(argc, argv, stdout, stderr);
}
