#include "supervisor/listener.h"

#include "common/addresses.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/portholder.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ROOM "listener"

/* ---- addresses ---- */

struct target {
    bool is_unix;
    bool may_lack; /* the IPv6 half of `*:port`: fine without it on a machine that has
                      none */
    char text[112];
    struct sockaddr_storage sa;
    socklen_t sa_len;
};

static int parse_unix(struct str text, struct target *t, struct err *e)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&t->sa;
    struct str path = {text.p + 5, text.n - 5};
    if (path.n == 0 || path.p[0] != '/')
        return err_set(e, "%s: the path of a Unix socket must be absolute",
                       log_esc(text));
    if (path.n >= sizeof(un->sun_path) || memchr(path.p, '\0', path.n))
        return err_set(e, "%s: a Unix socket's path has at most %zu bytes", log_esc(text),
                       sizeof(un->sun_path) - 1);
    t->is_unix = true;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.p, path.n);
    t->sa_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return 0;
}

static int parse_tcp(struct str text, struct str host, uint16_t port, struct target *t,
                     struct err *e)
{
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){host.p + 1, host.n - 2};
    else if (memchr(host.p, ':', host.n))
        return err_set(e, "%s: an IPv6 address stands in brackets: [::1]:8000",
                       log_esc(text));
    t->sa_len = address_parse(host, port, &t->sa);
    if (!t->sa_len)
        return err_set(e, "%s: the host must be a numeric address or *", log_esc(text));
    return 0;
}

static bool split_port(struct str text, struct str *host, uint16_t *port)
{
    const char *colon = memrchr(text.p, ':', text.n);
    uint64_t number = 0;
    if (!colon)
        return false;
    *host = (struct str){text.p, (size_t)(colon - text.p)};
    if (!str_to_u64((struct str){colon + 1, text.n - host->n - 1}, 65535, &number))
        return false;
    *port = (uint16_t)number;
    return number > 0;
}

/* One target, or the two of `*:port`. Returns how many, -1. */
static int parse_address(struct str text, struct target out[2], struct err *e)
{
    struct str host;
    uint16_t port;
    memset(out, 0, 2 * sizeof(*out));
    if (text.n == 0 || text.n >= sizeof(out->text))
        return err_set(e, "`%s` is no address", log_esc(text));
    memcpy(out->text, text.p, text.n);
    if (str_starts(text, STR("unix:")))
        return parse_unix(text, out, e) == 0 ? 1 : -1;
    if (!split_port(text, &host, &port))
        return err_set(e, "%s: a port from 1 to 65535 must follow the host",
                       log_esc(text));
    if (!str_is(host, "*"))
        return parse_tcp(text, host, port, out, e) == 0 ? 1 : -1;
    for (int i = 0; i < 2; i++) {
        out[i].may_lack = i == 1;
        snprintf(out[i].text, sizeof(out[i].text), i ? "[::]:%u" : "0.0.0.0:%u", port);
        if (parse_tcp(str_of(out[i].text), i ? STR("[::]") : STR("0.0.0.0"), port,
                      &out[i], e) < 0)
            return -1;
    }
    return 2;
}

static const char *unix_path(const struct listener_row *row)
{
    return row->address + strlen("unix:");
}

static bool row_is_at(const struct listener_row *row, const struct target *t)
{
    struct target own[2];
    return row->is_unix == t->is_unix &&
           parse_address(str_of(row->address), own, NULL) == 1 &&
           own->sa_len == t->sa_len && memcmp(&own->sa, &t->sa, t->sa_len) == 0;
}

/* ---- rows and seats ---- */

void listeners_init(struct listeners *l)
{
    memset(l, 0, sizeof(*l));
    l->version = 1;
    l->next_id = 1;
}

static struct listener_row *row_new(struct listeners *l, const struct target *t)
{
    for (struct listener_row *row = l->rows; row < l->rows + LISTENER_ROWS_MAX; row++) {
        if (row->state != LISTENER_ROW_FREE)
            continue;
        memset(row, 0, sizeof(*row));
        row->id = l->next_id++;
        row->state = LISTENER_ROW_PENDING;
        row->is_unix = t->is_unix;
        row->shared_fd = -1;
        memset(row->fd, 0xff, sizeof(row->fd));
        memcpy(row->address, t->text, sizeof(row->address));
        return row;
    }
    return NULL;
}

static void remove_file(struct listener_row *row)
{
    struct stat st;
    if (row->ino && lstat(unix_path(row), &st) == 0 && st.st_dev == row->dev &&
        st.st_ino == row->ino)
        unlink(unix_path(row));
    row->ino = 0;
}

