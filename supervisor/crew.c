#include "supervisor/crew.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "supervisor/from_worker.h"
#include "supervisor/supervisor.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOM "crew"
#define RETIRE_MARGIN_MS 5000 /* beyond what the worker was granted */
#define NO_SEAT_MS 1000       /* the table of processes is full: until the next look */

static void on_due(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    crew_fill(ctx);
}

void crew_init(struct supervisor *s)
{
    s->crew.level = log_threshold;
    evtimer_assign(&s->crew.due, s->base, on_due, s);
}

struct child *member_child(const struct member *m)
{
    return &m->s->slots.children[m->index];
}

bool member_is_running(const struct member *m)
{
    return member_child(m)->state == CHILD_RUNNING && !m->is_gone && !m->is_reaped;
}

bool member_is_alive(const struct member *m)
{
    uint32_t state = member_child(m)->state;
    return (state == CHILD_RUNNING || state == CHILD_RETIRING) && m->has_greeted &&
           !m->is_gone && !m->is_reaped;
}

struct member *crew_any(struct supervisor *s, unsigned not_slot)
{
    struct member *second = NULL;
    CREW_EACH(m, s)
    {
        if (!member_is_running(m))
            continue;
        if (member_child(m)->slot != not_slot)
            return m;
        second = m;
    }
    return second;
}

unsigned crew_n(const struct supervisor *s)
{
    unsigned n = 0;
    CREW_EACH(m, s)
    n++;
    return n;
}

/* ── birth ── */

static void free_member(struct member *m)
{
    chan_close(&m->chan);
    m->s->crew.members[m->index] = NULL;
    free(m);
}

static int exec_worker(struct member *m, int chan_fd, struct err *e)
{
    struct supervisor *s = m->s;
    struct child *c = member_child(m);
    struct spawn spawn = {.path = s->options->worker,
                          .run_dir = s->run_dir,
                          .log_level = log_level_name(s->crew.level),
                          .slot = c->slot,
                          .worker = c->worker,
                          .chan_fd = chan_fd,
                          .counters_fd = c->counters_fd,
                          .log_fd = s->logs.worker_end,
                          .user = s->user};
    c->pid = spawn_worker(&spawn, e);
    return c->pid < 0 ? -1 : 0;
}

static int open_member(struct member *m, bool is_successor, struct err *e)
{
    int pair[2];
    if (pages_take(m, is_successor, e) < 0 || fd_pair(SOCK_SEQPACKET, pair, e) < 0)
        return -1;
    int rc = exec_worker(m, pair[1], e);
    fd_close(&pair[1]);
    if (rc < 0) {
        fd_close(&pair[0]);
        return -1;
    }
    if (chan_open(&m->chan, m->s->base, pair[0], MSG_W2S, &from_worker, m, e) < 0) {
        kill(member_child(m)->pid, SIGKILL);
        waitpid(member_child(m)->pid, NULL, 0);
        return -1;
    }
    member_child(m)->chan_fd = pair[0];
    return 0;
}

/* -1: the slot is in back-off again (or keeps its worker, if this was to be a successor).
 */
static int start_worker(struct supervisor *s, unsigned slot, struct err *e)
{
    int64_t now = clock_now_ms();
    bool is_successor = s->slots.slots[slot].child != CHILD_NONE;
    uint32_t index = slot_seat(&s->slots, slot, now);
    if (index == CHILD_NONE)
        return err_set(e, "slot %u takes no worker now", slot);
    struct member *m = NEW(struct member);
    *m = (struct member){.s = s, .index = index, .turns_ms = now};
    s->crew.members[index] = m;
    if (open_member(m, is_successor, e) < 0) {
        pages_drop(m);
        free_member(m);
        slot_died(&s->slots, index, false, now);
        return -1;
    }
    struct child *c = member_child(m);
    log_info("worker started slot=%u worker=%u pid=%d", slot, c->worker, c->pid);
    return 0;
}

static void plan_due(struct supervisor *s)
{
    int64_t next = slot_next_due(&s->slots), now = clock_now_ms();
    event_del(&s->crew.due);
    if (next == INT64_MAX || s->phase >= SUPERVISOR_STOPPING)
        return;
    int64_t wait = MAX(next - now, 1);
    struct timeval tv = {wait / 1000, wait % 1000 * 1000};
    event_add(&s->crew.due, &tv);
}

static void start_due(struct supervisor *s, unsigned slot)
{
    struct err e = {0};
    if (start_worker(s, slot, &e) == 0)
        return;
    int64_t now = clock_now_ms(), *due = &s->slots.slots[slot].due_ms;
    if (slot_is_due(&s->slots, slot, now)) /* there was not even a seat for it */
        *due = now + NO_SEAT_MS;
    if (s->phase == SUPERVISOR_BOOTING)
        supervisor_boot_failed(s, "%s", e.text);
    else
        log_error("no worker for slot %u: %s; next attempt in %" PRId64 " ms", slot,
                  e.text, *due - now);
}

