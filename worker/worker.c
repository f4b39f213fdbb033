#include "worker/worker.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/census.h"
#include "worker/hub/bus_redis.h"
#include "worker/net/uring.h"
#include "worker/protocols/events.h"
#include "worker/query.h"
#include "worker/ws/deflate.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM "worker"
#define SPARE_DESCRIPTORS 64 /* kept back for Redis and the control channel */
#define FAREWELL_MS 1000
#define OPENING_GRACE_MS                                                                 \
    1000 /* a stopping worker waits this long for a request under way */

/* ---- logging: one line, one datagram to the supervisor; full means dropped and counted
 * ---- */

static void to_supervisor(void *ctx, enum log_level level, struct str line)
{
    (void)level;
    struct worker *w = ctx;
    if (send(WORKER_FD_LOG, line.p, line.n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
        w->counters)
        COUNT(w->counters, logs_dropped);
}

/* ---- what the pages ask ---- */

static const char *not_ready(void *ctx)
{
    static char text[256];
    const struct worker *w = ctx;
    if (w->unready || w->phase == WORKER_STOPPING)
        return "stopping";
    if (w->phase == WORKER_RETIRING)
        return "retiring";
    if (!w->bus)
        return "no configuration yet";
    if (w->bus->ops->is_up(w->bus))
        return NULL;
    snprintf(text, sizeof(text), "bus: %s", w->bus->ops->why_down(w->bus));
    return text;
}

static bool ask_counters(void *ctx)
{
    struct worker *w = ctx;
    return CHAN_SEND(&w->chan, ASK_COUNTERS, struct msg_empty, STR_NONE, -1, 0) == 0;
}

/* ---- clients ---- */

static void on_accept(void *ctx, int fd, unsigned listener)
{
    struct worker *w = ctx;
    conn_new(&w->net, fd, &transport_plain, &http_conn_ops, listener);
}

/* What else needs descriptors: Redis, the control channel, calls to the back ends. */
static size_t kept_back(const struct conf *conf)
{
    size_t n = SPARE_DESCRIPTORS;
    for (size_t i = 0; i < conf->main.endpoints.n; i++) {
        const struct conf_hooks *h = &conf->main.endpoints.v[i].hooks;
        if (h->authenticate.n || h->handshake.n || h->rooms.n || h->message.n ||
            h->connected.n || h->disconnected.n)
            n += (size_t)h->concurrency;
    }
    return n;
}

static void limit_connections(struct worker *w)
{
    struct rlimit r;
    size_t set = (size_t)w->conf->main.limits.connections, kept = kept_back(w->conf);
    w->acceptor.max_connections = set;
    w->acceptor.max_drained = 0;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
        return;
    size_t can = r.rlim_cur - MIN(kept, r.rlim_cur / 2);
    w->acceptor.max_connections = set ? MIN(set, can) : can;
    w->acceptor.max_drained = can;
}

/* ---- configuration ---- */

int worker_commit(struct worker *w, uint32_t gen, int fd, struct err *e)
{
    shadow_drop(&w->shadow);
    if (fd < 0)
        return err_set(e, "no descriptor is free in a worker to receive it into");
    if (shadow_read(&w->shadow, gen, fd, e) != 0)
        return -1;
    if (w->shadow.conf->main.io_uring != IO_URING_ON || w->net.uring ||
        uring_is_permitted(e))
        return 0;
    shadow_drop(&w->shadow);
    return err_add(e, "io_uring: on cannot be had");
}

void worker_abort(struct worker *w, uint32_t gen)
{
    if (w->shadow.gen == gen)
        shadow_drop(&w->shadow);
}

static struct endpoint *endpoint_find(struct worker *w, const struct conf_endpoint *c)
{
    LIST_EACH (node, &w->endpoints) {
        struct endpoint *e = container_of(node, struct endpoint, link);
        if (str_eq(e->set->c->path, c->path) && e->protocol == protocol_find(c->protocol))
            return e;
    }
    return NULL;
}

/* Endpoints that stay get new settings; new ones begin; the rest serves its last clients.
 */
static void apply_endpoints(struct worker *w)
{
    size_t n = w->shadow.conf->main.endpoints.n;
    LIST_EACH (node, &w->endpoints)
        container_of(node, struct endpoint, link)->gone = true;
    free(w->site.routes.v);
    w->site.routes.v = mem_new((n + 1) * sizeof(struct route));
    w->site.routes.n = n;
    for (size_t i = 0; i < n; i++) {
        struct settings *set = w->shadow.sets[i];
        struct endpoint *e = endpoint_find(w, set->c);
        if (e) {
            endpoint_apply(e, set);
        } else {
            e = endpoint_new(&w->services, set);
            list_append(&w->endpoints, &e->link);
        }
        w->site.routes.v[i] = (struct route){set->c, &e->env};
    }
}

/* Without it every write is a call of its own, and nothing else is different. */
static void apply_io_uring(struct worker *w, enum conf_io_uring want)
{
    struct err e = {0};
    if (net_use_uring(&w->net, want != IO_URING_OFF, &e) != 0)
        log_info("io_uring is not used: %s", e.text);
}

static void apply_numbers(struct worker *w, const struct conf_main *c)
{
    w->net.handshake_timeout_ms = c->client.handshake_timeout;
    w->net.ping_after_ms = c->client.ping_after;
    w->net.idle_timeout_ms = c->client.idle_timeout;
    w->net.close_timeout_ms = c->client.close_timeout;
    w->site.refusals = (enum conf_refusals)c->refusals;
    w->site.conf = c;
    w->site.max_head = (size_t)c->limits.header;
    w->site.max_fields = (size_t)c->limits.header_fields;
    limit_connections(w);
    apply_io_uring(w, (enum conf_io_uring)c->io_uring);
    log_set_level((enum log_level)c->log.level);
}

static void apply_to_connections(struct worker *w)
{
    for (size_t i = 0; i < w->net.conns_n; i++) {
        struct conn *c = w->net.conns[i];
        if (c->st.phase == CONN_OPEN)
            conn_due(c, net_now(&w->net)); /* times may have become shorter */
    }
}

static int open_bus(struct worker *w, struct err *e)
{
    struct buf path = {0};
    const struct conf_redis *redis = &w->conf->main.redis;
    buf_printf(&path, "%s/" REDIS_MANAGED_SOCKET, w->run_dir);
    w->bus = bus_redis_open(w->base, redis, buf_view(&path), &w->book, w->counters,
                            &hub_bus_events, w->hub, e);
    buf_free(&path);
    return w->bus ? 0 : -1;
}

int worker_apply(struct worker *w, uint32_t gen, struct err *e)
{
    if (!w->shadow.conf || w->shadow.gen != gen)
        return err_set(e, "configuration %u was not committed here", gen);
    apply_endpoints(w);
    conf_unref(w->conf);
    w->conf = w->shadow.conf; /* the references of the shadow go to their new owners */
    shadow_taken(&w->shadow);
    apply_numbers(w, &w->conf->main);
    if (w->bus)
        bus_redis_configure(w->bus, &w->conf->main.redis);
    else if (open_bus(w, e) != 0)
        return -1;
    hub_set_bus(w->hub, w->bus, w->conf->main.redis.linger);
    apply_to_connections(w);
    if (w->phase == WORKER_STARTING) {
        w->phase = WORKER_SERVING;
        acceptor_start(&w->acceptor);
    }
    return 0;
}

/* ---- the end ---- */

static void bus_flush(struct worker *w)
{
    if (w->bus)
        w->bus->ops->flush(w->bus);
}

/* Those that came out of the accept queues are upgraded, to be told like all others. */
static void tell_all(struct worker *w)
{
    const char *reason = w->end_code == 1001 ? "Server shutting down" : "Service restart";
    for (size_t i = 0; i < w->net.conns_n; i++) {
        struct conn *c = w->net.conns[i];
        int64_t age = net_now(&w->net) - c->st.opened_ms;
        if (c->st.phase == CONN_OPEN) {
            COUNT(w->counters, closed_shutdown);
            session_close(c, w->end_code, reason);
        } else if (c->st.phase == CONN_OPENING &&
                   (http_is_idle(c) || age > OPENING_GRACE_MS) &&
                   age > OPENING_GRACE_MS / 4) {
            conn_close(c, "worker stops");
        }
    }
}

void worker_stop(struct worker *w, unsigned code, int64_t timeout_ms)
{
    int64_t leave = net_now(&w->net) + timeout_ms;
    if (w->phase == WORKER_STOPPING && w->leave_ms <= leave)
        return;
    w->phase = WORKER_STOPPING;
    w->end_code = code;
    w->leave_ms = leave;
    w->site.is_leaving = true;
    cluster_leave(w->cluster);
    acceptor_drain_all(&w->acceptor);
    log_info("stopping: %zu connections are told %u", w->net.conns_n, code);
    tell_all(w);
}

void worker_retire(struct worker *w, int64_t timeout_ms)
{
    if (w->phase >= WORKER_RETIRING)
        return;
    w->phase = WORKER_RETIRING;
    w->leave_ms = net_now(&w->net) + timeout_ms;
    w->site.is_leaving = true;
    acceptor_drain_all(&w->acceptor);
    log_info("retiring: %zu connections stay", w->net.conns_n);
}

static void on_farewell(void *ctx, UNUSED const struct bus_reply *r)
{
    ((struct worker *)ctx)->done = true;
}

/* Whoever is here still is no longer. What that means to others has reached Redis when it
 * answers. */
static void take_leave(struct worker *w)
{
    w->farewell_ms = net_now(&w->net) + FAREWELL_MS;
    for (size_t i = 0; i < w->net.conns_n; i++)
        conn_close(w->net.conns[i], "worker stops");
    cluster_leave(w->cluster);
    hub_call(w->hub, &STR("PING"), 1, on_farewell, w);
    bus_flush(w);
}

/* Once a turn: is this the moment to go on, or to leave? */
static void look_at_the_end(struct worker *w)
{
    int64_t now_ms = net_now(&w->net);
    if (w->phase < WORKER_RETIRING)
        return;
    if (w->farewell_ms) {
        w->done |= now_ms >= w->farewell_ms;
        return;
    }
    if (w->phase == WORKER_STOPPING)
        tell_all(w);
    bool is_late = now_ms >= w->leave_ms;
    bool is_empty = w->net.conns_n == 0 && webhooks_waiting(w->webhooks) == 0;
    if (is_late && !is_empty && w->phase == WORKER_RETIRING)
        worker_stop(w, 1012, w->conf->main.shutdown_timeout);
    else if (is_empty || is_late)
        take_leave(w);
}

/* ---- chores ---- */

static void report_bus(struct worker *w)
{
    if (!w->bus)
        return;
    bool up = w->bus->ops->is_up(w->bus);
    const char *why = up ? "" : w->bus->ops->why_down(w->bus);
    if (up == w->bus_was_up && strncmp(why, w->bus_why, sizeof(w->bus_why) - 1) == 0)
        return;
    w->bus_was_up = up;
    snprintf(w->bus_why, sizeof(w->bus_why), "%s", why);
    CHAN_SEND(&w->chan, BUS_STATE, struct msg_flag, str_of(why), -1, .on = up);
}

static void on_second(void *ctx, int64_t now_ms)
{
    net_second(ctx, now_ms);
    struct worker *w = container_of((struct net *)ctx, struct worker, net);
    LIST_EACH_SAFE (node, &w->endpoints) {
        struct endpoint *e = container_of(node, struct endpoint, link);
        if (e->gone && e->env.connections == 0)
            endpoint_free(e);
    }
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct worker *w = arg;
    worker_stop(w, 1001, w->conf ? w->conf->main.shutdown_timeout : 0);
}

/* ---- birth and loop ---- */

static void ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
}