static void row_free(struct listener_row *row)
{
    if (row->is_unix)
        remove_file(row);
    fd_close(&row->shared_fd);
    for (unsigned s = 0; s < SLOTS_MAX; s++)
        fd_close(&row->fd[s]);
    row->state = LISTENER_ROW_FREE;
}

static bool row_is_empty(const struct listener_row *row)
{
    for (unsigned s = 0; s < SLOTS_MAX; s++)
        if (row->seat[s] != LISTENER_SEAT_NONE)
            return false;
    return true;
}

void listeners_fini(struct listeners *l)
{
    LISTENERS_EACH(row, l)
    row_free(row);
}

int listeners_fd(const struct listener_row *row, unsigned slot)
{
    if (slot >= SLOTS_MAX || row->seat[slot] == LISTENER_SEAT_NONE)
        return -1;
    return row->is_unix ? row->shared_fd : row->fd[slot];
}

struct listener_row *listeners_find(struct listeners *l, uint32_t id)
{
    LISTENERS_EACH(row, l)
    if (row->id == id)
        return row;
    return NULL;
}

unsigned listeners_waiting(const struct listener_row *row, unsigned slot)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    int fd = listeners_fd(row, slot);
    if (fd < 0 || row->is_unix || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return 0;
    return info.tcpi_unacked; /* of a listening socket: its accept queue (tcp_get_info) */
}

/* ---- TCP sockets ---- */

static void set_flag(int fd, int level, int option)
{
    int one = 1;
    (void)setsockopt(fd, level, option, &one, sizeof(one));
}

/* SO_REUSEADDR: connections of a former life (TIME_WAIT, or still open) are no reason to
 * refuse; a listening socket is. */
static int tcp_socket(const struct target *t)
{
    int fd = socket(t->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
    if (t->sa.ss_family == AF_INET6)
        set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    return fd;
}

/* What the operator should know of errno. */
static int explain(struct err *e, const struct target *t, const char *verb)
{
    struct portholder holder;
    switch (errno) {
    case EADDRINUSE:
        (void)portholder_tcp((const struct sockaddr *)&t->sa, NULL, NULL, &holder);
        return err_set(e, "%s: address already in use, %s", t->text,
                       portholder_text(&holder));
    case EACCES:
        return err_set(e,
                       "%s: permission denied: a port below 1024 needs root or "
                       "CAP_NET_BIND_SERVICE",
                       t->text);
    case EADDRNOTAVAIL:
        return err_set(e, "%s: this machine has no such address", t->text);
    case EAFNOSUPPORT:
        return err_set(e, "%s: this machine has no IPv%d", t->text,
                       t->sa.ss_family == AF_INET6 ? 6 : 4);
    default:
        return err_errno(e, "%s: cannot %s", t->text, verb);
    }
}

struct own {
    const struct listeners *l;
    bool met;
};

static bool is_own(void *ctx, uint64_t inode)
{
    struct own *own = ctx;
    struct stat st;
    LISTENERS_EACH(row, (struct listeners *)own->l)
    for (unsigned s = 0; s < SLOTS_MAX; s++)
        if (row->fd[s] >= 0 && fstat(row->fd[s], &st) == 0 && st.st_ino == inode)
            return own->met = true;
    return false;
}

/* SO_REUSEPORT would let us share a port with a second heliod and never notice: the first
 * bind to an address goes without. Our own sockets on an overlapping address
 * (0.0.0.0:8000 when 127.0.0.1:8000 is new) are in its way, too: then /proc must tell
 * whether there are others. */
static int probe(const struct listeners *l, const struct target *t, struct err *e)
{
    const struct sockaddr *sa = (const struct sockaddr *)&t->sa;
    struct own own = {.l = l};
    struct portholder holder;
    int fd = tcp_socket(t);
    if (fd < 0)
        return explain(e, t, "make a socket");
    int r = bind(fd, sa, t->sa_len);
    fd_close(&fd);
    if (r == 0)
        return 0;
    if (errno != EADDRINUSE)
        return explain(e, t, "bind");
    bool is_foreign = portholder_tcp(sa, is_own, &own, &holder);
    if (own.met && !is_foreign)
        return 0;
    return err_set(e, "%s: address already in use, %s", t->text,
                   portholder_text(&holder));
}

static int bind_tcp(const struct target *t, struct err *e)
{
    int fd = tcp_socket(t);
    if (fd < 0)
        return explain(e, t, "make a socket");
    set_flag(fd, SOL_SOCKET, SO_REUSEPORT);
    set_flag(fd, IPPROTO_TCP, TCP_NODELAY); /* connections inherit it */
    if (bind(fd, (const struct sockaddr *)&t->sa, t->sa_len) == 0)
        return fd;
    explain(e, t, "bind");
    fd_close(&fd);
    return -1;
}

/* ---- Unix sockets ---- */

/* 0: nobody listens (any more); else errno of the reason to stay away. */
static int try_connect(const struct target *t)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int r =
        connect(fd, (const struct sockaddr *)&t->sa, t->sa_len) == 0 ? EADDRINUSE : errno;
    fd_close(&fd);
    if (r == ECONNREFUSED || r == ENOENT)
        return 0;
    return r == EAGAIN || r == EPROTOTYPE ? EADDRINUSE : r; /* queue full; another type */
}