void crew_fill(struct supervisor *s)
{
    int64_t now = clock_now_ms();
    for (unsigned i = 0; i < SLOTS_MAX && s->phase < SUPERVISOR_STOPPING; i++)
        if (slot_is_due(&s->slots, i, now))
            start_due(s, i);
    plan_due(s);
}

int crew_replace(struct supervisor *s, unsigned slot, struct err *e)
{
    if (slot >= s->slots.slots_n)
        return err_set(e, "there is no slot %u: slots are 0 to %u", slot,
                       s->slots.slots_n - 1);
    const struct slot *seat = &s->slots.slots[slot];
    if (seat->state != SLOT_RUNNING)
        return err_set(e, "slot %u is %s: it has no running worker to replace", slot,
                       slot_state_name(seat->state));
    if (seat->successor != CHILD_NONE)
        return err_set(e, "the worker of slot %u is being replaced already", slot);
    return start_worker(s, slot, e);
}

/* ── talking ── */

void crew_kill(struct member *m, int sig)
{
    if (!m->is_reaped && member_child(m)->pid > 0)
        kill(member_child(m)->pid, sig);
}

static void note_gone(struct member *m)
{
    m->is_gone = true;
    member_child(m)->chan_fd = -1;
}

void crew_tell(struct member *m, enum msg_type type, const void *fixed, struct str tail,
               int fd)
{
    if (m->is_gone || m->is_reaped)
        return;
    if (chan_send(&m->chan, type, fixed, tail, fd) == 0)
        return;
    if (errno == EPIPE || errno == ECONNRESET)
        return; /* it is dying; that is told elsewhere */
    crew_give_up(m, "it takes no messages");
}

void crew_send_addresses(struct supervisor *s, struct member *only)
{
    struct str book = resolve_book(s->resolve);
    CREW_EACH(m, s)
    if (m->has_greeted && (!only || m == only))
        CREW_TELL(m, ADDRESSES, struct msg_empty, book, -1, 0);
}

void crew_offer(struct member *m)
{
    uint32_t gen = m->s->conf->generation;
    m->offered = gen;
    CREW_TELL(m, CONF_COMMIT, struct msg_gen, STR_NONE, m->s->conf_fd, .gen = gen);
}

void crew_set_level(struct supervisor *s, enum log_level level)
{
    s->crew.level = level;
    log_set_level(level);
    CREW_EACH(m, s)
    if (m->has_greeted)
        CREW_TELL(m, LOG_LEVEL, struct msg_level, STR_NONE, -1, .level = level);
}

void crew_give_up(struct member *m, const char *why)
{
    if (m->is_gone || m->is_reaped)
        return;
    log_error("worker killed: %s slot=%u pid=%d", why, member_child(m)->slot,
              member_child(m)->pid);
    crew_kill(m, SIGKILL);
    chan_close(&m->chan);
    note_gone(m);
}

void crew_greeted(struct member *m, const struct msg_hello *hello, struct str server_id)
{
    struct child *c = member_child(m);
    struct uuid id;
    if (m->has_greeted || hello->version != MSG_VERSION ||
        hello->pid != (uint32_t)c->pid || hello->slot != c->slot ||
        !uuid_parse(server_id, &id)) {
        crew_give_up(m, hello->version != MSG_VERSION ? "it is of another version"
                                                      : "odd greeting");
        return;
    }
    m->has_greeted = true;
    uuid_text(&id, c->server_id);
    crew_send_addresses(m->s, m);
    if (m->s->phase == SUPERVISOR_UNREADY)
        CREW_TELL(m, UNREADY, struct msg_empty, STR_NONE, -1, 0);
    if (member_child(m)->state != CHILD_STARTING)
        return; /* given up meanwhile */
    seating_give(m->s, m);
    crew_offer(m);
}

static void send_lost(struct member *m, const char *server_id)
{
    CREW_TELL(m, LOST, struct msg_empty, str_of(server_id), -1, 0);
}

static void tell_lost(struct supervisor *s)
{
    struct crew *c = &s->crew;
    struct member *m = crew_any(s, SLOTS_MAX);
    for (unsigned i = 0; m && i < c->lost_n; i++)
        send_lost(m, c->lost[i]);
    if (m)
        c->lost_n = 0;
}

static void remember_lost(struct supervisor *s, const char *server_id)
{
    struct crew *c = &s->crew;
    if (c->lost_n == CREW_LOST_MAX) {
        log_warn("the back end is not told that worker %s was lost: no worker lives to "
                 "tell it",
                 c->lost[0]);
        memmove(c->lost[0], c->lost[1], sizeof c->lost - sizeof c->lost[0]);
        c->lost_n--;
    }
    memcpy(c->lost[c->lost_n++], server_id, SERVER_ID_MAX);
}

