/* from_ctl: the doorway for helioctl: the control socket, who may use it, what it may
 * ask. Owns the socket, its file and every helioctl connection. Never takes more clients,
 * or more questions of one, than it says. */
#ifndef SUPERVISOR_FROM_CTL_H
#define SUPERVISOR_FROM_CTL_H

#include "common/chan.h"
#include "supervisor/slot.h"

struct supervisor;
struct member;

#define CTL_CLIENTS_MAX 16

struct ctl {
    int fd; /* listening; -1 */
    char *path;
    struct event readable, retry;
    struct list clients;
    unsigned n;
    bool has_group;
    gid_t group;
};

void ctl_init(struct supervisor *s);
/* run_dir/heliod.sock, 0600, or 0660 for admin_group. */
int ctl_open(struct supervisor *s, const char *admin_group, struct err *e) NODISCARD;
void ctl_close(struct supervisor *s);

/* News for those who wait. */
void ctl_reloaded(struct supervisor *s, uint32_t round, bool ok, const char *text);
void ctl_replaced(struct supervisor *s, unsigned slot, bool ok, const char *text);

#endif
