#include "supervisor/from_ctl.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/answers.h"
#include "supervisor/supervisor.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ROOM "ctl"
#define CTL_PAUSE_MS 200

/* One helioctl. It has one question at a time. */
struct client {
    struct list link;
    struct supervisor *s;
    struct chan chan;
    struct ucred who;
    uint32_t id; /* of its question */
    enum { CLIENT_IDLE, CLIENT_ASKS, CLIENT_RELOADS, CLIENT_REPLACES } state;
    struct question *question;
    uint32_t round; /* RELOADS */
    uint32_t slot;  /* REPLACES */
};

static void free_client(struct client *c)
{
    ask_drop(c->question);
    chan_close(&c->chan);
    list_unlink(&c->link);
    c->s->ctl.n--;
    free(c);
}

/* A client that takes nothing is not worth more of our memory. */
static void send_end(struct client *c, uint32_t id, enum msg_status status,
                     uint64_t count, struct str text)
{
    text.n = MIN(text.n, (size_t)MSG_TAIL_MAX);
    if (CHAN_SEND(&c->chan, END, struct msg_end, text, -1, .id = id, .status = status,
                  .count = count) < 0)
        log_debug("helioctl did not take its answer pid=%d", c->who.pid);
}

static void finish(struct client *c, enum msg_status status, uint64_t count,
                   struct str text)
{
    c->state = CLIENT_IDLE;
    c->question = NULL;
    chan_on_drained(&c->chan, NULL);
    send_end(c, c->id, status, count, text);
}

/* ── rows ── */

static void send_row(void *ctx, struct str json)
{
    struct client *c = ctx;
    if (json.n <= MSG_TAIL_MAX)
        (void)CHAN_SEND(&c->chan, ROW, struct msg_id, json, -1, .id = c->id);
}

static size_t on_row(void *ctx, struct str json)
{
    struct client *c = ctx;
    send_row(c, json);
    return chan_queued(&c->chan);
}

static void on_end(void *ctx, enum msg_status status, uint64_t count, struct str text)
{
    finish(ctx, status, count, text);
}

static const struct ask_reply reply = {.row = on_row, .end = on_end};

static void on_drained(void *ctx)
{
    struct client *c = ctx;
    if (c->question)
        ask_resume(c->question);
}

/* ── what it may ask ── */

static bool begin(struct client *c, uint32_t id, int state)
{
    if (c->state != CLIENT_IDLE) {
        send_end(c, id, END_FAILED, 0, STR("one question at a time"));
        return false;
    }
    if (!c->s->conf) {
        send_end(c, id, END_UNAVAILABLE, 0, STR("heliod is starting"));
        return false;
    }
    c->id = id;
    c->state = state;
    chan_on_drained(&c->chan, on_drained);
    return true;
}

static void on_CTL_QUERY(void *ctx, const struct msg_query *m, struct str tail,
                         int *fd UNUSED)
{
    struct client *c = ctx;
    if (!begin(c, m->id, CLIENT_ASKS))
        return;
    if (m->what >= QUERY_N) {
        finish(c, END_USAGE, 0, STR("unknown question"));
        return;
    }
    int n = answers_give(c->s, m->what, send_row, c);
    if (n >= 0)
        finish(c, END_OK, (uint64_t)n, STR_NONE);
    else
        c->question = ask_query(c->s, m, tail, &reply, c);
}

static void log_deed(const struct client *c, const char *deed)
{
    log_info("%s asked by helioctl uid=%u pid=%d", deed, c->who.uid, c->who.pid);
}

static void on_CTL_KICK(void *ctx, const struct msg_id *m, struct str tail,
                        int *fd UNUSED)
{
    struct client *c = ctx;
    if (!begin(c, m->id, CLIENT_ASKS))
        return;
    log_deed(c, "kick");
    c->question = ask_kick(c->s, tail, &reply, c);
}

static void on_CTL_SEND(void *ctx, const struct msg_id *m, struct str tail,
                        int *fd UNUSED)
{
    struct client *c = ctx;
    if (begin(c, m->id, CLIENT_ASKS))
        c->question = ask_one(c->s, MSG_PUBLISH, tail, &reply, c);
}

static void on_CTL_TICKET(void *ctx, const struct msg_id *m, struct str tail,
                          int *fd UNUSED)
{
    struct client *c = ctx;
    if (!begin(c, m->id, CLIENT_ASKS))
        return;
    log_deed(c, "a ticket");
    c->question = ask_one(c->s, MSG_TICKET, tail, &reply, c);
}

static void on_CTL_NOTIFY(void *ctx, const struct msg_id *m, struct str tail,
                          int *fd UNUSED)
{
    struct client *c = ctx;
    if (begin(c, m->id, CLIENT_ASKS))
        c->question = ask_one(c->s, MSG_NOTIFY, tail, &reply, c);
}

