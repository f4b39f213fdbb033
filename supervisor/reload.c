#include "supervisor/reload.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "supervisor/conf_yaml.h"
#include "supervisor/notify.h"
#include "supervisor/supervisor.h"

#include <sched.h>
#include <unistd.h>

#define ROOM "reload"

static void begin(struct supervisor *s);

static void on_begin(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    struct supervisor *s = ctx;
    if (s->reload.state == RELOAD_IDLE && s->reload.is_asked)
        begin(s);
}

static void on_timeout(evutil_socket_t fd, short what, void *ctx);

void reload_init(struct supervisor *s)
{
    s->reload.fd = -1;
    evtimer_assign(&s->reload.timer, s->base, on_timeout, s);
    evtimer_assign(&s->reload.begin, s->base, on_begin, s);
}

static void forget_next(struct supervisor *s)
{
    struct reload *r = &s->reload;
    event_del(&r->timer);
    conf_unref(r->next);
    r->next = NULL;
    fd_close(&r->fd);
    memset(r->is_party, 0, sizeof r->is_party);
    r->waiting = 0;
    r->state = RELOAD_IDLE;
}

void reload_fini(struct supervisor *s)
{
    forget_next(s);
    event_del(&s->reload.begin);
}

unsigned reload_workers(const struct conf *c)
{
    cpu_set_t cpus;
    if (c->main.workers > 0)
        return (unsigned)MIN(c->main.workers, (int64_t)SLOTS_MAX);
    if (sched_getaffinity(0, sizeof cpus, &cpus) < 0)
        return 1;
    return (unsigned)MAX(1, MIN(CPU_COUNT(&cpus), SLOTS_MAX));
}

/* ── the end of a transaction ── */

static void answer(struct supervisor *s, bool ok, const char *text)
{
    uint32_t round = s->reload.round;
    if (s->reload.is_asked && !supervisor_is_stopping(s))
        event_active(&s->reload.begin, EV_TIMEOUT, 0);
    if (!supervisor_is_stopping(s) && s->phase != SUPERVISOR_BOOTING)
        (void)notify_ready(getpid());
    ctl_reloaded(s, round, ok, text);
}

/* Nothing has changed, and nobody has changed anything. */
static void fail(struct supervisor *s, const char *why)
{
    if (s->phase == SUPERVISOR_BOOTING) {
        supervisor_boot_failed(s, "%s", why);
        return;
    }
    log_error("reload refused, the old configuration stands: %s", why);
    answer(s, false, why);
}

static void drop(struct supervisor *s)
{
    uint32_t gen = s->reload.next->generation;
    CREW_EACH(m, s)
    if (s->reload.is_party[m->index]) {
        m->offered = 0; /* an answer that is on its way is ignored */
        CREW_TELL(m, CONF_ABORT, struct msg_gen, STR_NONE, -1, .gen = gen);
    }
    listeners_abandon(&s->listeners);
    if (s->conf)
        resolve_want(s->resolve, s->conf, NULL, NULL);
    forget_next(s);
}

static void abandon(struct supervisor *s, const char *why)
{
    drop(s);
    fail(s, why);
}

void reload_cancel(struct supervisor *s, const char *why)
{
    s->reload.is_asked = false;
    if (s->reload.state != RELOAD_IDLE && !s->conf)
        drop(s); /* the boot's own: nobody asked for it */
    else if (s->reload.state != RELOAD_IDLE)
        abandon(s, why);
    ctl_reloaded(s, s->reload.round + 1, false, why); /* who waits for the next one */
}

/* ── phase two ── */

static void apply_logs(struct supervisor *s, const struct conf *old)
{
    struct err e = {0};
    const struct conf_log *log = &s->conf->main.log;
    /* The boot has opened its own. */
    bool is_other = old && !str_eq(old->main.log.target, log->target);
    if (is_other && logsink_open(&s->logs, log->target, &e) < 0)
        log_error("%s: the old log stays", e.text);
    /* Ends what `helioctl log-level` has set. */
    crew_set_level(s, (enum log_level)log->level);
}

