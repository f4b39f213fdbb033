#include "supervisor/ctl/doctor.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/portholder.h"
#include "supervisor/ctl/heliod.h"

#include <netinet/in.h>
#include <signal.h>

#define PORT_OF_HELIOD 8000
#define PIDFILE "heliod.pid" /* beside the control socket */

/* Hosts that browsers trust without TLS (W3C Secure Contexts §3.1). */
static bool is_loopback_host(struct str host)
{
    return str_eq_nocase(host, STR("localhost")) || str_ends(host, STR(".localhost")) ||
           str_starts(host, STR("127.")) || str_is(host, "::1");
}

/* A page that came over TLS opens no ws://: mixed content. */
static bool is_mixed(const struct doctor *d)
{
    return !d->url.tls && str_starts(str_of(d->ctl->opt.origin), STR("https://")) &&
           !is_loopback_host(buf_view(&d->url.host));
}

static void explain_mixed(struct doctor *d, struct finding *f)
{
    struct buf url = {0};

    doctor_put_swapped(d, &url);
    finding_bad(f, DOCTOR_TLS,
                "a page from https:// may open wss:// only, the URL says ws://: browsers "
                "block it, whatever the server does");
    finding_fix(f, "use %s, and a server or proxy there that speaks TLS", buf_cstr(&url));
    f->goes_on = true;
    buf_free(&url);
}

static void explain_url(const char *why, struct buf *fixed, struct finding *f)
{
    finding_bad(f, DOCTOR_URL, "%s", why);
    if (fixed->n > 0)
        finding_fix(f, "use %s", buf_cstr(fixed));
    else
        finding_fix(f, "correct the URL: ws://host:port/path");
}

void doctor_prove_url(struct doctor *d, struct finding *f)
{
    struct buf fixed = {0};
    struct err e = {0};

    if (doctor_url_judge(str_of(d->text), &d->url, &fixed, &e) < 0)
        explain_url(e.text, &fixed, f);
    else if (is_mixed(d))
        explain_mixed(d, f);
    else
        finding_good(f, "%s", buf_cstr(&d->url.shown));
    buf_free(&fixed);
}

/* ---- the broker's own word ---- */

