#include "supervisor/watch.h"
#include "common/log.h"
#include "supervisor/supervisor.h"

#include <signal.h>

#define ROOM "watch"
#define GRAIN_MS 1000        /* a healthy worker turns at least this often */
#define ABORT_GRACE_MS 2000  /* from SIGABRT to SIGKILL: time for a core */
#define START_LIMIT_MS 30000 /* from exec to READY, outside of a boot */

static void watch_turns(struct member *m, int64_t now)
{
    const struct child *c = member_child(m);
    uint64_t turns = __atomic_load_n(&m->page->turns, __ATOMIC_RELAXED);
    if (turns != m->turns || (c->state != CHILD_RUNNING && c->state != CHILD_RETIRING)) {
        m->turns = turns;
        m->turns_ms = now;
        return;
    }
    int64_t still = now - m->turns_ms;
    if (m->is_aborted || still < m->s->conf->main.watchdog + GRAIN_MS)
        return;
    log_error("worker is stuck: its loop has not turned for %" PRId64
              " ms: aborted slot=%u pid=%d",
              still, c->slot, c->pid);
    m->is_aborted = true;
    m->is_told_to_leave = false;
    m->kill_ms = now + ABORT_GRACE_MS;
    crew_kill(m, SIGABRT);
}

static void watch_kill(struct member *m, int64_t now)
{
    if (m->kill_ms == 0 || now < m->kill_ms)
        return;
    if (!m->is_aborted)
        log_warn("worker did not leave in time: killed slot=%u pid=%d",
                 member_child(m)->slot, member_child(m)->pid);
    m->kill_ms = now + CREW_GONE_GRACE_MS;
    crew_kill(m, SIGKILL);
}

static void watch_start(struct member *m, int64_t now)
{
    const struct child *c = member_child(m);
    if (c->state == CHILD_STARTING && m->s->phase != SUPERVISOR_BOOTING && !m->kill_ms &&
        now - c->started_ms >= START_LIMIT_MS)
        crew_give_up(m, "it does not become ready");
}

static void forgive(struct member *m, int64_t ms)
{
    struct child *c = member_child(m);
    m->turns_ms += ms;
    m->reaped_ms += ms;
    if (m->kill_ms)
        m->kill_ms += ms;
    if (c->state == CHILD_STARTING)
        c->started_ms += ms;
}

void watch_all(struct supervisor *s, int64_t now, int64_t late)
{
    CREW_EACH(m, s)
    {
        forgive(m, late);
        if (m->is_reaped) { /* its channel should have ended long ago */
            if (now - m->reaped_ms > CREW_GONE_GRACE_MS) {
                m->is_gone = true;
                crew_look_for_death(m);
            }
            continue;
        }
        watch_turns(m, now);
        watch_start(m, now);
        watch_kill(m, now);
    }
}