static int clear_stale(const struct target *t, const char *path, struct err *e)
{
    struct portholder holder;
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, "%s", t->text);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, "%s: the file exists and is not a socket", t->text);
    int busy = try_connect(t);
    if (busy == EADDRINUSE) {
        (void)portholder_unix(path, &holder);
        return err_set(e, "%s: address already in use, %s", t->text,
                       portholder_text(&holder));
    }
    errno = busy;
    if (busy || (unlink(path) < 0 && errno != ENOENT))
        return err_errno(e, "%s: cannot replace the old socket", t->text);
    return 0;
}

static int bind_unix(struct listener_row *row, const struct target *t, struct err *e)
{
    struct stat st;
    if (clear_stale(t, unix_path(row), e) < 0)
        return -1;
    row->shared_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (row->shared_fd < 0)
        return err_errno(e, "%s: cannot make a socket", t->text);
    mode_t old = umask(~row->next_mode & 0777); /* the file is born with its mode */
    int r = bind(row->shared_fd, (const struct sockaddr *)&t->sa, t->sa_len);
    umask(old);
    if (r < 0)
        return err_errno(e, "%s: cannot bind", t->text);
    if (lstat(unix_path(row), &st) == 0) {
        row->dev = st.st_dev;
        row->ino = st.st_ino;
    }
    row->mode = row->next_mode;
    return 0;
}

/* ---- phase one ---- */

/* An old Unix socket that is being drained has lost its file: the same path is a new
 * address. */
static struct listener_row *row_at(struct listeners *l, const struct target *t)
{
    LISTENERS_EACH(row, l)
    if (!(row->is_unix && row->state == LISTENER_ROW_LEAVING) && row_is_at(row, t))
        return row;
    return NULL;
}

static int bind_seats(struct listener_row *row, const struct target *t, unsigned slots,
                      struct err *e)
{
    for (unsigned s = 0; s < slots; s++) {
        if (row->seat[s] != LISTENER_SEAT_NONE)
            continue;
        if (!row->is_unix && (row->fd[s] = bind_tcp(t, e)) < 0)
            return -1;
        row->seat[s] = LISTENER_SEAT_PENDING;
    }
    return 0;
}

static int parse_mode(struct str text, uint32_t *out)
{
    char *end;
    *out = (uint32_t)strtoul(text.p, &end, 8);
    return text.n > 0 && end == text.p + text.n && *out <= 0777 ? 0 : -1;
}

static int open_row(struct listeners *l, struct listener_row *row, const struct target *t,
                    struct err *e)
{
    return row->is_unix ? bind_unix(row, t, e) : probe(l, t, e);
}

static int want(struct listeners *l, const struct target *t,
                const struct conf_listener *c, struct err *e)
{
    struct listener_row *row = row_at(l, t);
    bool is_new = !row;
    if (row && row->wanted)
        return err_set(e, "%s is listed twice", t->text);
    if (!row && !(row = row_new(l, t)))
        return err_set(e, "%s: too many addresses (old ones are still being served)",
                       t->text);
    row->wanted = true;
    row->next_backlog = (uint32_t)c->backlog;
    if (row->is_unix && parse_mode(c->mode, &row->next_mode) < 0)
        return err_set(e, "%s: mode `%s` is not octal, 0 to 0777", t->text,
                       log_esc(c->mode));
    errno = 0;
    if ((is_new && open_row(l, row, t, e) < 0) ||
        bind_seats(row, t, l->next_slots, e) < 0) {
        if (!is_new || !t->may_lack || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL))
            return -1;
        log_info("%s is left out: no IPv6 here", t->text);
        row_free(row);
    }
    return 0;
}