/* What the pidfile beside the control socket says. */
static void look_at_pidfile(struct str socket, struct buf *said)
{
    struct buf path = {0}, text = {0};
    struct err e;
    uint64_t pid;
    size_t slash = socket.n;

    while (slash > 0 && socket.p[slash - 1] != '/')
        slash--;
    buf_put(&path, socket.p, slash);
    buf_str(&path, STR(PIDFILE));
    if (fd_read_file(buf_cstr(&path), 64, &text, &e) < 0)
        buf_printf(said, "%s cannot be read", buf_cstr(&path));
    else if (!str_to_u64(str_split(buf_view(&text), '\n', &(struct str){0}), INT32_MAX,
                         &pid))
        buf_printf(said, "%s holds no pid", buf_cstr(&path));
    else if (pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
        buf_printf(said, "pid %" PRIu64 " of %s is gone", pid, buf_cstr(&path));
    else
        buf_printf(said, "pid %" PRIu64 " of %s exists", pid, buf_cstr(&path));
    buf_free(&path);
    buf_free(&text);
}

static void knock(struct doctor *d, const char *socket, struct finding *f)
{
    struct client c = {0};
    struct buf pidfile = {0};
    struct err e = {0};
    enum msg_status status = client_open(&c, socket, d->step_ms, &e);

    client_close(&c);
    d->is_running = status == END_OK;
    if (status == END_OK) {
        finding_good(f, "the control socket %s answers", socket);
    } else if (status == END_DENIED) {
        finding_none(f, "%s", e.text);
    } else {
        look_at_pidfile(str_of(socket), &pidfile);
        finding_bad(f, DOCTOR_NOT_RUNNING, "heliod is not running: %s; %s", e.text,
                    buf_cstr(&pidfile));
        finding_fix(f, "start it (service heliod start), or look into its log for why it "
                       "ended");
    }
    buf_free(&pidfile);
}

void doctor_prove_running(struct doctor *d, struct finding *f)
{
    const struct options *o = &d->ctl->opt;
    struct buf socket = {0};
    struct err e = {0};

    if (!o->config && !o->socket)
        finding_none(f, "not asked: no -c or -s");
    else if (o->config && heliod_socket_of(o->config, &socket, &e) < 0)
        finding_none(f, "%s", e.text);
    else
        knock(d, o->config ? buf_cstr(&socket) : o->socket, f);
    buf_free(&socket);
}

/* ---- the way there ---- */

const char *doctor_holder(const struct doctor *d)
{
    static char text[192];
    struct portholder holder;

    text[0] = '\0';
    if (d->is_local && portholder_tcp((const void *)&d->wire.peer, NULL, NULL, &holder))
        snprintf(text, sizeof(text), " (the port is %s)", portholder_text(&holder));
    return text;
}

/* Somebody listens at this port, but where only this machine gets. */
static bool is_loopback_only(uint16_t port)
{
    struct sockaddr_in four = {.sin_family = AF_INET,
                               .sin_port = htons(port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6,
                               .sin6_port = htons(port),
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct portholder holder;

    return portholder_tcp((const void *)&four, NULL, NULL, &holder) ||
           portholder_tcp((const void *)&six, NULL, NULL, &holder);
}

/* Without a port in the URL: is it heliod's own that was meant? */
static bool is_port_forgotten(struct doctor *d)
{
    struct doctor_wire w;
    struct err e;
    bool there =
        !d->url.has_port && doctor_wire_open(&w, buf_cstr(&d->url.host), PORT_OF_HELIOD,
                                             d->step_ms, &e) == REACH_OK;

    if (there)
        doctor_wire_close(&w);
    return there;
}

static void explain_refused(struct doctor *d, struct finding *f)
{
    const char *host = buf_cstr(&d->url.host);
    unsigned port = d->url.port;

    if (is_port_forgotten(d)) {
        finding_bad(
            f, DOCTOR_URL,
            "the URL names no port, so %u was tried, where nothing listens; at %d "
            "something does",
            port, PORT_OF_HELIOD);
        finding_fix(f, "use %s://%s:%d…", d->url.tls ? "wss" : "ws", host,
                    PORT_OF_HELIOD);
    } else if (d->is_local && is_loopback_only(port)) {
        finding_bad(f, DOCTOR_REACH,
                    "port %u is bound to a loopback address only, %s is another one",
                    port, host);
        finding_fix(f, "set `listeners: [{address: \"*:%u\"}]` in heliod.yaml", port);
    } else if (d->is_running) {
        finding_bad(f, DOCTOR_REACH, "heliod runs, but %s refuses port %u", host, port);
        finding_fix(f, "compare the `listeners` of its configuration, and firewalls that "
                       "reject");
    } else if (d->is_local) {
        finding_bad(f, DOCTOR_NOT_RUNNING,
                    "connection refused: nothing listens at port %u of this machine",
                    port);
        finding_fix(f, "start heliod (service heliod start), or compare the port with "
                       "`listeners` in heliod.yaml");
    } else {
        finding_bad(f, DOCTOR_NOT_RUNNING,
                    "connection refused: %s is there, but nothing listens at port %u for "
                    "this address",
                    host, port);
        finding_fix(f, "on that machine, run helioctl doctor for 127.0.0.1: if it is "
                       "healthy there, the listener is bound to loopback or a firewall "
                       "rejects; else start heliod");
    }
}

static void explain_reach(struct doctor *d, enum reach reach, const char *why,
                          struct finding *f)
{
    const char *host = buf_cstr(&d->url.host);

    switch (reach) {
    case REACH_NO_NAME:
        finding_bad(f, DOCTOR_REACH, "the name %s does not resolve: %s", host, why);
        finding_fix(f, "correct the host in the URL, or add it to the DNS");
        return;
    case REACH_REFUSED:
        explain_refused(d, f);
        return;
    case REACH_TIMEOUT:
        finding_bad(f, DOCTOR_REACH,
                    "no answer from %s port %u within %" PRId64
                    " s: filtered, or its queue is full",
                    host, (unsigned)d->url.port, d->step_ms / 1000);
        finding_fix(f, "let the firewall pass this port; if the server is overloaded, "
                       "look at its log");
        return;
    default:
        finding_bad(f, DOCTOR_REACH, "no way to %s: %s", host, why);
        finding_fix(f,
                    "correct the address, the route to it, or the firewall on the way");
        return;
    }
}

static bool secure(struct doctor *d, struct doctor_wire *w, struct finding *f)
{
    const char *why;

    if (doctor_wire_secure(w, d->trust, buf_cstr(&d->url.host),
                           clock_now_ms() + d->step_ms) == GOT_IT)
        return true;
    doctor_tls_fault(w->tls, &why);
    finding_bad(f, DOCTOR_TLS,
                "TLS was spoken before, but not on a further connection%s%s",
                *why ? ": " : "", why);
    finding_fix(f, "look into the log of the server or of the proxy that speaks TLS");
    return false;
}

bool doctor_connect(struct doctor *d, struct doctor_wire *w, struct finding *f)
{
    struct err e = {0};
    enum reach reach =
        doctor_wire_open(w, buf_cstr(&d->url.host), d->url.port, d->step_ms, &e);

    d->wire.peer = w->peer;
    d->is_local = reach != REACH_NO_NAME && doctor_wire_is_local(&w->peer);
    if (reach != REACH_OK)
        explain_reach(d, reach, e.text, f);
    return reach == REACH_OK && (!d->is_secure || secure(d, w, f));
}

void doctor_prove_reach(struct doctor *d, struct finding *f)
{
    struct doctor_wire w;

    if (doctor_connect(d, &w, f))
        finding_good(f, "connected to %s port %u%s", buf_cstr(&d->url.host),
                     (unsigned)d->url.port, d->is_local ? ", this machine" : "");
    doctor_wire_close(&w);
}
