#include "worker/auth/webhook.h"

#include "common/clock.h"
#include "common/mem.h"
#include "worker/auth/hook_queue.h"

#include <curl/curl.h>
#include <event2/event_struct.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM "webhook"
#define ANSWER_MAX (1 << 20)
#define ANSWER_KEPT (64 << 10) /* of a line's buffer, between calls */
#define HEAD_MAX (64 << 10)
#define LINES_KEPT 64
#define CONNECTIONS_KEPT 256L
#define SIGNATURE_MAX 160
#define LOG_BURST 5
#define LOG_WINDOW_MS 10000

struct webhook_call {
    struct hook_ticket ticket; /* its place: in webhooks.stillborn, if there */
    struct list all;           /* in webhooks.calls */
    struct webhooks *w;
    struct line *line; /* once under way */
    webhook_fn fn;
    void *ctx;
    bool is_unheard; /* cancelled while under way */
    char why[192];   /* stillborn: why it could not start */
    size_t url_n, body_n;
    char text[]; /* url, NUL, body */
};

/* An easy handle with all it needs for one call, used again and again. */
struct line {
    struct list link; /* in webhooks.idle */
    CURL *easy;
    struct buf answer;
    size_t head_bytes;
    const char *cut; /* why the answer was cut off */
    char error[CURL_ERROR_SIZE];
    char signature[SIGNATURE_MAX];
    struct curl_slist signature_node; /* in front of the constant header fields */
    struct buf resolve;
    struct curl_slist resolve_node;
};

/* A socket curl wants watched. */
struct watch {
    struct list link;
    struct webhooks *w;
    struct event ev;
};

struct webhooks {
    struct event_base *base;
    const struct addresses *book;
    struct counters *counters;
    CURLM *multi;
    const char *ca_path;        /* libcurl's own */
    struct curl_slist *headers; /* of every call */
    struct event timer, deferred;
    struct list calls, idle, watches;
    struct list stillborn; /* could not start; told from the loop */
    struct hook_queue queue;
    size_t calls_n, unheard_n, idle_n;
};

#define SET(easy, option, value) BUG_ON(curl_easy_setopt(easy, option, value) != CURLE_OK)

static struct str url_of(const struct webhook_call *call)
{
    return (struct str){call->text, call->url_n};
}

static struct str body_of(const struct webhook_call *call)
{
    return (struct str){call->text + call->url_n + 1, call->body_n};
}

/* ── lines: what curl is told ── */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct line *line = arg;
    if (line->answer.n + size * n > ANSWER_MAX) {
        line->cut = "an answer over 1 MiB";
        return 0;
    }
    buf_put(&line->answer, p, size * n);
    return size * n;
}

static size_t on_head(char *p UNUSED, size_t size, size_t n, void *arg)
{
    struct line *line = arg;
    line->head_bytes += size * n;
    if (line->head_bytes > HEAD_MAX) {
        line->cut = "an answer with over 64 KiB of header fields";
        return 0;
    }
    return size * n;
}

/* curl 7.88 by itself opens sockets that an exec would inherit. */
static curl_socket_t on_open(void *arg UNUSED, curlsocktype purpose UNUSED,
                             struct curl_sockaddr *a)
{
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_for_good(CURL *easy, struct line *line)
{
    SET(easy, CURLOPT_PRIVATE, NULL);
    SET(easy, CURLOPT_POST, 1L);
    SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    SET(easy, CURLOPT_PROXY, ""); /* the environment's neither */
    SET(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, CURLOPT_USERAGENT, "heliod/" HELIOD_VERSION);
    SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)ANSWER_MAX);
    SET(easy, CURLOPT_ERRORBUFFER, line->error);
    SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    SET(easy, CURLOPT_WRITEDATA, line);
    SET(easy, CURLOPT_HEADERFUNCTION, on_head);
    SET(easy, CURLOPT_HEADERDATA, line);
    SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
}

static struct line *line_take(struct webhooks *w)
{
    if (!list_is_empty(&w->idle)) {
        struct line *line = container_of(w->idle.next, struct line, link);
        list_unlink(&line->link);
        w->idle_n--;
        return line;
    }
    struct line *line = NEW(struct line);
    list_init(&line->link);
    line->easy = curl_easy_init();
    BUG_ON(!line->easy);
    set_for_good(line->easy, line);
    return line;
}

static void line_free(struct line *line)
{
    list_unlink(&line->link);
    curl_easy_cleanup(line->easy);
    buf_free(&line->answer);
    buf_free(&line->resolve);
    free(line);
}

