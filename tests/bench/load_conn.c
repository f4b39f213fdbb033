#define _GNU_SOURCE
#include "load_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_BYTES (256 * 1024)
#define MAX_FRAME (4u << 20)
/* One key for all: the answer to it is known. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct conn_party party;
static char
    inbox[MAX_FRAME + IN_BYTES + 64]; /* what a read brought, behind what was left */

uint64_t conn_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- life ---- */

void conn_close(struct conn *c, bool reset)
{
    struct linger now = {1, 0};
    if (c->phase == CONN_NONE)
        return;
    if (reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(c->fd);
    free(c->part);
    free(c->out);
    free(c->id);
    c->part = c->out = c->id = NULL;
    c->part_n = c->out_n = 0;
    c->fd = -1;
    c->phase = CONN_NONE;
    c->awaits_write = false;
    c->greeted = 0;
}

static void fail(struct conn *c, const char *why)
{
    conn_close(c, true);
    party.on.failed(c, why);
}

static void await_write(struct conn *c, bool on)
{
    struct epoll_event e = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = c};
    if (c->awaits_write != on)
        epoll_ctl(party.epoll, EPOLL_CTL_MOD, c->fd, &e);
    c->awaits_write = on;
}

/* Many sources, so that ports do not run out. */
static void bind_source(struct conn *c)
{
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (party.sources < 2)
        return;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + c->at.i % party.sources);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from))
        perror("bench_load: bind");
}

void conn_open(struct conn *c, uint32_t to)
{
    int one = 1;
    const struct sockaddr_in *address = &party.to[to % party.to_n];
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    c->began_ns = conn_now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        party.on.failed(c, strerror(errno));
        return;
    }
    c->phase = CONN_CONNECTING;
    c->awaits_write = true;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    bind_source(c);
    epoll_ctl(party.epoll, EPOLL_CTL_ADD, c->fd, &e);
    if (connect(c->fd, (const struct sockaddr *)address, sizeof *address) &&
        errno != EINPROGRESS)
        fail(c, strerror(errno));
}

/* ---- out ---- */

void conn_send(struct conn *c, const char *p, size_t n)
{
    ssize_t sent = c->out_n ? 0 : send(c->fd, p, n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        fail(c, strerror(errno));
        return;
    }
    size_t left = n - (size_t)(sent < 0 ? 0 : sent);
    if (!left)
        return;
    c->out = realloc(c->out, c->out_n + left);
    if (!c->out)
        abort();
    memcpy(c->out + c->out_n, p + n - left, left);
    c->out_n += left;
    await_write(c, true);
}

static void send_rest(struct conn *c)
{
    ssize_t sent = c->out_n ? send(c->fd, c->out, c->out_n, MSG_NOSIGNAL) : 0;
    if (sent < 0 && errno != EAGAIN) {
        fail(c, strerror(errno));
        return;
    }
    if (sent > 0) {
        memmove(c->out, c->out + sent, c->out_n - (size_t)sent);
        c->out_n -= (size_t)sent;
    }
    if (c->out_n)
        return;
    free(c->out);
    c->out = NULL;
    await_write(c, false);
}

static uint32_t next_mask(void)
{
    static uint32_t v = 0x9e3779b9u;
    v ^= v << 13;
    v ^= v >> 17;
    return v ^= v << 5;
}

size_t conn_frame(char *to, const char *before, size_t before_n, const char *after,
                  size_t after_n, size_t payload_n, char **payload)
{
    size_t n = before_n + payload_n + after_n, h = n < 126 ? 2 : n < 65536 ? 4 : 10;
    uint32_t mask = next_mask();
    to[0] = (char)0x81;
    to[1] = (char)(0x80 | (n < 126 ? n : n < 65536 ? 126 : 127));
    for (size_t i = 2; i < h; i++)
        to[i] = (char)((uint64_t)n >> 8 * (h - 1 - i));
    memcpy(to + h, &mask, 4);
    memcpy(to + h + 4, before, before_n);
    memcpy(to + h + 4 + before_n + payload_n, after, after_n);
    *payload = to + h + 4 + before_n;
    return h + 4 + n;
}

void conn_frame_mask(char *frame, size_t n)
{
    unsigned length = (unsigned char)frame[1] & 127;
    size_t h = length < 126 ? 2 : length == 126 ? 4 : 10;
    uint64_t mask = 0, word;
    memcpy(&mask, frame + h, 4);
    mask |= mask << 32;
    char *p = frame + h + 4, *end = frame + n;
    for (; end - p >= 8; p += 8) {
        memcpy(&word, p, 8);
        word ^= mask;
        memcpy(p, &word, 8);
    }
    for (int i = 0; p < end; p++, i++)
        *p ^= frame[h + (i & 3)];
}

static void say(struct conn *c, const char *text, size_t n)
{
    char *payload, *frame = malloc(n + 14);
    if (!frame)
        abort();
    size_t all = conn_frame(frame, text, n, "", 0, 0, &payload);
    conn_frame_mask(frame, all);
    conn_send(c, frame, all);
    free(frame);
}

/* ---- greetings ---- */

static const struct greeting *greeting_of(const struct conn *c)
{
    const struct greeting *list =
        c->publisher ? party.dialect->pub_hello : party.dialect->hello;
    return c->greeted < GREETINGS && list[c->greeted].say ? &list[c->greeted] : NULL;
}