static void apply_slots(struct supervisor *s, unsigned old_n, unsigned n)
{
    for (unsigned i = n; i < old_n; i++)
        crew_retire(s, i);
    slot_table_resize(&s->slots, n, clock_now_ms());
    if (old_n != n && old_n)
        log_info("workers: %u, were %u", n, old_n);
}

static void apply(struct supervisor *s)
{
    struct reload *r = &s->reload;
    struct conf *old = s->conf;
    struct err e = {0};
    bool is_boot = !old;
    unsigned n = r->workers;
    event_del(&r->timer);
    if (listeners_commit(&s->listeners, &e) < 0) {
        if (is_boot) { /* nobody depends on us yet, so a half of it is no use */
            forget_next(s);
            fail(s, e.text);
            return;
        }
        log_error("a listener is missing: %s", e.text);
    }
    s->conf = r->next;
    r->next = NULL;
    fd_close(&s->conf_fd);
    s->conf_fd = r->fd;
    r->fd = -1;
    CREW_EACH(m, s)
    if (r->is_party[m->index]) {
        CREW_TELL(m, CONF_APPLY, struct msg_gen, STR_NONE, -1,
                  .gen = s->conf->generation);
        member_child(m)->generation = s->conf->generation;
    }
    forget_next(s);
    apply_logs(s, old);
    apply_slots(s, s->slots.slots_n, n);
    CREW_EACH(m, s) /* one that missed the transaction */
    if (member_is_running(m) && !m->offered &&
        member_child(m)->generation != s->conf->generation)
        crew_offer(m);
    conf_unref(old);
    seating_settle(s);
    crew_fill(s);
    if (is_boot)
        return;
    log_info("configuration %u is in force", s->conf->generation);
    answer(s, true, "");
}

/* ── phase one ── */

static void on_timeout(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    struct supervisor *s = ctx;
    struct err e = {0};
    CREW_EACH(m, s)
    if (s->reload.is_party[m->index] && m->offered)
        (void)err_set(
            &e,
            "the worker of slot %u did not answer within reload_timeout (%" PRId64 " ms)",
            member_child(m)->slot, s->conf->main.reload_timeout);
    abandon(s, e.text);
}

static void offer_to_all(struct supervisor *s)
{
    struct reload *r = &s->reload;
    uint32_t gen = r->next->generation;
    CREW_EACH(m, s)
    {
        if (!member_is_running(m) || member_child(m)->generation != s->conf->generation ||
            m->offered)
            continue;
        m->offered = gen;
        r->is_party[m->index] = true;
        r->waiting++;
        CREW_TELL(m, CONF_COMMIT, struct msg_gen, STR_NONE, r->fd, .gen = gen);
    }
}

static void on_resolved(void *ctx)
{
    struct supervisor *s = ctx;
    struct reload *r = &s->reload;
    struct err e = {0};
    r->next->generation = ++r->offered;
    r->fd = conf_seal(r->next, &e);
    if (r->fd < 0) {
        abandon(s, e.text);
        return;
    }
    crew_send_addresses(s, NULL);
    r->state = RELOAD_COMMITTING;
    if (s->conf)
        offer_to_all(s);
    if (r->waiting == 0) {
        apply(s);
        return;
    }
    int64_t ms = s->conf->main.reload_timeout;
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    event_add(&r->timer, &tv);
}

/* Takes the reference of `next`, also when it fails. */
static int prepare(struct supervisor *s, struct conf *next, struct err *e)
{
    struct reload *r = &s->reload;
    r->workers = reload_workers(next);
    if (listeners_prepare(&s->listeners, next, r->workers, e) < 0) {
        conf_unref(next);
        return -1;
    }
    r->next = next;
    r->state = RELOAD_RESOLVING;
    resolve_want(s->resolve, next, on_resolved, s);
    return 0;
}

