#include "supervisor/ctl/client.h"

#include "common/fd.h"

#include <sys/un.h>

static void on_row(void *ctx, const struct msg_id *m, struct str tail, int *fd UNUSED)
{
    struct client *c = ctx;

    if (m->id != c->id || c->done)
        return; /* of a question given up */
    c->row(c->row_ctx, tail);
    event_add(&c->deadline, &(struct timeval){.tv_sec = c->timeout_ms / 1000,
                                              .tv_usec = c->timeout_ms % 1000 * 1000});
}

/* Id 0: the supervisor refuses the connection as a whole, before it read a question. */
static void on_end(void *ctx, const struct msg_end *m, struct str tail, int *fd UNUSED)
{
    struct client *c = ctx;

    if ((m->id != c->id && m->id != 0) || c->done)
        return;
    c->done = true;
    c->status = m->status;
    c->count = m->count;
    err_set(&c->said, STR_FMT, STR_ARG(tail));
}

static void on_gone(void *ctx, const char *why)
{
    struct client *c = ctx;

    c->lost = true;
    err_set(&c->why, "%s", why);
}

static void on_deadline(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    struct client *c = ctx;

    c->late = true;
}

static const struct msg_handlers handlers = {
    .ROW = on_row, .END = on_end, .gone = on_gone};

static enum msg_status explain_connect(const char *path, struct err *e)
{
    switch (errno) {
    case ENOENT:
        err_set(e,
                "no broker at %s: there is no such socket (is heliod running? -s or -c "
                "name another)",
                path);
        return END_UNAVAILABLE;
    case ECONNREFUSED:
        err_set(e, "no broker at %s: nobody listens there any more (is heliod running?)",
                path);
        return END_UNAVAILABLE;
    case EACCES:
    case EPERM:
        err_set(e,
                "permission denied at %s: only root, heliod's own user and the members "
                "of its admin_group may use it",
                path);
        return END_DENIED;
    case EPROTOTYPE:
        err_set(e, "%s is not a control socket of heliod", path);
        return END_UNAVAILABLE;
    case EAGAIN:
        err_set(e, "the broker at %s does not take connections (time-out)", path);
        return END_UNAVAILABLE;
    default:
        err_errno(e, "cannot reach the broker at %s", path);
        return END_UNAVAILABLE;
    }
}

static enum msg_status connect_to(const char *path, int64_t timeout_ms, int *out,
                                  struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* connect() on a Unix socket waits while the backlog is full, as long as sends may
     * last. */
    struct timeval limit = {.tv_sec = timeout_ms / 1000,
                            .tv_usec = timeout_ms % 1000 * 1000};

    if (strlen(path) >= sizeof(address.sun_path)) {
        err_set(e, "%s: longer than a Unix socket's path may be (%zu bytes)", path,
                sizeof(address.sun_path) - 1);
        return END_UNAVAILABLE;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_errno(e, "cannot make a socket");
        return END_UNAVAILABLE;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        enum msg_status status = explain_connect(path, e);
        fd_close(&fd);
        return status;
    }
    *out = fd;
    return END_OK;
}

enum msg_status client_open(struct client *c, const char *path, int64_t timeout_ms,
                            struct err *e)
{
    int fd;
    enum msg_status status = connect_to(path, timeout_ms, &fd, e);

    if (status != END_OK)
        return status;
    *c = (struct client){.base = event_base_new(), .timeout_ms = timeout_ms};
    BUG_ON(!c->base);
    event_assign(&c->deadline, c->base, -1, EV_TIMEOUT, on_deadline, c);
    if (chan_open(&c->chan, c->base, fd, MSG_S2C, &handlers, c, e) < 0) {
        event_base_free(c->base);
        c->base = NULL;
        return END_UNAVAILABLE;
    }
    return END_OK;
}

void client_close(struct client *c)
{
    if (!c->base)
        return;
    chan_close(&c->chan);
    event_del(&c->deadline);
    event_base_free(c->base);
    c->base = NULL;
}

/* One batch of events, or the deadline. */
static void turn(struct client *c)
{
    BUG_ON(event_base_loop(c->base, EVLOOP_ONCE) < 0);
}

static void set_deadline(struct client *c, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    c->late = false;
    event_add(&c->deadline, &tv);
}

static enum msg_status lost(const struct client *c, struct err *e)
{
    err_set(e, "connection to the broker lost: %s", c->why.text);
    return END_UNAVAILABLE;
}

static enum msg_status conclude(const struct client *c, uint64_t *count, struct err *e)
{
    if (c->done) {
        *count = c->count;
        err_set(e, "%s", c->said.text);
        return c->status;
    }
    if (c->lost)
        return lost(c, e);
    if (c->stop) {
        err_set(e, "interrupted");
        return END_FAILED;
    }
    err_set(e, "the broker did not answer within %" PRId64 " s", c->timeout_ms / 1000);
    return END_UNAVAILABLE;
}

enum msg_status client_ask(struct client *c, enum msg_type type, void *fixed,
                           struct str tail, client_row_fn row, void *ctx, uint64_t *count,
                           struct err *e)
{
    c->id++;
    memcpy(fixed, &c->id, sizeof(c->id));
    c->row = row;
    c->row_ctx = ctx;
    c->done = false;
    /* A broker that hung up may have said why: that is still to be read, so a failed send
     * is not the end. */
    (void)chan_send(&c->chan, type, fixed, tail, -1);
    set_deadline(c, c->timeout_ms);
    while (!c->done && !c->lost && !c->late && !c->stop)
        turn(c);
    event_del(&c->deadline);
    return conclude(c, count, e);
}

int client_wait(struct client *c, int64_t ms, struct err *e)
{
    set_deadline(c, ms);
    while (!c->lost && !c->late && !c->stop)
        turn(c);
    event_del(&c->deadline);
    if (c->lost)
        lost(c, e);
    return c->lost ? -1 : 0;
}