static void greet(struct conn *c)
{
    const struct greeting *g = greeting_of(c);
    if (!g) {
        c->phase = CONN_READY;
        party.on.ready(c);
        return;
    }
    char *text = dialect_fill(g->say, &c->at), *rest = text;
    c->phase = CONN_GREETING;
    for (char *line; (line = strsep(&rest, "\n")) && c->phase == CONN_GREETING;)
        if (*line)
            say(c, line, strlen(line));
    free(text);
}

static void learn_id(struct conn *c, const char *p, size_t n)
{
    const char *found = memmem(p, n, "\"id\":\"", 6);
    if (found && n - (size_t)(found - p) > 6 + 36)
        c->id = strndup(found + 6, 36);
}

static void on_message(struct conn *c, const char *p, size_t n)
{
    const char *await = c->phase == CONN_GREETING ? greeting_of(c)->await : NULL;
    if (!await) {
        party.on.message(c, p, n);
        return;
    }
    if (!memmem(p, n, await, strlen(await)))
        return;
    if (party.dialect->says_id && !c->id)
        learn_id(c, p, n);
    c->greeted++;
    greet(c);
}

/* ---- in ---- */

static void upgrade(struct conn *c)
{
    char head[512];
    char *path = dialect_fill(party.path     ? party.path
                              : c->publisher ? party.dialect->pub_path
                                             : party.dialect->path,
                              &c->at);
    int n = snprintf(head, sizeof head,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY
                     "\r\nSec-WebSocket-Version: 13\r\n\r\n",
                     path);
    free(path);
    c->phase = CONN_UPGRADING;
    conn_send(c, head, (size_t)n);
    if (c->phase != CONN_NONE && !c->out_n)
        await_write(c, false);
}

/* Returns the length of the answer's head, 0: not whole yet. */
static size_t take_answer(struct conn *c, char *p, size_t n)
{
    char *end = memmem(p, n, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (strncmp(p, "HTTP/1.1 101", 12) || !memmem(p, n, ACCEPT, strlen(ACCEPT))) {
        fail(c, "the handshake was refused");
        return 0;
    }
    greet(c);
    return (size_t)(end + 4 - p);
}

static void on_frame(struct conn *c, unsigned char first, const char *p, size_t n)
{
    switch (first) {
    case 0x81:
    case 0x82:
        on_message(c, p, n);
        return;
    case 0x89: {
        char pong[140] = {(char)0x8a, (char)(0x80 | n)}; /* with a mask of zeros */
        memcpy(pong + 6, p, n);
        conn_send(c, pong, n + 6);
        return;
    }
    case 0x8a:
        return;
    case 0x88:
        fail(c, "the server closed the connection");
        return;
    default:
        fail(c, "the server sent a frame that nobody expected");
    }
}

/* Tells the frames in p[0, n); returns what is left, or -1 when the connection ended. */
static ssize_t take_frames(struct conn *c, const char *p, size_t n)
{
    int fd = c->fd;
    while (n >= 2) {
        const unsigned char *b = (const unsigned char *)p;
        uint64_t length = b[1] & 127;
        size_t h = length < 126 ? 2 : length == 126 ? 4 : 10;
        if (b[1] & 128 || (b[0] & 8 && length > 125)) {
            fail(c, "the server broke the framing");
            return -1;
        }
        if (n < h)
            break;
        if (h > 2)
            for (length = 0, b += 2; b < (const unsigned char *)p + h; b++)
                length = length << 8 | *b;
        if (length > MAX_FRAME) {
            fail(c, "the server sent more than anybody could expect");
            return -1;
        }
        if (n - h < length)
            break;
        on_frame(c, (unsigned char)*p, p + h, length);
        if (c->fd != fd || c->phase == CONN_NONE)
            return -1;
        p += h + length;
        n -= h + length;
    }
    return (ssize_t)n;
}

static void keep(struct conn *c, const char *p, size_t n)
{
    char *part = n ? malloc(n) : NULL;
    if (n)
        memcpy(part, p, n);
    free(c->part);
    c->part = part;
    c->part_n = n;
}

static void on_readable(struct conn *c)
{
    size_t had = c->part_n;
    if (had)
        memcpy(inbox, c->part, had);
    ssize_t got = recv(c->fd, inbox + had, IN_BYTES, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            fail(c, got ? strerror(errno) : "the server ended the connection");
        return;
    }
    char *p = inbox;
    size_t n = had + (size_t)got;
    if (c->phase == CONN_UPGRADING) {
        size_t head = take_answer(c, p, n);
        if (c->phase == CONN_NONE)
            return;
        p += head;
        n -= head;
    }
    if (c->phase != CONN_UPGRADING) {
        ssize_t left = take_frames(c, p, n);
        if (left < 0)
            return;
        p += n - (size_t)left;
        n = (size_t)left;
    }
    if (n || had)
        keep(c, p, n);
    if (c->phase == CONN_READY)
        party.on.read(c);
}

void conn_event(struct conn *c, uint32_t events)
{
    if (c->phase == CONN_CONNECTING) {
        int error = 0;
        socklen_t n = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error)
            fail(c, strerror(error));
        else
            upgrade(c);
        return;
    }
    if (c->phase != CONN_NONE && events & EPOLLOUT)
        send_rest(c);
    if (c->phase != CONN_NONE && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(c);
}