int reload_boot(struct supervisor *s, struct conf *next, struct err *e)
{
    return prepare(s, next, e);
}

struct refusal {
    const struct conf *next;
    struct err *e;
    unsigned n;
};

static void collect_boot_key(void *ctx, const char *path, const struct conf_key *key,
                             struct str text UNUSED, int line)
{
    struct refusal *r = ctx;
    char where[32] = "";
    if (!(key->flags & CONF_BOOT))
        return;
    if (line > 0)
        snprintf(where, sizeof where, "%d: ", line);
    if (r->n++ == 0)
        (void)err_set(r->e, "%s:%s%s%s cannot change while heliod runs: restart it",
                      r->next->file, where, *where ? "" : " ", path);
}

static int refuse_boot_keys(const struct conf *live, const struct conf *next,
                            struct err *e)
{
    struct refusal r = {.next = next, .e = e};
    conf_diff(live, next, collect_boot_key, &r);
    if (r.n > 1) {
        size_t n = strlen(e->text);
        snprintf(e->text + n, sizeof e->text - n, " (and %u more such keys)", r.n - 1);
    }
    return r.n ? -1 : 0;
}

/* The log target is tried here, where a failure changes nothing yet. */
static int try_logs(const struct conf *live, const struct conf *next, struct err *e)
{
    struct logsink trial;
    if (str_eq(live->main.log.target, next->main.log.target))
        return 0;
    logsink_init(&trial);
    int rc = logsink_open(&trial, next->main.log.target, e);
    if (rc < 0)
        err_add(e, "%s:%d", next->file, conf_line(next, "log.target"));
    logsink_fini(&trial);
    return rc;
}

static void begin(struct supervisor *s)
{
    struct conf *next = NULL;
    struct err e = {0};
    s->reload.is_asked = false;
    s->reload.round++;
    (void)notify_reloading();
    log_info("reloading %s", s->options->conf_file);
    if (conf_yaml_load(s->options->conf_file, &next, &e) < 0) {
        fail(s, e.text);
        return;
    }
    if (refuse_boot_keys(s->conf, next, &e) < 0 || try_logs(s->conf, next, &e) < 0) {
        conf_unref(next);
        fail(s, e.text);
        return;
    }
    if (prepare(s, next, &e) < 0)
        fail(s, e.text);
}

uint32_t reload_ask(struct supervisor *s)
{
    struct reload *r = &s->reload;
    r->is_asked = true;
    if (r->state == RELOAD_IDLE && s->phase == SUPERVISOR_SERVING)
        event_active(&r->begin, EV_TIMEOUT, 0);
    return r->round + 1;
}

/* ── workers' answers ── */

static bool is_about_next(const struct reload *r, const struct member *m, uint32_t gen)
{
    return r->state == RELOAD_COMMITTING && r->is_party[m->index] &&
           gen == r->next->generation;
}

bool reload_agreed(struct supervisor *s, struct member *m, uint32_t gen)
{
    if (!is_about_next(&s->reload, m, gen))
        return false;
    if (--s->reload.waiting == 0)
        apply(s);
    return true;
}

bool reload_refused(struct supervisor *s, struct member *m, uint32_t gen, struct str why)
{
    struct err e = {0};
    if (!is_about_next(&s->reload, m, gen))
        return false;
    (void)err_set(&e, "%s: " STR_FMT, s->reload.next->file, STR_ARG(why));
    abandon(s, e.text);
    return true;
}

void reload_lost(struct supervisor *s, struct member *m)
{
    struct reload *r = &s->reload;
    struct err e = {0};
    if (r->state != RELOAD_COMMITTING || !r->is_party[m->index])
        return;
    r->is_party[m->index] = false;
    if (m->has_retire && !m->offered)
        return; /* it has agreed, and has left in order since */
    (void)err_set(
        &e, "the worker of slot %u died while it was looking at the new configuration",
        member_child(m)->slot);
    abandon(s, e.text);
}