static void line_give(struct webhooks *w, struct line *line)
{
    if (w->idle_n >= LINES_KEPT) {
        line_free(line);
        return;
    }
    if (line->answer.cap > ANSWER_KEPT)
        buf_free(&line->answer);
    list_append(&w->idle, &line->link);
    w->idle_n++;
}

/* curl must never look a name up: it would do so in a thread that opens files. It gets
 * `host:port:ip,ip`. */
static void put_resolve(struct buf *out, struct str host, uint16_t port, struct str ips)
{
    buf_clear(out);
    buf_str(out, host);
    buf_printf(out, ":%u:", port);
    for (bool first = true; ips.n; first = false) {
        struct str ip = str_split(ips, ' ', &ips);
        bool is_v6 = ip.n && memchr(ip.p, ':', ip.n);
        buf_printf(out, is_v6 ? "%s[" STR_FMT "]" : "%s" STR_FMT, first ? "" : ",",
                   STR_ARG(ip));
    }
}

static int set_addresses(struct line *line, struct webhook_call *call)
{
    struct str host;
    uint16_t port;
    bool is_https;
    if (!url_host(url_of(call), &host, &port, &is_https)) {
        snprintf(call->why, sizeof(call->why), "not an http or https URL");
        return -1;
    }
    struct str ips = addresses_find(call->w->book, host);
    if (!ips.p) {
        snprintf(call->why, sizeof(call->why), "cannot resolve %s", log_esc(host));
        return -1;
    }
    bool is_numeric = ips.p == host.p;
    if (!is_numeric) {
        put_resolve(&line->resolve, host, port, ips);
        line->resolve_node.data = (char *)buf_cstr(&line->resolve);
    }
    SET(line->easy, CURLOPT_RESOLVE, is_numeric ? NULL : &line->resolve_node);
    return 0;
}

/* PROTOCOL A10: v1 = HMAC-SHA256(secret, t "." body). */
static struct curl_slist *sign(struct line *line, const struct webhook_call *call)
{
    char t[24];
    uint8_t mac[DIGEST_SHA256];
    struct buf hex = {0};
    if (!call->ticket.gate->hmac)
        return call->w->headers;
    int n = snprintf(t, sizeof(t), "%" PRId64 ".", clock_wall_ms() / 1000);
    struct str parts[] = {{t, (size_t)n}, body_of(call)};
    digest_hmac_sign(call->ticket.gate->hmac, parts, ARRAY_LEN(parts), mac);
    buf_hex(&hex, mac, sizeof(mac));
    snprintf(line->signature, sizeof(line->signature), "Heliod-Signature: t=%.*s,v1=%s",
             n - 1, t, buf_cstr(&hex));
    buf_free(&hex);
    line->signature_node =
        (struct curl_slist){.data = line->signature, .next = call->w->headers};
    return &line->signature_node;
}

static void set_ca(CURL *easy, const struct webhook_call *call)
{
    struct buf *ca = &call->ticket.gate->ca;
    struct curl_blob blob = {ca->p, ca->n, CURL_BLOB_NOCOPY};
    SET(easy, CURLOPT_CAINFO_BLOB, ca->n ? &blob : NULL);
    SET(easy, CURLOPT_CAPATH, ca->n ? NULL : call->w->ca_path); /* else both would do */
}

static void set_for_call(struct line *line, struct webhook_call *call)
{
    CURL *easy = line->easy;
    buf_clear(&line->answer);
    line->head_bytes = 0;
    line->cut = NULL;
    line->error[0] = '\0';
    SET(easy, CURLOPT_PRIVATE, call);
    SET(easy, CURLOPT_URL, url_of(call).p);
    SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_n);
    SET(easy, CURLOPT_POSTFIELDS, body_of(call).p);
    SET(easy, CURLOPT_HTTPHEADER, sign(line, call));
    SET(easy, CURLOPT_TIMEOUT_MS, (long)call->ticket.gate->timeout_ms);
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)call->ticket.gate->timeout_ms);
    set_ca(easy, call);
}

/* ── a call's life ── */

static struct webhook_call *call_of(struct hook_ticket *t)
{
    return container_of(t, struct webhook_call, ticket);
}

static void be_stillborn(struct webhook_call *call)
{
    list_append(&call->w->stillborn, &call->ticket.place);
    event_active(&call->w->deferred, 0, 0);
}

static void start(struct hook_ticket *t)
{
    struct webhook_call *call = call_of(t);
    struct webhooks *w = call->w;
    COUNT(w->counters, hooks_called);
    call->line = line_take(w);
    if (set_addresses(call->line, call) != 0)
        return be_stillborn(call);
    set_for_call(call->line, call);
    CURLMcode rc = curl_multi_add_handle(w->multi, call->line->easy);
    if (rc == CURLM_OK)
        return;
    snprintf(call->why, sizeof(call->why), "%s", curl_multi_strerror(rc));
    be_stillborn(call);
}

