#include "worker/hub/bus_redis_link.h"

#include "common/clock.h"
#include "common/fd.h"

#include <hiredis/read.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define READ_CHUNK (64 * 1024)
#define READS_PER_TURN 4
#define SLICE_MS 50 /* of answering in one go: each may mean thousands of deliveries */
#define READER_KEEP (256 * 1024) /* hiredis gives back a larger empty buffer */
#define READER_REST 4096
#define OUT_KEEP (256 * 1024)
#define TEXT_KEEP (256 * 1024)
#define ELEMENTS_MAX 8  /* of an array with a meaning */
#define ELEMENT_COST 16 /* at least, of one that is only counted */

/* ---- hiredis' reader hands us pieces; they are copied once into the link's own texts
 * ---- */

/* What the reader holds is bounded by is_reader_sane; this bounds an array, which it
 * gives away element by element. */
static bool has_room_for(struct redis_link *l, size_t more)
{
    l->taken += ELEMENT_COST + more;
    return l->taken <= LINK_REPLY_MAX;
}

static void begin_reply(struct redis_link *l, enum link_type type)
{
    l->reply = (struct link_reply){.type = type};
    l->taken = 0;
    l->is_any = false;
}

static void *piece(const redisReadTask *task, struct str s, enum link_type type)
{
    struct redis_link *l = task->privdata;
    size_t i = task->parent ? (size_t)task->idx : 0;
    if (!task->parent)
        begin_reply(l, type);
    if (!has_room_for(l, s.n))
        return NULL;
    if (i >= LINK_ELEMENTS || l->is_any)
        return l;
    buf_clear(&l->text[i]);
    buf_str(&l->text[i], s);
    return l;
}

static void *on_string(const redisReadTask *task, char *p, size_t n)
{
    enum link_type type = task->type == REDIS_REPLY_STATUS  ? LINK_STATUS
                          : task->type == REDIS_REPLY_ERROR ? LINK_ERROR
                                                            : LINK_BULK;
    return piece(task, (struct str){p, n}, type);
}

static void *on_array(const redisReadTask *task, int n)
{
    struct redis_link *l = task->privdata;
    if (!task->parent) {
        begin_reply(l, LINK_ARRAY);
        l->reply.n = (size_t)n;
        l->is_any = l->events->takes_any(l);
    }
    if (!l->is_any && (task->parent || n > ELEMENTS_MAX))
        return NULL; /* nothing we asked for is answered like that */
    return n >= 0 && has_room_for(l, 0) ? l : NULL;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    struct redis_link *l = task->privdata;
    void *object = piece(task, STR_NONE, LINK_INTEGER);
    l->reply.integer = value;
    return object;
}

static void *on_nil(const redisReadTask *task)
{
    return piece(task, STR_NONE, LINK_NIL);
}

static void on_free(UNUSED void *object) {}

static redisReplyObjectFunctions pieces = {on_string, on_array, on_integer, on_nil,
                                           on_free};

/* ---- birth and end ---- */

void redis_link_init(struct redis_link *l, struct event_base *base,
                     const struct redis_link_events *events, void *ctx)
{
    *l = (struct redis_link){.base = base, .events = events, .ctx = ctx, .fd = -1};
}

void redis_link_close(struct redis_link *l)
{
    if (l->fd < 0)
        return;
    event_del(&l->rd);
    event_del(&l->wr);
    fd_close(&l->fd);
    redisReaderFree(l->reader);
    l->reader = NULL;
    l->is_connected = false;
    buf_free(&l->out);
    l->sent = 0;
    for (size_t i = 0; i < LINK_ELEMENTS; i++)
        buf_free(&l->text[i]);
}

void redis_link_fini(struct redis_link *l)
{
    redis_link_close(l);
    if (l->gone)
        *l->gone = true;
}

static void lose(struct redis_link *l, const char *why)
{
    redis_link_close(l);
    l->events->lost(l, why);
}

void redis_link_break(struct redis_link *l, const char *why)
{
    if (l->fd < 0 || l->broken[0])
        return;
    snprintf(l->broken, sizeof(l->broken), "%s", why);
    event_active(&l->rd, EV_READ, 0);
}

/* ---- replies ---- */

static void finish_reply(struct redis_link *l)
{
    for (size_t i = 0; i < LINK_ELEMENTS; i++)
        l->reply.element[i] =
            i < l->reply.n && !l->is_any ? buf_view(&l->text[i]) : STR_NONE;
    if (l->reply.type != LINK_ARRAY)
        l->reply.text = buf_view(&l->text[0]);
    l->heard_ms = clock_now_ms();
}

static void trim_texts(struct redis_link *l)
{
    for (size_t i = 0; i < LINK_ELEMENTS; i++)
        if (l->text[i].cap > TEXT_KEEP)
            buf_free(&l->text[i]);
}

/* Bounds what waits in the reader; a line without an end would be searched again with
 * every read. */
static bool is_reader_sane(const redisReader *r)
{
    size_t waiting = r->len - r->pos;
    if (waiting > LINK_REPLY_MAX)
        return false;
    return waiting <= LINK_LINE_MAX || memchr(r->buf + r->pos, '\n', LINK_LINE_MAX);
}

/* false: the link is closed, or even gone. */
static bool tell(struct redis_link *l)
{
    bool is_gone = false;
    l->gone = &is_gone;
    l->events->reply(l, &l->reply);
    if (is_gone)
        return false;
    l->gone = NULL;
    return l->fd >= 0;
}

