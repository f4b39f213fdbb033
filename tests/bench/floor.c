/* bench_floor: the least that a WebSocket server on libevent can do, to see what the
 * kernel alone costs. It upgrades and moves bytes: no checks, no limits, no timers,
 * nothing kept for slow readers (bench_load tells when that loses something). A measuring
 * stick: never show it to a network.
 *
 *   bench_floor send|coalesce PORT        on 127.0.0.1
 *
 * /echo comes back. What /room/N says goes to the others there, what /pub/N says to all
 * of them. send: one send() for each message and member. coalesce: what a turn of the
 * loop brought goes to a member in one writev().
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define IN_BYTES (256 * 1024)
#define MOST_IOV 64

struct conn {
    struct event event;
    int fd;
    bool upgraded, publishes;
    struct room *room; /* NULL: echo */
    uint32_t place, part_n;
    char *part; /* an unfinished frame */
};

/* A message of this turn. */
struct said {
    struct conn *by;
    size_t from, n; /* in the turn's bytes */
};

struct room {
    struct conn **members;
    uint32_t n, cap, said_n, said_cap;
    struct said *said;
    bool listed;
};

static struct event_base *base;
static struct room **rooms,
    **speaking; /* speaking: those with something said this turn */
static uint32_t rooms_n, speaking_n;
static bool coalesces;
static char in[IN_BYTES * 2 + 16];
static struct {
    char *p;
    size_t n, cap;
} turn;

/* ---- rooms ---- */

static struct room *room_at(uint32_t number)
{
    if (number >= rooms_n) {
        rooms = realloc(rooms, (number + 1) * sizeof *rooms);
        speaking = realloc(speaking, (number + 1) * sizeof *speaking);
        memset(rooms + rooms_n, 0, (number + 1 - rooms_n) * sizeof *rooms);
        rooms_n = number + 1;
    }
    if (!rooms[number])
        rooms[number] = calloc(1, sizeof(struct room));
    return rooms[number];
}

static void enter(struct conn *c)
{
    struct room *r = c->room;
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 4;
        r->members = realloc(r->members, r->cap * sizeof(*r->members));
    }
    c->place = r->n;
    r->members[r->n++] = c;
}

static void leave(struct conn *c)
{
    struct room *r = c->room;
    r->members[c->place] = r->members[--r->n];
    r->members[c->place]->place = c->place;
    for (uint32_t i = 0; i < r->said_n; i++)
        if (r->said[i].by == c)
            r->said[i].by = NULL;
}

static void drop(struct conn *c)
{
    if (c->room && !c->publishes)
        leave(c);
    event_del(&c->event);
    close(c->fd);
    free(c->part);
    free(c);
}

/* ---- out ---- */

static void put(int fd, const char *p, size_t n)
{
    if (send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
        errno = 0; /* lost: bench_load says so */
}

static void tell_at_once(struct conn *by, const char *p, size_t n)
{
    struct room *r = by->room;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->members[i] != by)
            put(r->members[i]->fd, p, n);
}

static char *room_in_turn(size_t n)
{
    if (turn.n + n > turn.cap) {
        turn.cap = 2 * (turn.n + n);
        turn.p = realloc(turn.p, turn.cap);
    }
    return turn.p + turn.n;
}

/* n bytes have been put where room_in_turn() said. */
static void remember(struct conn *by, size_t n)
{
    struct room *r = by->room;
    if (r->said_n == r->said_cap) {
        r->said_cap = r->said_cap ? 2 * r->said_cap : 4;
        r->said = realloc(r->said, r->said_cap * sizeof *r->said);
    }
    r->said[r->said_n++] = (struct said){by, turn.n, n};
    turn.n += n;
    if (!r->listed)
        speaking[speaking_n++] = r;
    r->listed = true;
}

static void tell_member(const struct conn *m, const struct room *r)
{
    struct iovec v[MOST_IOV];
    for (uint32_t i = 0; i < r->said_n;) {
        int n = 0;
        for (; i < r->said_n && n < MOST_IOV; i++)
            if (r->said[i].by != m)
                v[n++] = (struct iovec){turn.p + r->said[i].from, r->said[i].n};
        if (n == 1)
            put(m->fd, v->iov_base, v->iov_len);
        else if (n && writev(m->fd, v, n) < 0)
            errno = 0; /* lost, as above */
    }
}