static bool is_failure(int status)
{
    return (status < 200 || status > 299) && status != 401 && status != 403;
}

static void report(struct webhook_call *call, int status, const char *why)
{
    unsigned swallowed;
    struct str host = STR("?");
    uint16_t port = 0;
    bool is_https;
    char words[CURL_ERROR_SIZE + 32];
    if (!is_failure(status))
        return;
    COUNT(call->w->counters, hooks_failed);
    if (!log_permit(&call->ticket.gate->limit, LOG_BURST, LOG_WINDOW_MS, &swallowed))
        return;
    url_host(url_of(call), &host, &port, &is_https);
    if (status)
        snprintf(words, sizeof(words), "status %d", status);
    log_warn("hook call failed host=%s port=%u why=%s unlogged=%u", log_esc(host), port,
             log_esc(str_of(status ? words : why)), swallowed);
}

static void show_waiting(const struct webhooks *w)
{
    COUNT_SET(w->counters, hooks_waiting, w->calls_n);
}

static void bury(struct webhook_call *call)
{
    struct webhooks *w = call->w;
    hook_queue_leave(&w->queue, &call->ticket);
    list_unlink(&call->all);
    w->calls_n--;
    w->unheard_n -= call->is_unheard;
    show_waiting(w);
    free(call);
}

static void end(struct webhook_call *call, int status, const char *why)
{
    struct webhooks *w = call->w;
    hook_queue_end(&call->ticket);
    report(call, status, why);
    if (call->fn)
        call->fn(call->ctx, status, status ? buf_view(&call->line->answer) : STR_NONE,
                 why);
    line_give(w, call->line);
    bury(call);
}

static const char *words_of(const struct line *line, CURLcode rc)
{
    if (line->cut)
        return line->cut;
    if (rc == CURLE_FILESIZE_EXCEEDED)
        return "an answer over 1 MiB";
    return line->error[0] ? line->error : curl_easy_strerror(rc);
}

static void on_done(struct webhooks *w, CURL *easy, CURLcode rc)
{
    struct webhook_call *call;
    char *private;
    long status = 0;
    BUG_ON(curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private) != CURLE_OK);
    call = (struct webhook_call *)(void *)private;
    if (rc == CURLE_OK)
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(w->multi, easy);
    end(call, (int)status, status ? NULL : words_of(call->line, rc));
}

static void collect(struct webhooks *w)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(w->multi, &left)))
        if (m->msg == CURLMSG_DONE)
            on_done(w, m->easy_handle, m->data.result); /* m dies with the removal */
}

static void on_deferred(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct webhooks *w = arg;
    struct list batch; /* what fails anew in fn waits for the next turn */
    list_take(&batch, &w->stillborn);
    while (!list_is_empty(&batch)) {
        struct webhook_call *call =
            call_of(container_of(batch.next, struct hook_ticket, place));
        list_unlink(&call->ticket.place);
        end(call, 0, call->why);
    }
}

/* ── curl on libevent ── */

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct watch *watch = arg;
    struct webhooks *w = watch->w; /* the watch may be gone behind the next line */
    int running;
    int mask =
        (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(w->multi, fd, mask, &running);
    collect(w);
}

static void on_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct webhooks *w = arg;
    int running;
    curl_multi_socket_action(w->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(w);
}

static void watch_free(struct watch *watch)
{
    event_del(&watch->ev);
    list_unlink(&watch->link);
    free(watch);
}

static struct watch *watch_new(struct webhooks *w, curl_socket_t fd)
{
    struct watch *watch = NEW(struct watch);
    watch->w = w;
    list_init(&watch->link);
    list_append(&w->watches, &watch->link);
    curl_multi_assign(w->multi, fd, watch);
    event_assign(&watch->ev, w->base, fd, 0, on_ready, watch);
    return watch;
}

static int on_curl_socket(CURL *easy UNUSED, curl_socket_t fd, int what, void *arg,
                          void *socket_arg)
{
    struct webhooks *w = arg;
    struct watch *watch = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (watch)
            watch_free(watch);
        return 0;
    }
    short events = EV_PERSIST;
    events |= what & CURL_POLL_IN ? EV_READ : 0;
    events |= what & CURL_POLL_OUT ? EV_WRITE : 0;
    if (!watch)
        watch = watch_new(w, fd);
    event_del(&watch->ev);
    event_assign(&watch->ev, w->base, fd, events, on_ready, watch);
    return event_add(&watch->ev, NULL);
}

