#include "supervisor/seating.h"
#include "common/clock.h"
#include "common/log.h"
#include "supervisor/supervisor.h"

#define ROOM "seating"

static void on_time(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    ((struct supervisor *)ctx)->seating.has_missed = false;
    seating_settle(ctx);
}

void seating_init(struct supervisor *s)
{
    evtimer_assign(&s->seating.timer, s->base, on_time, s);
}

void seating_fini(struct supervisor *s)
{
    event_del(&s->seating.timer);
}

static unsigned row_index(const struct supervisor *s, const struct listener_row *row)
{
    return (unsigned)(row - s->listeners.rows);
}

static struct seating_entry *entry_of(struct supervisor *s,
                                      const struct listener_row *row, unsigned slot)
{
    return &s->seating.entries[row_index(s, row)][slot];
}

static struct member *server_of(struct supervisor *s, const struct seating_entry *entry)
{
    struct member *m = s->crew.members[entry->child];
    return m && !m->is_gone && !m->is_reaped ? m : NULL;
}

static void send_listener(struct member *m, const struct listener_row *row, unsigned slot,
                          enum msg_listener_state state)
{
    CREW_TELL(m, LISTENER, struct msg_listener, str_of(row->address),
              listeners_fd(row, slot), .id = row->id, .slot = slot, .state = state);
}

static void send_drain(struct member *m, uint32_t id, unsigned slot)
{
    CREW_TELL(m, LISTENER_DRAIN, struct msg_listener, STR_NONE, -1, .id = id,
              .slot = slot);
}

void seating_give(struct supervisor *s, struct member *m)
{
    unsigned slot = member_child(m)->slot;
    LISTENERS_EACH(row, &s->listeners)
    {
        uint32_t *given = &m->given[row_index(s, row)];
        if (row->state != LISTENER_ROW_LIVE || row->seat[slot] != LISTENER_SEAT_LIVE ||
            *given == row->id)
            continue;
        send_listener(m, row, slot, LISTENER_OWN);
        *given = row->id;
    }
}

/* Workers in their seats get what a reload has added. */
static void give_all(struct supervisor *s)
{
    CREW_EACH(m, s)
    {
        uint32_t state = member_child(m)->state;
        if (m->has_greeted && (state == CHILD_STARTING || state == CHILD_RUNNING))
            seating_give(s, m);
    }
}

/* ── seats on their way out ── */

static bool is_waiting_out(struct supervisor *s, struct seating_entry *entry, int64_t now)
{
    if (entry->mode == SEATING_NONE)
        *entry = (struct seating_entry){
            .mode = SEATING_WAITS,
            .due_ms = now + (s->seating.in_haste ? 0 : SEATING_GRACE_MS)};
    return entry->mode == SEATING_WAITS && entry->due_ms > now;
}

/* Who has this socket as its own. Living ones first; one that is still starting will do
 * later. */
static struct member *owner_of(struct supervisor *s, const struct listener_row *row,
                               unsigned slot)
{
    struct member *later = NULL;
    CREW_EACH(m, s)
    {
        if (member_child(m)->slot != slot || m->given[row_index(s, row)] != row->id)
            continue;
        if (member_is_alive(m))
            return m;
        if (member_child(m)->state == CHILD_STARTING && !m->is_gone)
            later = m;
    }
    return later;
}

static void drain_by(struct supervisor *s, struct member *m, struct listener_row *row,
                     unsigned slot, bool is_its_own)
{
    struct seating_entry *entry = entry_of(s, row, slot);
    *entry = (struct seating_entry){.mode = SEATING_DRAINED_BY, .child = m->index};
    if (is_its_own) {
        m->given[row_index(s, row)] = 0;
        send_drain(m, row->id, slot);
    } else {
        send_listener(m, row, slot, LISTENER_LEFT);
    }
}

static bool has_other_servers(const struct listener_row *row, unsigned slot)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (i != slot && row->seat[i] != LISTENER_SEAT_NONE)
            return true;
    return false;
}