/* Where it stands in the file, if it came from one. */
static int add_place(const struct conf *c, size_t i, struct err *e)
{
    char path[64];
    snprintf(path, sizeof(path), "listeners[%zu].address", i);
    int line = conf_line(c, path);
    if (c->file && line > 0)
        return err_add(e, "%s:%d: listeners[%zu]", c->file, line, i);
    return err_add(e, "listeners[%zu]", i);
}

int listeners_prepare(struct listeners *l, const struct conf *c, unsigned slots,
                      struct err *e)
{
    BUG_ON(l->preparing || slots > SLOTS_MAX);
    l->preparing = true;
    l->next_slots = slots;
    LISTENERS_EACH(row, l)
    row->wanted = false;
    for (size_t i = 0; i < c->main.listeners.n; i++) {
        const struct conf_listener *lc = &c->main.listeners.v[i];
        struct target t[2];
        int n = parse_address(lc->address, t, e), r = n;
        for (int k = 0; k < n && r >= 0; k++)
            r = want(l, &t[k], lc, e);
        if (r < 0) {
            listeners_abandon(l);
            return add_place(c, i, e);
        }
    }
    return 0;
}

void listeners_abandon(struct listeners *l)
{
    LISTENERS_EACH(row, l)
    {
        for (unsigned s = 0; s < SLOTS_MAX; s++) {
            if (row->seat[s] != LISTENER_SEAT_PENDING)
                continue;
            fd_close(&row->fd[s]);
            row->seat[s] = LISTENER_SEAT_NONE;
        }
        if (row->state == LISTENER_ROW_PENDING)
            row_free(row);
    }
    l->preparing = false;
}

/* ---- who of a reuseport group gets new connections ---- */

static int detach(const struct listener_row *row, struct err *e)
{
    int zero = 0;
    if (row->group_n > 0 &&
        setsockopt(row->fd[row->group[0]], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &zero,
                   sizeof(zero)) < 0 &&
        errno != ENOENT)
        return err_errno(e, "%s: cannot spread over all workers again", row->address);
    return 0;
}

/* A random number modulo n, then a jump table to the n places in the group; what lies
 * outside the group the kernel treats as "by hash" (reuseport_select_sock). */
static int attach(const struct listener_row *row, const uint16_t *places, unsigned n,
                  struct err *e)
{
    struct sock_filter code[2 + 2 * SLOTS_MAX + 1] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n),
    };
    struct sock_filter *op = code + 2;
    for (unsigned i = 0; i < n; i++) {
        *op++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, i, 0, 1);
        *op++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, places[i]);
    }
    *op++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
    struct sock_fprog prog = {.len = (unsigned short)(op - code), .filter = code};
    if (setsockopt(row->fd[row->group[0]], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog,
                   sizeof(prog)) < 0)
        return err_errno(e, "%s: cannot steer new connections between workers",
                         row->address);
    return 0;
}

/* The places in the group of the seats that new connections go to. */
static unsigned list_places(const struct listener_row *row, uint16_t *places)
{
    unsigned n = 0;
    for (unsigned g = 0; g < row->group_n; g++)
        if (row->seat[row->group[g]] == LISTENER_SEAT_LIVE)
            places[n++] = (uint16_t)g;
    return n;
}

static int steer(const struct listener_row *row, struct err *e)
{
    uint16_t places[SLOTS_MAX];
    unsigned n = list_places(row, places);
    return n == 0 || n == row->group_n ? detach(row, e) : attach(row, places, n, e);
}

static int steer_all(struct listeners *l, struct err *e)
{
    int r = 0;
    LISTENERS_EACH(row, l)
    if (!row->is_unix && row->group_n > 0 && steer(row, r < 0 ? NULL : e) < 0)
        r = -1;
    return r;
}

/* ---- phase two ---- */

/* The kernel appends a socket to its group when it starts to listen. */
static int listen_seat(struct listener_row *row, unsigned s, struct err *e)
{
    if (row->is_unix)
        return 0;
    if (listen(row->fd[s], (int)row->backlog) < 0) {
        err_errno(e, "%s: cannot listen", row->address);
        fd_close(&row->fd[s]);
        return -1;
    }
    row->group[row->group_n++] = (uint16_t)s;
    return 0;
}

static int commit_seats(struct listener_row *row, unsigned slots, struct err *e)
{
    int r = 0;
    for (unsigned s = 0; s < SLOTS_MAX; s++) {
        uint8_t *seat = &row->seat[s];
        if (*seat == LISTENER_SEAT_PENDING && listen_seat(row, s, r < 0 ? NULL : e) < 0) {
            *seat = LISTENER_SEAT_NONE;
            r = -1;
        } else if (*seat != LISTENER_SEAT_NONE) {
            *seat = s < slots ? LISTENER_SEAT_LIVE : LISTENER_SEAT_LEAVING;
        }
    }
    return r;
}