static void end_turn(void)
{
    for (uint32_t i = 0; i < speaking_n; i++) {
        struct room *r = speaking[i];
        for (uint32_t m = 0; m < r->n; m++)
            tell_member(r->members[m], r);
        r->said_n = 0;
        r->listed = false;
    }
    speaking_n = 0;
    turn.n = 0;
}

/* ---- in ---- */

static bool upgrade(struct conn *c, char *head)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[SHA_DIGEST_LENGTH], accept[64], text[96];
    char answer[256], *key = strcasestr(head, "Sec-WebSocket-Key: ");
    unsigned room = 0;
    if (!key)
        return false;
    memcpy(text, key + 19, 24);
    memcpy(text + 24, guid, 36);
    SHA1(text, 60, digest);
    EVP_EncodeBlock(accept, digest, sizeof digest);
    c->publishes = sscanf(head, "GET /pub/%u", &room) == 1;
    if (c->publishes || sscanf(head, "GET /room/%u", &room) == 1)
        c->room = room_at(room);
    if (c->room && !c->publishes)
        enter(c);
    c->upgraded = true;
    put(c->fd, answer,
        (size_t)snprintf(answer, sizeof answer,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                         accept));
    return true;
}

/* The frame without its key; returns its length. */
static size_t unmask(char *restrict to, const char *restrict frame, size_t h, size_t n)
{
    uint64_t key = 0, word;
    const char *p = frame + h;
    memcpy(&key, p - 4, 4);
    key |= key << 32;
    memcpy(to, frame, h - 4);
    to[1] &= 127;
    to += h - 4;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, p + i, 8);
        word ^= key;
        memcpy(to + i, &word, 8);
    }
    for (; i < n; i++)
        to[i] = (char)(p[i] ^ (char)(key >> 8 * (i & 3)));
    return h - 4 + n;
}

static void keep(struct conn *c, const char *p, size_t n)
{
    if (n && !c->part)
        c->part = malloc(IN_BYTES);
    if (n)
        memcpy(c->part, p, n);
    c->part_n = (uint32_t)n;
}

/* One frame after the other; echoes go out together. False: closed. */
static bool take_frames(struct conn *c, const char *p, size_t n)
{
    static char out[sizeof in];
    size_t out_n = 0;
    while (n >= 6) {
        const unsigned char *b = (const unsigned char *)p;
        size_t length = b[1] & 127, h = 6;
        if (length == 126) {
            length = (size_t)b[2] << 8 | b[3];
            h = 8;
        }
        if (n < h + length)
            break;
        if ((b[0] & 15) == 8)
            return false;
        if (c->room && coalesces)
            remember(c, unmask(room_in_turn(h + length), p, h, length));
        else
            out_n += unmask(out + out_n, p, h, length);
        if (c->room && !coalesces) {
            tell_at_once(c, out, out_n);
            out_n = 0;
        }
        p += h + length;
        n -= h + length;
    }
    if (out_n)
        put(c->fd, out, out_n);
    keep(c, p, n);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)what;
    if (c->part_n)
        memcpy(in, c->part, c->part_n);
    ssize_t got = recv(fd, in + c->part_n, IN_BYTES, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    bool good = got > 0;
    if (good && !c->upgraded) {
        in[got] = 0;
        good = upgrade(c, in);
    } else if (good) {
        good = take_frames(c, in, c->part_n + (size_t)got);
    }
    if (!good)
        drop(c);
}

static void on_connection(evutil_socket_t listener, short what, void *arg)
{
    (void)what;
    (void)arg;
    for (int fd;
         (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct conn *c = calloc(1, sizeof *c);
        c->fd = fd;
        event_assign(&c->event, base, fd, EV_READ | EV_PERSIST, on_readable, c);
        event_add(&c->event, NULL);
    }
}

static int listen_on(int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited */
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) {
        perror("bench_floor");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    if (argc != 3 || (strcmp(argv[1], "send") && strcmp(argv[1], "coalesce"))) {
        fputs("usage: bench_floor send|coalesce PORT\n", stderr);
        return 1;
    }
    coalesces = *argv[1] == 'c';
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    base = event_base_new();
    struct event *listening = event_new(base, listen_on(atoi(argv[2])),
                                        EV_READ | EV_PERSIST, on_connection, NULL);
    event_add(listening, NULL);
    while (event_base_loop(base, EVLOOP_ONCE) == 0)
        end_turn();
    return 1;
}
