#include "common/portholder.h"

#include "common/log.h"
#include "common/str.h"

#include <ctype.h>
#include <dirent.h>
#include <netinet/in.h>
#include <unistd.h>

#define TCP_LISTEN_STATE 0x0a
#define UNIX_ACCEPTING 0x10000 /* __SO_ACCEPTCON in the flags of /proc/net/unix */

/* ---- from a socket's inode to the process that has it open ---- */

static bool is_number(const char *s)
{
    return isdigit((unsigned char)*s) && strspn(s, "0123456789") == strlen(s);
}

static bool holds_inode(pid_t pid, const char *wanted)
{
    char path[64], link[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
        if (n > 0) {
            link[n] = '\0';
            found = strcmp(link, wanted) == 0;
        }
    }
    if (d)
        closedir(d);
    return found;
}

static void read_command(struct portholder *h)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)h->pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fgets(h->command, sizeof(h->command), f))
        h->command[strcspn(h->command, "\n")] = '\0';
    fclose(f);
}

/* /proc lists the oldest pids first as a rule: of a socket shared with children, the
 * parent. */
static void find_process(uint64_t inode, struct portholder *h)
{
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && !h->pid && (e = readdir(d));)
        if (is_number(e->d_name) && holds_inode(atoi(e->d_name), wanted))
            h->pid = atoi(e->d_name);
    if (d)
        closedir(d);
    if (h->pid)
        read_command(h);
}

/* ---- TCP ---- */

struct endpoint {
    struct in6_addr ip; /* IPv4 as ::ffff:a.b.c.d */
    bool is_v4, is_any;
    uint16_t port;
};

static void endpoint_set(struct endpoint *p, const void *ip, bool is_v4, uint16_t port)
{
    *p = (struct endpoint){.port = port, .is_v4 = is_v4};
    if (is_v4) {
        p->ip.s6_addr[10] = p->ip.s6_addr[11] = 0xff;
        memcpy(p->ip.s6_addr + 12, ip, 4);
        p->is_any = memcmp(ip, &in6addr_any, 4) == 0;
    } else {
        memcpy(&p->ip, ip, 16);
        p->is_any = IN6_IS_ADDR_UNSPECIFIED(&p->ip);
        p->is_v4 = IN6_IS_ADDR_V4MAPPED(&p->ip);
    }
}

static bool endpoint_of(const struct sockaddr *sa, struct endpoint *out)
{
    const struct sockaddr_in *in = (const void *)sa;
    const struct sockaddr_in6 *in6 = (const void *)sa;
    if (sa->sa_family == AF_INET)
        endpoint_set(out, &in->sin_addr, true, ntohs(in->sin_port));
    else if (sa->sa_family == AF_INET6)
        endpoint_set(out, &in6->sin6_addr, false, ntohs(in6->sin6_port));
    else
        return false;
    return true;
}

/* A foreign [::] may or may not take IPv4 too (the table does not tell): it is believed
 * to. */
static bool is_in_the_way(const struct endpoint *held, const struct endpoint *wanted)
{
    if (held->port != wanted->port)
        return false;
    if (held->is_v4 == wanted->is_v4)
        return held->is_any || wanted->is_any || memcmp(&held->ip, &wanted->ip, 16) == 0;
    return wanted->is_v4 && held->is_any;
}

/* "0100007F:1F90": the words of the address in this machine's byte order. */
static bool parse_hex(const char *text, struct endpoint *out)
{
    uint32_t words[4];
    unsigned n = 0, port;
    const char *colon = strchr(text, ':');
    if (!colon || sscanf(colon, ":%4X", &port) != 1)
        return false;
    for (; n < 4 && colon - text >= 8 * (n + 1); n++)
        if (sscanf(text + 8 * n, "%8" SCNx32, &words[n]) != 1)
            return false;
    if (n != 1 && n != 4)
        return false;
    endpoint_set(out, words, n == 1, (uint16_t)port);
    return true;
}

/* Listening sockets come first in the file: the rest, which may be a million lines, is
 * not read. */
static uint64_t find_listening(const char *file, const struct endpoint *wanted,
                               portholder_skip_fn skip, void *ctx)
{
    FILE *f = fopen(file, "re");
    char line[512], local[64];
    uint64_t inode, found = 0;
    if (!f)
        return 0;
    if (!fgets(line, sizeof(line), f)) /* the heading */
        line[0] = '\0';
    while (!found && fgets(line, sizeof(line), f)) {
        unsigned state;
        struct endpoint held;
        if (sscanf(line, " %*s %63s %*s %x %*s %*s %*s %*s %*s %" SCNu64, local, &state,
                   &inode) != 3)
            continue;
        if (state != TCP_LISTEN_STATE)
            break;
        if (parse_hex(local, &held) && is_in_the_way(&held, wanted) &&
            !(skip && skip(ctx, inode)))
            found = inode;
    }
    fclose(f);
    return found;
}

bool portholder_tcp(const struct sockaddr *sa, portholder_skip_fn skip, void *ctx,
                    struct portholder *out)
{
    struct endpoint wanted;
    *out = (struct portholder){0};
    if (!endpoint_of(sa, &wanted))
        return false;
    uint64_t inode =
        wanted.is_v4 ? find_listening("/proc/net/tcp", &wanted, skip, ctx) : 0;
    if (!inode)
        inode = find_listening("/proc/net/tcp6", &wanted, skip, ctx);
    if (inode)
        find_process(inode, out);
    return inode != 0;
}

/* ---- Unix ---- */

bool portholder_unix(const char *path, struct portholder *out)
{
    FILE *f = fopen("/proc/net/unix", "re");
    char line[512], held[256];
    uint64_t inode, found = 0;
    unsigned flags;
    *out = (struct portholder){0};
    while (f && !found && fgets(line, sizeof(line), f))
        if (sscanf(line, "%*s %*s %*s %x %*s %*s %" SCNu64 " %255[^\n]", &flags, &inode,
                   held) == 3 &&
            (flags & UNIX_ACCEPTING) && strcmp(held, path) == 0)
            found = inode;
    if (f)
        fclose(f);
    if (found)
        find_process(found, out);
    return found != 0;
}

const char *portholder_text(const struct portholder *h)
{
    static char text[160];
    if (!h->pid)
        return "held by another process";
    snprintf(text, sizeof(text), "held by pid %d (%s)", (int)h->pid,
             log_esc(str_of(h->command)));
    return text;
}