static void close_seat(struct supervisor *s, struct listener_row *row, unsigned slot)
{
    struct seating_entry *entry = entry_of(s, row, slot);
    *entry = (struct seating_entry){.mode = SEATING_NONE};
    listeners_close(&s->listeners, row->id, slot);
}

static void drain_seat(struct supervisor *s, struct listener_row *row, unsigned slot)
{
    struct member *owner = owner_of(s, row, slot);
    bool is_alive = owner && member_is_alive(owner);
    if (owner && !is_alive && !s->seating.in_haste)
        return; /* as soon as it is READY */
    if (is_alive) {
        drain_by(s, owner, row, slot, true);
        return;
    }
    if (row->is_unix &&
        has_other_servers(row, slot)) { /* one queue for all: others serve it */
        close_seat(s, row, slot);
        return;
    }
    struct member *neighbour = crew_any(s, slot);
    if (neighbour)
        drain_by(s, neighbour, row, slot, false);
}

static void settle_leaving(struct supervisor *s, struct listener_row *row, unsigned slot,
                           int64_t now)
{
    struct seating_entry *entry = entry_of(s, row, slot);
    if (entry->mode == SEATING_DRAINED_BY && server_of(s, entry))
        return;
    if (entry->mode == SEATING_LENT_TO && server_of(s, entry)) {
        entry->mode = SEATING_DRAINED_BY;
        send_drain(server_of(s, entry), row->id, slot);
        return;
    }
    if (entry->mode == SEATING_DRAINED_BY || entry->mode == SEATING_LENT_TO)
        *entry = (struct seating_entry){.mode = SEATING_WAITS, .due_ms = now};
    if (!is_waiting_out(s, entry, now))
        drain_seat(s, row, slot);
}

/* ── seats that stay ── */

/* To a worker that goes on: one that retires has given back what was lent to it. */
static bool is_lent_out(struct supervisor *s, const struct seating_entry *entry)
{
    struct member *m = entry->mode == SEATING_LENT_TO ? server_of(s, entry) : NULL;
    return m && member_is_running(m);
}

static void settle_lent(struct supervisor *s, struct listener_row *row, unsigned slot)
{
    struct seating_entry *entry = entry_of(s, row, slot);
    bool is_lent = is_lent_out(s, entry);
    bool should = s->slots.slots[slot].state == SLOT_THROTTLED && !row->is_unix;
    if (should && !is_lent) {
        struct member *neighbour = crew_any(s, slot);
        *entry = (struct seating_entry){.mode = SEATING_NONE};
        if (!neighbour || member_child(neighbour)->slot == slot)
            return;
        *entry =
            (struct seating_entry){.mode = SEATING_LENT_TO, .child = neighbour->index};
        send_listener(neighbour, row, slot, LISTENER_LENT);
        log_info("listener lent address=%s slot=%u to=%u", row->address, slot,
                 member_child(neighbour)->slot);
    } else if (!should) {
        if (is_lent)
            send_drain(server_of(s, entry), row->id, slot);
        *entry = (struct seating_entry){.mode = SEATING_NONE};
    }
}

static void settle_row(struct supervisor *s, struct listener_row *row, int64_t now)
{
    for (unsigned slot = 0; slot < SLOTS_MAX; slot++) {
        if (row->seat[slot] == LISTENER_SEAT_LEAVING)
            settle_leaving(s, row, slot, now);
        else if (row->seat[slot] == LISTENER_SEAT_LIVE)
            settle_lent(s, row, slot);
        else
            entry_of(s, row, slot)->mode = SEATING_NONE;
    }
}

/* Sockets somebody still has though their seat is gone: served by others before it was
 * READY. */
static void take_back(struct supervisor *s)
{
    CREW_EACH(m, s)
    {
        for (unsigned i = 0; i < LISTENER_ROWS_MAX && member_is_alive(m); i++) {
            const struct listener_row *row = &s->listeners.rows[i];
            uint32_t id = m->given[i];
            bool is_there = row->state != LISTENER_ROW_FREE && row->id == id &&
                            row->seat[member_child(m)->slot] != LISTENER_SEAT_NONE;
            if (id == 0 || is_there)
                continue;
            m->given[i] = 0;
            send_drain(m, id, member_child(m)->slot);
        }
    }
}