/* The loop's turn ends here, so that what was delivered goes out; then it goes on. */
static void go_on_later(struct redis_link *l)
{
    l->is_behind = true;
    event_active(&l->rd, EV_READ, 0);
    event_base_loopbreak(l->base);
}

/* Answers everything that has come whole. false: the link is closed, or this has taken
 * long enough. */
static bool take_replies(struct redis_link *l)
{
    int64_t until = clock_now_ms() + SLICE_MS;
    void *object;
    l->is_behind = false;
    for (;;) {
        if (redisReaderGetReply(l->reader, &object) != REDIS_OK) {
            lose(l, l->taken > LINK_REPLY_MAX
                        ? "a reply over the limit"
                        : "what it sends is not the Redis protocol");
            return false;
        }
        if (!object)
            break;
        finish_reply(l);
        if (!tell(l))
            return false;
        trim_texts(l);
        if (clock_now_ms() >= until) {
            go_on_later(l);
            return false;
        }
    }
    if (is_reader_sane(l->reader))
        return true;
    lose(l, "a reply over the limit");
    return false;
}

static void on_readable(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct redis_link *l = arg;
    static char chunk[READ_CHUNK]; /* one loop, one reader at a time */
    if (l->broken[0]) {
        char why[sizeof(l->broken)];
        memcpy(why, l->broken, sizeof(why));
        lose(l, why);
        return;
    }
    if (l->is_behind && !take_replies(l))
        return;
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = recv(l->fd, chunk, sizeof(chunk), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            lose(l, n == 0 ? "Redis closed the connection" : strerror(errno));
            return;
        }
        if (redisReaderFeed(l->reader, chunk, (size_t)n) != REDIS_OK) {
            lose(l, "out of memory for a reply");
            return;
        }
        l->reader->maxbuf = READER_KEEP;
        if (!take_replies(l) || n < (ssize_t)sizeof(chunk))
            return;
    }
}

void redis_link_rest(struct redis_link *l)
{
    if (redis_link_unsent(l) == 0)
        buf_free(&l->out);
    if (!l->reader || l->is_behind || l->reader->len > 0 || l->reader->ridx >= 0)
        return; /* within a reply */
    for (size_t i = 0; i < LINK_ELEMENTS; i++)
        buf_free(&l->text[i]);
    l->reader->maxbuf = READER_REST; /* hiredis looks at it when it is fed again */
}

/* ---- connecting ---- */

static void on_writable(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
    struct redis_link *l = arg;
    if (l->is_connected) {
        redis_link_flush(l);
        return;
    }
    int error = 0;
    socklen_t n = sizeof(error);
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
        error = errno;
    if (error) {
        lose(l, strerror(error));
        return;
    }
    l->is_connected = true;
    l->heard_ms = clock_now_ms();
    event_add(&l->rd, NULL);
    l->events->connected(l);
}

int redis_link_open(struct redis_link *l, const struct sockaddr *sa, socklen_t n,
                    struct err *e)
{
    BUG_ON(l->fd >= 0);
    l->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return err_errno(e, "socket");
    if (sa->sa_family != AF_UNIX)
        setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(l->fd, sa, n) != 0 && errno != EINPROGRESS) {
        err_set(e, "%s", strerror(errno));
        fd_close(&l->fd);
        return -1;
    }
    l->reader = redisReaderCreateWithFunctions(&pieces);
    BUG_ON(!l->reader);
    l->reader->privdata = l;
    l->reader->maxbuf = READER_KEEP;
    l->queued = l->written = 0;
    l->broken[0] = 0;
    l->is_behind = false;
    l->taken = 0;
    event_assign(&l->rd, l->base, l->fd, EV_READ | EV_PERSIST, on_readable, l);
    event_assign(&l->wr, l->base, l->fd, EV_WRITE, on_writable, l);
    event_add(&l->wr, NULL);
    return 0;
}

/* ---- out ---- */

void redis_link_format(struct buf *out, struct str prefix, struct str s)
{
    buf_printf(out, "$%zu\r\n", prefix.n + s.n);
    buf_str(out, prefix);
    buf_str(out, s);
    buf_str(out, STR("\r\n"));
}

void redis_link_raw(struct redis_link *l, struct str bytes)
{
    buf_str(&l->out, bytes);
    l->queued += bytes.n;
}

void redis_link_command(struct redis_link *l, size_t arguments)
{
    size_t before = l->out.n;
    buf_printf(&l->out, "*%zu\r\n", arguments);
    l->queued += l->out.n - before;
}

void redis_link_argument(struct redis_link *l, struct str prefix, struct str s)
{
    size_t before = l->out.n;
    redis_link_format(&l->out, prefix, s);
    l->queued += l->out.n - before;
}

static void forget_sent(struct redis_link *l)
{
    if (redis_link_unsent(l) == 0) {
        buf_clear(&l->out);
        l->sent = 0;
        if (l->out.cap > OUT_KEEP)
            buf_free(&l->out);
    } else if (l->sent > OUT_KEEP && l->sent > l->out.n / 2) {
        buf_drop(&l->out, l->sent);
        l->sent = 0;
    }
}

void redis_link_flush(struct redis_link *l)
{
    if (l->fd < 0 || !l->is_connected || l->broken[0])
        return;
    while (redis_link_unsent(l)) {
        ssize_t n = send(l->fd, l->out.p + l->sent, redis_link_unsent(l), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            redis_link_break(l, strerror(errno));
            return;
        }
        if (n < 0) {
            event_add(&l->wr, NULL);
            break;
        }
        l->sent += (size_t)n;
        l->written += (uint64_t)n;
    }
    forget_sent(l);
}