/* listen() on a listening socket only changes its backlog. */
static int apply_backlog(struct listener_row *row, struct err *e)
{
    bool is_new = row->state == LISTENER_ROW_PENDING;
    if (!is_new && row->backlog == row->next_backlog)
        return 0;
    row->backlog = row->next_backlog;
    if (row->is_unix && listen(row->shared_fd, (int)row->backlog) < 0)
        return err_errno(e, "%s: cannot listen", row->address);
    for (unsigned g = 0; g < row->group_n; g++)
        if (listen(row->fd[row->group[g]], (int)row->backlog) < 0)
            return err_errno(e, "%s: cannot change the backlog", row->address);
    return 0;
}

static int apply_mode(struct listener_row *row, struct err *e)
{
    if (!row->is_unix || row->mode == row->next_mode)
        return 0;
    if (chmod(unix_path(row), row->next_mode) < 0)
        return err_errno(e, "%s: cannot change the mode", row->address);
    row->mode = row->next_mode;
    return 0;
}

static int commit_row(struct listener_row *row, unsigned slots, struct err *e)
{
    bool is_new = row->state == LISTENER_ROW_PENDING;
    int backlog = apply_backlog(row, e);
    int mode = apply_mode(row, backlog < 0 ? NULL : e);
    int seats = commit_seats(row, slots, backlog < 0 || mode < 0 ? NULL : e);
    if (row_is_empty(row) || (is_new && row->is_unix && backlog < 0)) {
        row_free(row);
    } else {
        row->state = LISTENER_ROW_LIVE;
        if (is_new)
            log_info("listening on %s", row->address);
    }
    return backlog < 0 || mode < 0 || seats < 0 ? -1 : 0;
}

/* A Unix socket without its file is reached by nobody new, so that its queue can be
 * served to the end. */
static void leave_row(struct listener_row *row)
{
    if (row->state == LISTENER_ROW_LIVE)
        log_info("no longer listening on %s: serving who still waits", row->address);
    if (row->is_unix)
        remove_file(row);
    for (unsigned s = 0; s < SLOTS_MAX; s++)
        if (row->seat[s] != LISTENER_SEAT_NONE)
            row->seat[s] = LISTENER_SEAT_LEAVING;
    row->state = LISTENER_ROW_LEAVING;
}

int listeners_commit(struct listeners *l, struct err *e)
{
    int r = 0;
    BUG_ON(!l->preparing);
    l->preparing = false;
    LISTENERS_EACH(row, l)
    {
        if (!row->wanted)
            leave_row(row);
        else if (commit_row(row, l->next_slots, r < 0 ? NULL : e) < 0)
            r = -1;
    }
    if (steer_all(l, r < 0 ? NULL : e) < 0)
        r = -1;
    return r;
}

/* ---- the end of a seat ---- */

/* When a socket leaves the group, the kernel moves the last one into its place. Until the
 * group is steered anew, the program must not name that last place: it would be "by hash"
 * for a moment, and hit leaving sockets. shutdown() makes the socket leave now, whoever
 * else holds a duplicate. */
static void close_member(struct listener_row *row, unsigned slot)
{
    uint16_t places[SLOTS_MAX];
    unsigned g = 0, n = list_places(row, places);
    struct err e;
    if (n > 1 && places[n - 1] == row->group_n - 1 && attach(row, places, n - 1, &e) < 0)
        log_warn("%s", e.text);
    while (row->group[g] != slot)
        BUG_ON(++g >= row->group_n);
    shutdown(row->fd[slot], SHUT_RDWR);
    fd_close(&row->fd[slot]);
    row->group[g] = row->group[--row->group_n];
    row->seat[slot] = LISTENER_SEAT_NONE;
    if (steer(row, &e) < 0)
        log_warn("%s", e.text);
}

void listeners_close(struct listeners *l, uint32_t id, unsigned slot)
{
    struct listener_row *row = listeners_find(l, id);
    if (!row || slot >= SLOTS_MAX || row->seat[slot] != LISTENER_SEAT_LEAVING)
        return;
    if (!row->is_unix)
        close_member(row, slot);
    row->seat[slot] = LISTENER_SEAT_NONE;
    if (row->state == LISTENER_ROW_LEAVING && row_is_empty(row))
        row_free(row);
}
