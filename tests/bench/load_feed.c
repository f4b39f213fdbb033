#define _GNU_SOURCE
#include "load_feed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BOUND (64u << 20)

int feed_mark;
static struct {
    int fd, epoll;
    bool posts, busy; /* busy: a POST is not answered yet */
    char room[64];    /* of Redis; the path of POSTs */
    char *out, *in;
    size_t out_n, out_cap, in_n, due_n; /* due_n: of out, may be sent now */
    const char *failure;
} feed;

static int dial_port(int port)
{
    int one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return connect(fd, (struct sockaddr *)&a, sizeof a) ? -1 : fd;
}

static int dial_path(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&a, sizeof a) ? -1 : fd;
}

const char *feed_open(const char *what, int epoll)
{
    char kind[8], where[108];
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
                            .data.ptr = &feed_mark};
    if (sscanf(what, "%7[^:]:%107[^:]:%63s", kind, where, feed.room) != 3)
        return "a feed is redis:PATH:ROOM, redis:PORT:ROOM or post:PORT:PATH";
    feed.posts = !strcmp(kind, "post");
    if (!feed.posts && strcmp(kind, "redis"))
        return "a feed is redis or post";
    feed.fd = *where == '/' ? dial_path(where) : dial_port(atoi(where));
    if (feed.fd < 0)
        return strerror(errno);
    fcntl(feed.fd, F_SETFL, O_NONBLOCK);
    feed.epoll = epoll;
    feed.in = malloc(65536);
    epoll_ctl(epoll, EPOLL_CTL_ADD, feed.fd, &e);
    return NULL;
}

static void put(const char *p, size_t n)
{
    if (feed.out_n + n > feed.out_cap) {
        feed.out_cap = 2 * (feed.out_n + n);
        feed.out = realloc(feed.out, feed.out_cap);
        if (!feed.out || feed.out_cap > BOUND)
            abort();
    }
    memcpy(feed.out + feed.out_n, p, n);
    feed.out_n += n;
}

void feed_publish(const char *payload, size_t n)
{
    char head[512], wrap[256];
    if (feed.posts) {
        put(head, (size_t)snprintf(head, sizeof head,
                                   "POST %s HTTP/1.1\r\nHost: bench\r\n"
                                   "Content-Length: %zu\r\n\r\n",
                                   feed.room, n));
        put(payload, n);
        return;
    }
    size_t wrap_n = (size_t)snprintf(
        wrap, sizeof wrap,
        "{\"serverId\":\"emitter\",\"type\":\"room\",\"target\":\"%s\",\"event\":\"m\","
        "\"data\":\"",
        feed.room);
    put(head, (size_t)snprintf(head, sizeof head,
                               "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\nws:room:%s\r\n$%zu\r\n",
                               strlen("ws:room:") + strlen(feed.room), feed.room,
                               wrap_n + n + 2));
    put(wrap, wrap_n);
    put(payload, n);
    put("\"}\r\n", 4);
}

/* One POST at a time: its length stands in its head. */
static size_t first_post(void)
{
    char *end = memmem(feed.out, feed.out_n, "\r\n\r\n", 4);
    char *length = memmem(feed.out, feed.out_n, "Content-Length: ", 16);
    return end ? (size_t)(end + 4 - feed.out) + strtoul(length + 16, NULL, 10) : 0;
}

void feed_flush(void)
{
    if (feed.posts && !feed.busy && !feed.due_n && feed.out_n) {
        feed.due_n = first_post();
        feed.busy = true;
    }
    if (!feed.posts)
        feed.due_n = feed.out_n;
    while (feed.due_n) {
        ssize_t sent = send(feed.fd, feed.out, feed.due_n, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                feed.failure = strerror(errno);
            return;
        }
        memmove(feed.out, feed.out + sent, feed.out_n - (size_t)sent);
        feed.out_n -= (size_t)sent;
        feed.due_n -= (size_t)sent;
    }
}

/* Every answer of Redis is `:receivers`; anything else is a failure. */
static void take_redis(void)
{
    char *line = feed.in, *end;
    while ((end = memchr(line, '\n', feed.in_n - (size_t)(line - feed.in)))) {
        if (*line != ':')
            feed.failure = "Redis refused a PUBLISH";
        else if (line[1] == '0')
            feed.failure = "nobody had subscribed to the channel";
        line = end + 1;
    }
    feed.in_n -= (size_t)(line - feed.in);
    memmove(feed.in, line, feed.in_n);
}

static void take_post(void)
{
    char *end = memmem(feed.in, feed.in_n, "\r\n\r\n", 4);
    if (!end)
        return;
    char *length = memmem(feed.in, feed.in_n, "Content-Length: ", 16);
    size_t all =
        (size_t)(end + 4 - feed.in) + (length ? strtoul(length + 16, NULL, 10) : 0);
    if (feed.in_n < all)
        return;
    if (feed.in[9] != '2')
        feed.failure = "a POST was refused";
    feed.in_n = 0;
    feed.busy = false;
}

void feed_event(uint32_t events)
{
    ssize_t got = 0;
    while (events & EPOLLIN && feed.in_n < 65536 &&
           (got = recv(feed.fd, feed.in + feed.in_n, 65536 - feed.in_n, 0)) > 0) {
        feed.in_n += (size_t)got;
        if (feed.posts)
            take_post();
        else
            take_redis();
    }
    if (events & EPOLLIN && (got == 0 || (got < 0 && errno != EAGAIN)))
        feed.failure = "the feed's connection ended";
    feed_flush();
}

const char *feed_failure(void)
{
    return feed.failure;
}
