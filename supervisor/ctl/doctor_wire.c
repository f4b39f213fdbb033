#include "supervisor/ctl/doctor_wire.h"

#include "common/clock.h"
#include "common/fd.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#define CHUNK 16384
#define SEND_MS 5000
#define HEAD_END "\r\n\r\n"

/* ---- getting there ---- */

static int wait_for(int fd, short events, int64_t until)
{
    struct pollfd p = {.fd = fd, .events = events};
    int rc;

    do {
        int64_t left = until - clock_now_ms();
        rc = poll(&p, 1, left > 0 ? (int)MIN(left, INT_MAX) : 0);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

static enum reach reach_of(int error)
{
    switch (error) {
    case 0:
        return REACH_OK;
    case ECONNREFUSED:
        return REACH_REFUSED;
    case ETIMEDOUT:
        return REACH_TIMEOUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EACCES: /* a local firewall: -j REJECT on the way out */
    case EPERM:
        return REACH_NO_ROUTE;
    default:
        return REACH_FAILED;
    }
}

/* 0, or the error number. */
static int connect_to(int fd, const struct addrinfo *a, int64_t until)
{
    int error = 0;
    socklen_t n = sizeof(error);

    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    if (wait_for(fd, POLLOUT, until) <= 0)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 ? errno : error;
}

static int try_one(struct doctor_wire *w, const struct addrinfo *a, int64_t until)
{
    memset(&w->peer, 0, sizeof(w->peer));
    memcpy(&w->peer, a->ai_addr, a->ai_addrlen);
    w->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->fd < 0)
        return errno;
    int error = connect_to(w->fd, a, until);
    if (error)
        fd_close(&w->fd);
    return error;
}

/* A refusal says that the host is there: more than a missing IPv6 route does. */
static bool is_more_telling(int now, int before)
{
    return !before || reach_of(before) == REACH_NO_ROUTE ||
           reach_of(before) == REACH_FAILED || reach_of(now) == REACH_REFUSED;
}

static int try_all(struct doctor_wire *w, const struct addrinfo *list, int64_t timeout_ms)
{
    struct sockaddr_storage telling = {0};
    int kept = 0;

    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        int error = try_one(w, a, clock_now_ms() + timeout_ms);
        if (!error)
            return 0;
        if (is_more_telling(error, kept)) {
            kept = error;
            telling = w->peer;
        }
    }
    w->peer = telling;
    return kept;
}