/* ── configuration: outside of a transaction whoever agrees to the live one may apply it
 * ── */

/* An answer to an offer that was taken back is none. */
static bool is_answer(const struct member *m, uint32_t gen)
{
    return m->offered && gen == m->offered;
}

void crew_conf_ready(struct member *m, uint32_t gen)
{
    if (!is_answer(m, gen))
        return;
    m->offered = 0;
    if (reload_agreed(m->s, m, gen))
        return;
    if (gen == m->s->conf->generation)
        CREW_TELL(m, CONF_APPLY, struct msg_gen, STR_NONE, -1, .gen = gen);
    else
        crew_offer(m);
}

void crew_conf_refused(struct member *m, uint32_t gen, struct str why)
{
    if (!is_answer(m, gen))
        return;
    m->offered = 0;
    if (reload_refused(m->s, m, gen, why))
        return;
    if (m->s->phase == SUPERVISOR_BOOTING) {
        supervisor_boot_failed(m->s, "%s: " STR_FMT, m->s->options->conf_file,
                               STR_ARG(why));
        return;
    }
    if (gen != m->s->conf->generation) {
        crew_offer(m); /* what it refuses has been replaced meanwhile */
        return;
    }
    log_error("worker refuses the live configuration: %s", log_esc(why));
    crew_give_up(m, "it refuses the live configuration");
}

/* The successor has the same sockets: what its predecessor had is no longer its to drain.
 */
static void replace(struct supervisor *s, struct member *successor, uint32_t old)
{
    struct member *m = s->crew.members[old];
    unsigned slot = member_child(successor)->slot;
    pages_hand_over(s, slot, successor);
    seating_forget(s, old);
    memset(m->given, 0, sizeof m->given);
    crew_send_retire(m);
    log_info("worker replaced slot=%u old=%d new=%d", slot, member_child(m)->pid,
             member_child(successor)->pid);
    ctl_replaced(s, slot, true, "");
}

void crew_is_ready(struct member *m, uint32_t gen)
{
    struct supervisor *s = m->s;
    struct child *c = member_child(m);
    if (!m->has_greeted) {
        crew_give_up(m, "odd greeting");
        return;
    }
    c->generation = gen;
    if (gen != s->conf->generation && !m->offered)
        crew_offer(m); /* a reload went through while it was starting */
    if (s->crew.level != (enum log_level)s->conf->main.log.level)
        CREW_TELL(m, LOG_LEVEL, struct msg_level, STR_NONE, -1, .level = s->crew.level);
    if (c->state != CHILD_STARTING)
        return;
    int64_t now = clock_now_ms();
    uint32_t old = slot_ready(&s->slots, m->index, now);
    m->turns_ms = now;
    log_info("worker ready slot=%u worker=%u pid=%d in_ms=%" PRId64, c->slot, c->worker,
             c->pid, now - c->started_ms);
    if (old != CHILD_NONE)
        replace(s, m, old);
    seating_settle(s);
    tell_lost(s);
    supervisor_boot_look(s);
}

void crew_bus_state(struct member *m, bool on, struct str why)
{
    struct child *c = member_child(m);
    c->bus_up = on;
    snprintf(m->bus_why, sizeof m->bus_why, "%s", log_esc(why));
    supervisor_boot_look(m->s);
}

/* ── leaving ── */

/* One that serves nobody yet needs no manners. */
static void end_unready(struct member *m)
{
    member_child(m)->state = CHILD_STOPPING;
    m->is_told_to_leave = true;
    crew_kill(m, SIGKILL);
}

void crew_retire(struct supervisor *s, unsigned slot)
{
    bool was_running = s->slots.slots[slot].state == SLOT_RUNNING;
    uint32_t successor = s->slots.slots[slot].successor;
    uint32_t index = slot_retire(&s->slots, slot);
    pages_give_up(s, slot, index != CHILD_NONE);
    if (index != CHILD_NONE && !was_running)
        end_unready(s->crew.members[index]);
    if (successor == CHILD_NONE)
        return;
    end_unready(s->crew.members[successor]);
    ctl_replaced(s, slot, false, "the slot was given up");
}

void crew_send_retire(struct member *m)
{
    int64_t ms = m->s->conf->main.retire_timeout;
    if (m->has_retire)
        return;
    m->has_retire = m->is_told_to_leave = true;
    m->kill_ms =
        clock_now_ms() + ms + m->s->conf->main.shutdown_timeout + RETIRE_MARGIN_MS;
    CREW_TELL(m, RETIRE, struct msg_timeout, STR_NONE, -1, .ms = (uint32_t)ms);
}

/* ── death: a process is buried when it was reaped and its last messages were read ── */