static void on_CTL_RELOAD(void *ctx, const struct msg_id *m, struct str tail UNUSED,
                          int *fd UNUSED)
{
    struct client *c = ctx;
    if (!begin(c, m->id, CLIENT_RELOADS))
        return;
    log_deed(c, "reload");
    if (supervisor_is_stopping(c->s))
        finish(c, END_UNAVAILABLE, 0, STR("heliod is stopping"));
    else
        c->round = reload_ask(c->s);
}

static void on_CTL_DRAIN(void *ctx, const struct msg_slot *m, struct str tail UNUSED,
                         int *fd UNUSED)
{
    struct client *c = ctx;
    struct err e = {0};
    if (!begin(c, m->id, CLIENT_REPLACES))
        return;
    log_deed(c, "drain");
    c->slot = m->slot;
    if (supervisor_is_stopping(c->s))
        finish(c, END_UNAVAILABLE, 0, STR("heliod is stopping"));
    else if (crew_replace(c->s, m->slot, &e) < 0)
        finish(c, END_FAILED, 0, str_of(e.text));
}

static void on_CTL_STOP(void *ctx, const struct msg_flag_id *m, struct str tail UNUSED,
                        int *fd UNUSED)
{
    struct client *c = ctx;
    if (!begin(c, m->id, CLIENT_ASKS))
        return;
    finish(c, END_OK, 0, STR_NONE);
    log_deed(c, m->on ? "stop at once" : "stop");
    if (m->on)
        stop_at_once(c->s, 0);
    else if (!supervisor_is_stopping(c->s))
        stop_ask(c->s, "helioctl");
}

static void on_CTL_LOG_LEVEL(void *ctx, const struct msg_level *m, struct str tail UNUSED,
                             int *fd UNUSED)
{
    struct client *c = ctx;
    if (!begin(c, m->id, CLIENT_ASKS))
        return;
    if (m->level > LOG_LEVEL_DEBUG) {
        finish(c, END_USAGE, 0, STR("unknown log level"));
        return;
    }
    crew_set_level(c->s, (enum log_level)m->level);
    log_deed(c, "log level");
    finish(c, END_OK, 0, STR_NONE);
}

static void on_gone(void *ctx, const char *why UNUSED)
{
    free_client(ctx);
}

static const struct msg_handlers from_ctl = {
    .CTL_QUERY = on_CTL_QUERY,
    .CTL_KICK = on_CTL_KICK,
    .CTL_SEND = on_CTL_SEND,
    .CTL_TICKET = on_CTL_TICKET,
    .CTL_NOTIFY = on_CTL_NOTIFY,
    .CTL_RELOAD = on_CTL_RELOAD,
    .CTL_DRAIN = on_CTL_DRAIN,
    .CTL_STOP = on_CTL_STOP,
    .CTL_LOG_LEVEL = on_CTL_LOG_LEVEL,
    .gone = on_gone,
};

/* ── news ── */

void ctl_reloaded(struct supervisor *s, uint32_t round, bool ok, const char *text)
{
    LIST_EACH_SAFE (node, &s->ctl.clients) {
        struct client *c = container_of(node, struct client, link);
        if (c->state == CLIENT_RELOADS && (int32_t)(round - c->round) >= 0)
            finish(c, ok ? END_OK : END_FAILED, ok ? s->conf->generation : 0,
                   str_of(text));
    }
}

void ctl_replaced(struct supervisor *s, unsigned slot, bool ok, const char *text)
{
    if (!ok)
        log_error("the worker of slot %u is not replaced: %s", slot, text);
    LIST_EACH_SAFE (node, &s->ctl.clients) {
        struct client *c = container_of(node, struct client, link);
        if (c->state == CLIENT_REPLACES && c->slot == slot)
            finish(c, ok ? END_OK : END_FAILED, 0, str_of(text));
    }
}

/* ── who may come in ── */

static bool is_in_group(const struct ctl *ctl, int fd, const struct ucred *who)
{
    gid_t groups[1024];
    socklen_t len = sizeof groups;
    if (!ctl->has_group)
        return false;
    if (who->gid == ctl->group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false;
    for (size_t i = 0; i < len / sizeof *groups; i++)
        if (groups[i] == ctl->group)
            return true;
    return false;
}

static bool may_enter(const struct ctl *ctl, int fd, struct ucred *who)
{
    socklen_t len = sizeof *who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &len) < 0)
        return false;
    return who->uid == 0 || who->uid == geteuid() || is_in_group(ctl, fd, who);
}

static void log_refused(const struct ucred *who)
{
    static struct log_limit limit;
    unsigned swallowed;
    if (log_permit(&limit, 5, 60000, &swallowed))
        log_warn("helioctl refused: permission denied uid=%u pid=%d swallowed=%u",
                 who->uid, who->pid, swallowed);
}