/* A seat that was wanted again meanwhile is its successor's, not its to drain. */
static bool has_leaving(struct supervisor *s, const struct member *m)
{
    LISTENERS_EACH(row, &s->listeners)
    if (m->given[row_index(s, row)] == row->id &&
        row->seat[member_child(m)->slot] == LISTENER_SEAT_LEAVING)
        return true;
    return false;
}

/* A worker whose slot was given up retires once all its listeners are being drained. */
static void release_retiring(struct supervisor *s)
{
    CREW_EACH(m, s)
    {
        if (member_child(m)->state != CHILD_RETIRING || m->has_retire ||
            has_leaving(s, m))
            continue;
        memset(m->given, 0, sizeof m->given);
        crew_send_retire(m);
    }
}

static void plan_next(struct supervisor *s, int64_t now)
{
    int64_t next = INT64_MAX;
    LISTENERS_EACH(row, &s->listeners)
    for (unsigned slot = 0; slot < SLOTS_MAX; slot++) {
        const struct seating_entry *entry = entry_of(s, row, slot);
        if (entry->mode == SEATING_WAITS && entry->due_ms > now)
            next = MIN(next, entry->due_ms);
    }
    if (s->seating.has_missed)
        next = MIN(next, now + SEATING_GRACE_MS);
    event_del(&s->seating.timer);
    if (next == INT64_MAX)
        return;
    struct timeval tv = {(next - now) / 1000, (next - now) % 1000 * 1000};
    event_add(&s->seating.timer, &tv);
}

void seating_settle(struct supervisor *s)
{
    int64_t now = clock_now_ms();
    give_all(s);
    LISTENERS_EACH(row, &s->listeners)
    settle_row(s, row, now);
    take_back(s);
    release_retiring(s);
    plan_next(s, now);
}

void seating_drained(struct member *m, uint32_t id, unsigned slot)
{
    struct supervisor *s = m->s;
    struct listener_row *row = listeners_find(&s->listeners, id);
    if (!row || slot >= SLOTS_MAX || row->seat[slot] != LISTENER_SEAT_LEAVING)
        return;
    struct seating_entry *entry = entry_of(s, row, slot);
    if (entry->mode != SEATING_DRAINED_BY || entry->child != m->index)
        return;
    /* Somebody slipped in between its last look and its close: once more, by a neighbour.
     */
    struct member *neighbour = crew_any(s, slot);
    if (neighbour && listeners_waiting(row, slot) > 0)
        drain_by(s, neighbour, row, slot, false);
    else
        close_seat(s, row, slot);
}

void seating_missed(struct member *m, uint32_t id, unsigned slot)
{
    struct supervisor *s = m->s;
    struct listener_row *row = listeners_find(&s->listeners, id);
    if (!row || slot >= SLOTS_MAX)
        return;
    struct seating_entry *entry = entry_of(s, row, slot);
    uint32_t *given = &m->given[row_index(s, row)];
    int64_t now = clock_now_ms();
    if (*given == id && member_child(m)->slot == slot)
        *given = 0;
    if (entry->mode != SEATING_NONE && entry->mode != SEATING_WAITS &&
        entry->child == m->index)
        *entry = (struct seating_entry){.mode = SEATING_WAITS,
                                        .due_ms = now + SEATING_GRACE_MS};
    if (s->seating.has_missed)
        return; /* the timer runs: one who says it again and again must not wind it up */
    s->seating.has_missed = true;
    plan_next(s, now);
}

void seating_forget(struct supervisor *s, uint32_t child)
{
    for (unsigned i = 0; i < LISTENER_ROWS_MAX; i++)
        for (unsigned slot = 0; slot < SLOTS_MAX; slot++) {
            struct seating_entry *entry = &s->seating.entries[i][slot];
            bool is_its =
                entry->mode == SEATING_DRAINED_BY || entry->mode == SEATING_LENT_TO;
            if (is_its && entry->child == child)
                *entry = (struct seating_entry){.mode = SEATING_WAITS};
        }
}
