#include "supervisor/stop.h"
#include "common/clock.h"
#include "common/log.h"
#include "supervisor/notify.h"
#include "supervisor/supervisor.h"

#include <signal.h>

#define ROOM "stop"

static void stop_now(struct supervisor *s);

static void on_delay_over(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    stop_now(ctx);
}

void stop_init(struct supervisor *s)
{
    evtimer_assign(&s->stop.delay, s->base, on_delay_over, s);
}

void stop_fini(struct supervisor *s)
{
    event_del(&s->stop.delay);
}

/* A configuration without addresses: all listeners leave, their queues are served, then
 * they are closed. */
static void leave_listeners(struct supervisor *s)
{
    struct err e = {0};
    struct conf *none = conf_new();
    s->seating.in_haste = true;
    if (listeners_prepare(&s->listeners, none, s->slots.slots_n, &e) < 0 ||
        listeners_commit(&s->listeners, &e) < 0)
        log_error("listeners cannot be taken down in order: %s", e.text);
    conf_unref(none);
    seating_settle(s);
}

static void shut_down(struct member *m, int64_t now)
{
    int64_t ms = m->s->conf->main.shutdown_timeout;
    bool is_alive = member_is_alive(m);
    member_child(m)->state = CHILD_STOPPING;
    m->is_told_to_leave = true;
    m->kill_ms = now + ms + STOP_MARGIN_MS;
    if (is_alive)
        CREW_TELL(m, SHUTDOWN, struct msg_timeout, STR_NONE, -1, .ms = (uint32_t)ms);
    else
        crew_kill(m, SIGKILL); /* it serves nobody yet */
}

static void stop_now(struct supervisor *s)
{
    int64_t now = clock_now_ms();
    event_del(&s->stop.delay);
    leave_listeners(s);
    s->phase = SUPERVISOR_STOPPING;
    CREW_EACH(m, s)
    shut_down(m, now);
    stop_look(s);
}

static void become_unready(struct supervisor *s)
{
    int64_t ms = s->conf->main.shutdown_delay;
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    s->phase = SUPERVISOR_UNREADY;
    (void)notify_stopping();
    reload_cancel(s, "heliod is stopping");
    CREW_EACH(m, s)
    if (member_is_alive(m))
        CREW_TELL(m, UNREADY, struct msg_empty, STR_NONE, -1, 0);
    if (ms > 0)
        event_add(&s->stop.delay, &tv);
    else
        stop_now(s);
}

void stop_ask(struct supervisor *s, const char *who)
{
    if (s->phase <= SUPERVISOR_SERVING) {
        log_info("stopping: %s%s", who,
                 s->phase == SUPERVISOR_BOOTING ? ", before it was ready" : "");
        if (s->conf) /* whoever was served already is told, ready or not */
            become_unready(s);
        else
            stop_at_once(s, 0);
    } else {
        log_warn("stopping at once: %s", who);
        stop_at_once(s, 1);
    }
}

void stop_at_once(struct supervisor *s, int exit_code)
{
    s->exit_code = exit_code;
    s->phase = MAX(s->phase, SUPERVISOR_STOPPING);
    s->stop.at_once = true;
    event_del(&s->stop.delay);
    reload_cancel(s, "heliod is stopping");
    CREW_EACH(m, s)
    {
        m->is_told_to_leave = true;
        member_child(m)->state = CHILD_STOPPING;
        crew_kill(m, SIGKILL);
    }
    stop_look(s);
}

static void on_redis_gone(void *ctx)
{
    supervisor_leave(ctx);
}

void stop_look(struct supervisor *s)
{
    if (s->phase < SUPERVISOR_STOPPING || crew_n(s) > 0)
        return;
    if (s->redis && !s->stop.at_once && s->phase == SUPERVISOR_STOPPING) {
        s->phase = SUPERVISOR_ENDING;
        redis_child_stop(s->redis, on_redis_gone, s);
    } else if (s->phase == SUPERVISOR_STOPPING || s->stop.at_once) {
        s->phase = SUPERVISOR_ENDING;
        supervisor_leave(s);
    }
}