/* A refusal answers no question: its id is 0. What it has asked already is read first:
 * closing over unread messages would reset the connection, and the peer would never see
 * why. */
static void refuse(struct client *c, enum msg_status status, struct str why)
{
    char unread[64];
    send_end(c, 0, status, 0, why);
    for (int i = 0; i < 16 && recv(c->chan.fd, unread, sizeof unread, MSG_DONTWAIT) > 0;
         i++)
        continue;
    free_client(c);
}

static void admit(struct supervisor *s, int fd)
{
    struct err e = {0};
    struct client *c = NEW(struct client);
    c->s = s;
    bool is_welcome = may_enter(&s->ctl, fd, &c->who);
    if (chan_open(&c->chan, s->base, fd, MSG_C2S, &from_ctl, c, &e) < 0) {
        log_warn("helioctl refused: %s", e.text);
        free(c);
        return;
    }
    list_append(&s->ctl.clients, &c->link);
    s->ctl.n++;
    if (!is_welcome) {
        log_refused(&c->who);
        refuse(c, END_DENIED, STR("permission denied"));
    } else if (s->ctl.n > CTL_CLIENTS_MAX) {
        refuse(c, END_UNAVAILABLE, STR("too many helioctl at once"));
    }
}

/* Out of descriptors: who waits stays readable, and the loop would do nothing but look.
 */
static void pause_accepting(struct ctl *ctl)
{
    static const struct timeval pause = {0, CTL_PAUSE_MS * 1000};
    event_del(&ctl->readable);
    evtimer_add(&ctl->retry, &pause);
}

static void on_retry(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    event_add(&((struct supervisor *)ctx)->ctl.readable, NULL);
}

static void on_connect(evutil_socket_t listener, short what UNUSED, void *ctx)
{
    struct supervisor *s = ctx;
    int fd = accept4((int)listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        admit(s, fd);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        pause_accepting(&s->ctl);
}

/* ── the socket ── */

void ctl_init(struct supervisor *s)
{
    s->ctl.fd = -1;
    list_init(&s->ctl.clients);
    evtimer_assign(&s->ctl.retry, s->base, on_retry, s);
}

static int bind_path(int fd, const char *path, mode_t mode, struct err *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof un.sun_path)
        return err_set(e, "run_dir is too long: %s is no possible socket address", path);
    strcpy(un.sun_path, path);
    (void)unlink(path); /* the pidfile's lock says that nobody else has it */
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&un, sizeof un);
    umask(old);
    if (rc < 0 || listen(fd, CTL_CLIENTS_MAX) < 0 || chmod(path, mode) < 0)
        return err_errno(e, "control socket %s", path);
    return 0;
}

/* Workers talk to strangers: they must not get at what commands heliod. */
static int find_group(struct supervisor *s, const char *name, struct err *e)
{
    struct ctl *ctl = &s->ctl;
    if (spawn_group_find(name, &ctl->has_group, &ctl->group, e) < 0)
        return -1;
    if (ctl->has_group && s->user.drop && ctl->group == s->user.gid)
        return err_set(e,
                       "admin_group `%s` is the group of the workers' user, too: it "
                       "needs to be one of its own",
                       name);
    return 0;
}

/* What it has made when it fails is taken away by ctl_close. */
int ctl_open(struct supervisor *s, const char *admin_group, struct err *e)
{
    struct ctl *ctl = &s->ctl;
    struct buf path = {0};
    if (find_group(s, admin_group, e) < 0)
        return -1;
    buf_printf(&path, "%s/heliod.sock", s->run_dir);
    ctl->path = mem_strdup(buf_cstr(&path));
    buf_free(&path);
    ctl->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (ctl->fd < 0)
        return err_errno(e, "control socket");
    if (bind_path(ctl->fd, ctl->path, ctl->has_group ? 0660 : 0600, e) < 0)
        return -1;
    if (ctl->has_group && chown(ctl->path, (uid_t)-1, ctl->group) < 0)
        return err_errno(e, "admin_group `%s` cannot own %s", admin_group, ctl->path);
    event_assign(&ctl->readable, s->base, ctl->fd, EV_READ | EV_PERSIST, on_connect, s);
    event_add(&ctl->readable, NULL);
    return 0;
}

void ctl_close(struct supervisor *s)
{
    struct ctl *ctl = &s->ctl;
    LIST_EACH_SAFE (node, &ctl->clients)
        free_client(container_of(node, struct client, link));
    event_del(&ctl->retry);
    if (event_initialized(&ctl->readable))
        event_del(&ctl->readable);
    fd_close(&ctl->fd);
    if (ctl->path)
        (void)unlink(ctl->path);
    free(ctl->path);
    ctl->path = NULL;
}