static int on_curl_timer(CURLM *multi UNUSED, long timeout_ms, void *arg)
{
    struct webhooks *w = arg;
    struct timeval tv = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    return timeout_ms < 0 ? event_del(&w->timer) : event_add(&w->timer, &tv);
}

/* ── life ── */

static void set_multi(struct webhooks *w)
{
    curl_multi_setopt(w->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(w->multi, CURLMOPT_SOCKETDATA, w);
    curl_multi_setopt(w->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(w->multi, CURLMOPT_TIMERDATA, w);
    curl_multi_setopt(w->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
}

static void add_header(struct webhooks *w, const char *text)
{
    w->headers = curl_slist_append(w->headers, text);
    BUG_ON(!w->headers);
}

struct webhooks *webhooks_new(struct event_base *base, const struct addresses *book,
                              struct counters *counters, struct err *e)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        err_set(e, "libcurl does not start");
        return NULL;
    }
    struct webhooks *w = NEW(struct webhooks);
    w->base = base;
    w->book = book;
    w->counters = counters;
    w->multi = curl_multi_init();
    BUG_ON(!w->multi);
    w->ca_path = curl_version_info(CURLVERSION_NOW)->capath;
    set_multi(w);
    add_header(w, "Content-Type: application/json");
    add_header(w, "Expect:"); /* never wait for a 100 */
    event_assign(&w->timer, base, -1, 0, on_timer, w);
    event_assign(&w->deferred, base, -1, 0, on_deferred, w);
    hook_queue_init(&w->queue, start);
    list_init(&w->calls);
    list_init(&w->idle);
    list_init(&w->watches);
    list_init(&w->stillborn);
    return w;
}

static void abandon(struct webhook_call *call)
{
    webhook_fn fn = call->fn;
    void *ctx = call->ctx;
    if (call->ticket.state == HOOK_ACTIVE) {
        curl_multi_remove_handle(call->w->multi, call->line->easy);
        line_give(call->w, call->line);
        hook_queue_end(&call->ticket);
    }
    bury(call);
    if (fn)
        fn(ctx, 0, STR_NONE, "the worker ends");
}

/* From the last to the first: those behind must not move up. */
static void abandon_all(struct webhooks *w)
{
    while (!list_is_empty(&w->calls))
        abandon(container_of(w->calls.prev, struct webhook_call, all));
}

void webhooks_free(struct webhooks *w)
{
    if (!w)
        return;
    abandon_all(w);
    LIST_EACH_SAFE (node, &w->idle)
        line_free(container_of(node, struct line, link));
    curl_multi_cleanup(
        w->multi); /* closes what was kept alive, may still call on_curl_… */
    LIST_EACH_SAFE (node, &w->watches)
        watch_free(container_of(node, struct watch, link));
    hook_queue_fini(&w->queue);
    event_del(&w->timer);
    event_del(&w->deferred);
    curl_slist_free_all(w->headers);
    free(w);
    curl_global_cleanup();
}

static struct webhook_call *call_new(struct webhooks *w, struct str url, struct str body)
{
    struct webhook_call *call = mem_new(sizeof(*call) + url.n + 1 + body.n);
    call->w = w;
    call->url_n = url.n;
    call->body_n = body.n;
    memcpy(call->text, url.p, url.n);
    if (body.n)
        memcpy(call->text + url.n + 1, body.p, body.n);
    list_init(&call->all);
    list_append(&w->calls, &call->all);
    w->calls_n++;
    show_waiting(w);
    return call;
}

struct webhook_call *webhook_post(struct webhooks *w, const struct conf_hooks *conf,
                                  struct str url, struct str body, const void *order,
                                  webhook_fn fn, void *ctx)
{
    struct hook_gate *gate = hook_queue_admit(&w->queue, conf, order);
    if (!gate) {
        COUNT(w->counters, hooks_dropped);
        return NULL;
    }
    struct webhook_call *call = call_new(w, url, body);
    call->fn = fn;
    call->ctx = ctx;
    hook_queue_enter(&w->queue, &call->ticket, gate, order);
    return call;
}

/* One that waits never goes out. One under way goes on unheard: to abort it would have
 * the back end serve more at once than `concurrency` allows, and cost a connection. */
void webhook_cancel(struct webhook_call *call)
{
    call->fn = NULL;
    call->is_unheard = true;
    call->w->unheard_n++;
    if (call->ticket.state == HOOK_BLOCKED || call->ticket.state == HOOK_READY)
        bury(call);
}

size_t webhooks_waiting(const struct webhooks *w)
{
    return w->calls_n - w->unheard_n;
}
