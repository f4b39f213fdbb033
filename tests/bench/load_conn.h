/* load_conn: one connection of the generator: socket, opening handshake, greetings,
 * frames in and out. Owns its descriptor and what could not be sent or read whole yet.
 * Never looks into a measured message. */
#ifndef BENCH_LOAD_CONN_H
#define BENCH_LOAD_CONN_H

#include "load_dialect.h"

#include <netinet/in.h>

enum conn_phase { CONN_NONE, CONN_CONNECTING, CONN_UPGRADING, CONN_GREETING, CONN_READY };

struct conn {
    int fd;
    enum conn_phase phase;
    bool publisher, awaits_write;
    uint8_t greeted; /* greetings answered */
    struct place at;
    uint64_t began_ns;
    char *part, *out; /* an unfinished frame; unsent bytes */
    size_t part_n, out_n;
    char *id; /* as the server told it; where {peer} is needed */
};

/* What a connection tells whoever runs it. */
struct conn_listener {
    void (*ready)(struct conn *c);
    void (*message)(struct conn *c, const char *p, size_t n);
    void (*failed)(struct conn *c, const char *why); /* closed already */
    void (*read)(struct conn *c);                    /* one read's messages were told */
};

struct conn_party { /* what the connections have in common */
    int epoll;
    const struct dialect *dialect;
    const char *path; /* instead of the dialect's; NULL: not */
    struct conn_listener on;
    struct sockaddr_in to[4];
    uint32_t to_n, sources; /* 127.0.0.1 … 127.0.0.<sources> */
};
extern struct conn_party party;

uint64_t conn_now_ns(void);
void conn_open(struct conn *c, uint32_t to); /* failed() may be told later */
void conn_event(struct conn *c, uint32_t events);
void conn_close(struct conn *c, bool reset);
/* A masked frame, made at `to` (room for 14 more than n bytes); returns its length. */
size_t conn_frame(char *to, const char *before, size_t before_n, const char *after,
                  size_t after_n, size_t payload_n, char **payload);
void conn_frame_mask(char *frame, size_t n);
void conn_send(struct conn *c, const char *p, size_t n);

#endif