static struct event_base *new_base(void)
{
    struct event_config *cfg = event_config_new();
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
    struct event_base *base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    return base;
}

static int say_hello(struct worker *w, struct err *e)
{
    int rc = CHAN_SEND(&w->chan, HELLO, struct msg_hello, str_of(hub_server_id(w->hub)),
                       -1, .version = MSG_VERSION, .pid = (uint32_t)getpid(),
                       .slot = w->slot, .worker = w->number);
    return rc == 0 ? 0 : err_set(e, "the supervisor takes no message");
}

/* A node is a supervisor's life on a machine. */
static void open_cluster(struct worker *w)
{
    char host[64] = "";
    if (gethostname(host, sizeof(host) - 1) != 0 || !host[0])
        snprintf(host, sizeof(host), "localhost");
    snprintf(w->node, sizeof(w->node), "%s:%d", host, getppid());
    w->cluster = cluster_new(w->hub, &w->net,
                             &(struct cluster_self){.node = str_of(w->node),
                                                    .slot = w->slot,
                                                    .number = w->number,
                                                    .answer = census_answer,
                                                    .ctx = w});
}

static int worker_open(struct worker *w, struct err *e)
{
    w->counters = counters_map(WORKER_FD_COUNTERS, e);
    if (!w->counters)
        return -1;
    counters_zero_gauges(w->counters);
    w->base = new_base();
    if (!w->base)
        return err_set(e, "libevent gives no event base");
    list_init(&w->endpoints);
    list_init(&w->answers);
    if (net_init(&w->net, w->base, w->counters, e) != 0)
        return -1;
    w->net.wheel.on_second = on_second;
    w->net.site = &w->site;
    metrics_init(&w->metrics, ask_counters, w);
    acceptor_init(&w->acceptor, &w->net, w);
    w->acceptor.on_accept = on_accept;
    w->acceptor.on_drained = worker_drained;
    w->hub = hub_new(&w->net, events_seal);
    open_cluster(w);
    w->site = (struct http_site){.not_ready = not_ready,
                                 .ctx = w,
                                 .hub = w->hub,
                                 .cluster = w->cluster,
                                 .metrics = &w->metrics};
    w->webhooks = webhooks_new(w->base, &w->book, w->counters, e);
    if (!w->webhooks)
        return -1;
    w->services = (struct services){&w->net, w->hub, w->webhooks, net_now(&w->net)};
    evsignal_assign(&w->on_term, w->base, SIGTERM, on_term, w);
    evsignal_add(&w->on_term, NULL);
    if (chan_open(&w->chan, w->base, WORKER_FD_CHAN, MSG_S2W, &from_supervisor, w, e) !=
        0)
        return -1;
    return say_hello(w, e);
}

