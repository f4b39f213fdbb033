/* client: helioctl's side of the control socket: one question at a time, its rows, its
 * end. Owns the connection and the small event loop it turns while it waits. Never waits
 * longer than the time-out without a sign of the broker. Built on chan, not on a blocking
 * recvmsg of its own: the layout of a message is known in one place, and `top` waits for
 * the broker, the keyboard, signals and the clock at once. */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include "common/chan.h"

#define CLIENT_SOCKET "/run/heliod/heliod.sock"

/* A row: one JSON object; dies when the call returns. */
typedef void (*client_row_fn)(void *ctx, struct str row);

struct client {
    struct event_base *base; /* NULL: not open */
    struct chan chan;
    struct event deadline;
    int64_t timeout_ms;
    uint32_t id; /* of the question under way */
    client_row_fn row;
    void *row_ctx;
    bool done, late, lost;
    bool stop;              /* set by others' callbacks on our base: wait no longer */
    enum msg_status status; /* once done */
    uint64_t count;
    struct err said; /* with the END: why not */
    struct err why;  /* lost */
};

/* END_OK, or END_UNAVAILABLE or END_DENIED with e set. A zeroed client may be closed. */
enum msg_status client_open(struct client *c, const char *path, int64_t timeout_ms,
                            struct err *e) NODISCARD;
void client_close(struct client *c);

/* Sends one question and turns the loop until its END. fixed: the message's payload,
 * whose first member is the id, set here. Anything but END_OK comes with e. */
enum msg_status client_ask(struct client *c, enum msg_type type, void *fixed,
                           struct str tail, client_row_fn row, void *ctx, uint64_t *count,
                           struct err *e) NODISCARD;
/* Turns the loop for a while; -1: the broker is gone. */
int client_wait(struct client *c, int64_t ms, struct err *e) NODISCARD;

#endif