static const char *cause(int status, char *text, size_t cap)
{
    if (WIFSIGNALED(status))
        snprintf(text, cap, "signal=%d (%s%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(text, cap, "status=%d", WEXITSTATUS(status));
    return text;
}

static bool ended_cleanly(const struct member *m)
{
    return WIFEXITED(m->status) && WEXITSTATUS(m->status) == 0;
}

static void log_death(const struct member *m, bool planned, int64_t now)
{
    const struct child *c = member_child(m);
    const struct counters *page = m->page;
    char text[96];
    if (planned) {
        log_info("worker left slot=%u worker=%u pid=%d uptime_ms=%" PRId64, c->slot,
                 c->worker, c->pid, now - c->started_ms);
        return;
    }
    log_error("worker died slot=%u worker=%u pid=%d %s uptime_ms=%" PRId64 " state=%s"
              " connections=%" PRIu64 " websockets=%" PRIu64 " messages_in=%" PRIu64
              " messages_out=%" PRIu64,
              c->slot, c->worker, c->pid, cause(m->status, text, sizeof text),
              now - c->started_ms, child_state_name(c->state), page->connections,
              page->websockets, page->messages_in, page->messages_out);
}

static void after_death(struct supervisor *s, unsigned slot, const struct slot_loss *loss)
{
    uint32_t heir = s->slots.slots[slot].child;
    if (loss->was_seated && heir != CHILD_NONE)
        pages_inherit(s, slot, s->crew.members[heir]);
    if (loss->was_successor)
        ctl_replaced(s, slot, false, "the new worker died before it was ready");
    if (loss->was_seated && heir != CHILD_NONE)
        ctl_replaced(s, slot, true, "");
    if (loss->throttled)
        log_error(
            "slot %u failed %u times in a row: its listeners are lent to a neighbour;"
            " next attempt in %" PRId64 " ms",
            slot, s->slots.slots[slot].failures, loss->delay_ms);
}

static void bury(struct member *m)
{
    struct supervisor *s = m->s;
    struct child dead = *member_child(m);
    int64_t now = clock_now_ms();
    bool planned =
        m->is_told_to_leave && (ended_cleanly(m) || dead.state == CHILD_STOPPING);
    bool fails_boot = s->phase == SUPERVISOR_BOOTING && dead.ready_ms == 0 &&
                      s->slots.slots[dead.slot].child == m->index;
    char text[96];
    logsink_drain(&s->logs);
    log_death(m, planned, now);
    if (fails_boot)
        supervisor_boot_failed(s, "the worker of slot %u ended before it was ready: %s",
                               dead.slot, cause(m->status, text, sizeof text));
    ask_lost(s, m);
    reload_lost(s, m);
    seating_forget(s, m->index);
    pages_drop(m);
    struct slot_loss loss = slot_died(&s->slots, m->index, planned, now);
    if (loss.was_serving && dead.server_id[0] && s->phase < SUPERVISOR_STOPPING)
        remember_lost(s, dead.server_id);
    free_member(m);
    after_death(s, dead.slot, &loss);
    tell_lost(s);
    seating_settle(s);
    crew_fill(s);
    stop_look(s);
}

void crew_look_for_death(struct member *m)
{
    if (m->is_reaped && m->is_gone)
        bury(m);
}

void crew_gone(struct member *m, const char *why)
{
    note_gone(m);
    if (!m->is_reaped) {
        log_debug("a worker's channel ended: %s pid=%d", why, member_child(m)->pid);
        m->kill_ms = clock_now_ms() + CREW_GONE_GRACE_MS;
    }
    crew_look_for_death(m);
}

const char *crew_name(void *supervisor, pid_t pid)
{
    static char name[48];
    const struct slot_table *t = &((struct supervisor *)supervisor)->slots;
    uint32_t index = slot_child_by_pid(t, pid);
    if (index == CHILD_NONE)
        return NULL;
    snprintf(name, sizeof name, "worker[%u.%u]", t->children[index].slot,
             t->children[index].worker);
    return name;
}

bool crew_reap(struct supervisor *s, pid_t pid, int status)
{
    uint32_t index = slot_child_by_pid(&s->slots, pid);
    if (index == CHILD_NONE)
        return false;
    struct member *m = s->crew.members[index];
    m->is_reaped = true;
    m->status = status;
    m->reaped_ms = clock_now_ms();
    if (m->pauses)
        chan_pause(&m->chan, false); /* its last words, and its end */
    crew_look_for_death(m);
    return true;
}

/* What is left at the very end: nobody waits for these processes any more. */
void crew_fini(struct supervisor *s)
{
    CREW_EACH(m, s)
    {
        crew_kill(m, SIGKILL);
        if (!m->is_reaped)
            waitpid(member_child(m)->pid, NULL, 0);
        pages_drop(m);
        free_member(m);
    }
    pages_fini(s);
    event_del(&s->crew.due);
}