/* While hub and hooks stand: whoever waits for an answer of Redis gets one now. */
static void close_bus(struct worker *w)
{
    if (!w->bus)
        return;
    hub_set_bus(w->hub, NULL, 0);
    w->bus->ops->close(w->bus);
    w->bus = NULL;
}

static void worker_close(struct worker *w)
{
    query_fini(w);
    acceptor_fini(&w->acceptor);
    net_fini(&w->net);
    deflate_free(w->net.deflate);
    close_bus(w);
    webhooks_free(w->webhooks);
    cluster_free(w->cluster);
    hub_free(w->hub);
    shadow_drop(&w->shadow);
    LIST_EACH_SAFE (node, &w->endpoints)
        endpoint_free(container_of(node, struct endpoint, link));
    free(w->site.routes.v);
    conf_unref(w->conf);
    addresses_fini(&w->book);
    event_del(&w->on_term);
    chan_close(&w->chan);
    event_base_free(w->base);
    counters_unmap(w->counters);
    w->counters = NULL;
}

static bool owes_work(const struct worker *w)
{
    return net_owes(&w->net) || query_owes(w);
}

static int loop(struct worker *w)
{
    while (!w->done) {
        int how = EVLOOP_ONCE | (owes_work(w) ? EVLOOP_NONBLOCK : 0);
        int rc = event_base_loop(w->base, how);
        if (rc != 0) {
            log_error("the event loop failed (%d)", rc);
            return 1;
        }
        net_resume(&w->net);
        query_go_on(w);
        bus_flush(w);
        net_flush(&w->net);
        net_bury(&w->net);
        bus_flush(w); /* what the buried left behind */
        report_bus(w);
        look_at_the_end(w);
        net_end_turn(&w->net);
        COUNT(w->counters, turns);
    }
    return 0;
}

int worker_run(unsigned slot, unsigned number, const char *run_dir)
{
    char name[48];
    struct err e = {0};
    memory_init();
    struct worker w = {
        .slot = slot, .number = number, .run_dir = run_dir, .end_code = 1001};
    snprintf(name, sizeof(name), "worker[%u.%u]", slot, number);
    log_init(name, to_supervisor, &w);
    ignore_signals();
    if (worker_open(&w, &e) != 0) {
        log_error("cannot start: %s", e.text);
        return 1;
    }
    int rc = loop(&w);
    worker_close(&w);
    return rc;
}