enum reach doctor_wire_open(struct doctor_wire *w, const char *host, uint16_t port,
                            int64_t timeout_ms, struct err *e)
{
    struct addrinfo *list = NULL,
                    hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char service[8];

    *w = (struct doctor_wire){.fd = -1};
    snprintf(service, sizeof(service), "%u", (unsigned)port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0) {
        err_set(e, "%s", rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
        return REACH_NO_NAME;
    }
    int error = try_all(w, list, timeout_ms);
    freeaddrinfo(list);
    if (error)
        err_set(e, "%s", strerror(error));
    return reach_of(error);
}

void doctor_wire_close(struct doctor_wire *w)
{
    doctor_tls_free(w->tls);
    w->tls = NULL;
    fd_close(&w->fd);
    buf_free(&w->in);
}

static bool is_same_ip(const struct sockaddr *a, const struct sockaddr *b)
{
    if (!a || a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)(const void *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

/* All of 127.0.0.0/8 is, though only one of it is listed. */
bool doctor_wire_is_local(const struct sockaddr_storage *sa)
{
    const struct sockaddr_in *in = (const void *)sa;
    struct ifaddrs *list = NULL;
    bool found = sa->ss_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 24 == 127;

    if (!found && getifaddrs(&list) < 0)
        return false;
    for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next)
        found = is_same_ip(i->ifa_addr, (const void *)sa);
    freeifaddrs(list);
    return found;
}

/* ---- bytes ---- */

enum got doctor_wire_secure(struct doctor_wire *w, struct doctor_trust *trust,
                            const char *host, int64_t until)
{
    int rc;

    w->tls = doctor_tls_new(trust, w->fd, host);
    while ((rc = doctor_tls_shake(w->tls)) == 0) {
        if (wait_for(w->fd, doctor_tls_wants(w->tls), until) <= 0)
            return GOT_TIMEOUT;
    }
    return rc > 0 ? GOT_IT : GOT_END;
}

/* > 0 bytes, 0 later, < 0 over. */
static ssize_t give(struct doctor_wire *w, struct str bytes)
{
    if (w->tls)
        return doctor_tls_write(w->tls, bytes.p, bytes.n);
    ssize_t n = send(w->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    return n < 0 && errno == EAGAIN ? 0 : n;
}

static ssize_t take(struct doctor_wire *w, char *p, size_t cap)
{
    if (w->tls)
        return doctor_tls_read(w->tls, p, cap);
    ssize_t n = recv(w->fd, p, cap, 0);
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n > 0 ? n : -1;
}

void doctor_wire_send(struct doctor_wire *w, struct str bytes)
{
    int64_t until = clock_now_ms() + SEND_MS;

    while (bytes.n > 0) {
        ssize_t n = give(w, bytes);
        short wants = w->tls ? doctor_tls_wants(w->tls) : POLLOUT;
        if (n < 0 || (n == 0 && wait_for(w->fd, wants, until) <= 0))
            return;
        bytes = (struct str){bytes.p + n, bytes.n - (size_t)n};
    }
}

/* Taken before waiting: a TLS session may hold bytes that no poll sees. Nothing is taken
 * behind the deadline, or a peer that never stops would hold us for ever. */
static enum got more(struct doctor_wire *w, int64_t until)
{
    if (w->ended)
        return GOT_END;
    if (w->in.n >= DOCTOR_WIRE_MAX)
        return GOT_NONSENSE;
    if (clock_now_ms() > until)
        return GOT_TIMEOUT;
    ssize_t n = take(w, buf_reserve(&w->in, CHUNK), CHUNK);
    short wants = w->tls ? doctor_tls_wants(w->tls) : POLLIN;
    if (n == 0 && wait_for(w->fd, wants, until) <= 0)
        return GOT_TIMEOUT;
    w->ended = n < 0;
    w->heard_ms = n > 0 ? clock_now_ms() : w->heard_ms;
    w->in.n += (size_t)MAX(n, (ssize_t)0);
    return w->ended ? GOT_END : GOT_IT;
}

enum got doctor_wire_need(struct doctor_wire *w, size_t n, int64_t until)
{
    enum got got = GOT_IT;

    while (w->in.n < n && got == GOT_IT)
        got = more(w, until);
    return w->in.n >= n ? GOT_IT : got;
}

/* ---- HTTP ---- */

struct str doctor_head_field(const struct doctor_head *h, const char *name)
{
    struct str rest = h->fields;

    while (rest.n > 0) {
        struct str value, key = str_split(str_split(rest, '\n', &rest), ':', &value);
        if (!value.p || !str_eq_nocase(str_trim(key), str_of(name)))
            continue;
        if (value.n > 0 && value.p[value.n - 1] == '\r')
            value.n--;
        return str_trim(value);
    }
    return STR_NONE;
}

/* "HTTP/1.1 404 Not Found" */
static bool read_status(struct str head, unsigned *status)
{
    struct str rest, line = str_split(head, '\n', &rest);
    uint64_t number;

    if (!str_starts(line, STR("HTTP/1.")) || line.n < 12 ||
        !str_to_u64((struct str){line.p + 9, 3}, 999, &number))
        return false;
    *status = (unsigned)number;
    return true;
}

/* What has come cannot become an HTTP answer. */
static bool is_other(const struct buf *in)
{
    return memcmp(in->p ? in->p : "", "HTTP/1.", MIN(in->n, (size_t)7)) != 0;
}

static void read_body(struct doctor_wire *w, size_t head_n, int64_t until,
                      struct doctor_head *h)
{
    uint64_t n = 0;
    struct str length = doctor_head_field(h, "Content-Length");

    if (h->status != 101) {
        if (!length.p || !str_to_u64(length, DOCTOR_WIRE_MAX, &n))
            n = DOCTOR_WIRE_MAX; /* until it ends */
        (void)doctor_wire_need(w, head_n + n, until);
        n = MIN(n, w->in.n - head_n);
    }
    h->fields = (struct str){w->in.p, head_n}; /* reading may have moved it */
    h->body = (struct str){w->in.p + head_n, n};
}

enum got doctor_wire_head(struct doctor_wire *w, int64_t until, struct doctor_head *h)
{
    const char *end = NULL;
    enum got got = GOT_IT;

    *h = (struct doctor_head){0};
    while (got == GOT_IT && !end) {
        got = doctor_wire_need(w, w->in.n + 1, until);
        if (is_other(&w->in))
            return GOT_NONSENSE;
        end = w->in.n ? memmem(w->in.p, w->in.n, HEAD_END, 4) : NULL;
    }
    if (!end)
        return got;
    size_t head_n = (size_t)(end - w->in.p) + 4;
    h->fields = (struct str){w->in.p, head_n};
    if (!read_status(h->fields, &h->status))
        return GOT_NONSENSE;
    read_body(w, head_n, until, h);
    return GOT_IT;
}

void doctor_wire_drop_head(struct doctor_wire *w, const struct doctor_head *h)
{
    buf_drop(&w->in, h->fields.n + h->body.n);
}
