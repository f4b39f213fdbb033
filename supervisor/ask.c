#include "supervisor/ask.h"
#include "common/clock.h"
#include "common/mem.h"
#include "supervisor/resident.h"
#include "supervisor/supervisor.h"

enum question_kind { ASK_QUERY, ASK_KICK, ASK_ONE };

struct question {
    struct list link;
    struct supervisor *s;
    enum question_kind kind;
    uint32_t id;          /* fresh: helioctl's own number means nothing to a worker */
    uint32_t what, limit; /* of QUERY */
    uint64_t count;
    bool waits_for[CHILDREN_MAX];
    unsigned waiting, asked, failed;
    enum msg_status status; /* of the last failure */
    struct buf text;        /* who did not answer, and why */
    enum msg_type type;     /* ONE … */
    char *tail;             /* … to be said again to another one */
    size_t tail_n;
    bool is_paused;
    struct event timer;
    const struct ask_reply *reply;
    void *ctx;
};

void ask_init(struct supervisor *s)
{
    list_init(&s->asking.questions);
}

static void rearm(struct question *q)
{
    struct timeval tv = {ASK_TIMEOUT_MS / 1000, ASK_TIMEOUT_MS % 1000 * 1000};
    event_add(&q->timer, &tv);
}

/* While rows pile up at the asker, the workers that make them are not read: their own
 * queues fill, and they wait. */
static void pause_all(struct question *q, bool pause)
{
    if (q->is_paused == pause)
        return;
    q->is_paused = pause;
    CREW_EACH(m, q->s)
    {
        if (!q->waits_for[m->index])
            continue;
        bool is_first = pause && m->pauses++ == 0, is_last = !pause && --m->pauses == 0;
        if (is_last || (is_first && !m->is_reaped)) /* last words are read at once */
            chan_pause(&m->chan, pause);
    }
}

static void stop_waiting(struct question *q, struct member *m)
{
    if (q->is_paused && --m->pauses == 0)
        chan_pause(&m->chan, false);
    q->waits_for[m->index] = false;
    q->waiting--;
}

static void free_question(struct question *q)
{
    pause_all(q, false);
    list_unlink(&q->link);
    event_del(&q->timer);
    buf_free(&q->text);
    free(q->tail);
    free(q);
}

void ask_drop(struct question *q)
{
    if (q)
        free_question(q);
}

void ask_resume(struct question *q)
{
    pause_all(q, false);
    rearm(q);
}

static void finish(struct question *q)
{
    struct buf text = q->text;
    const struct ask_reply *reply = q->reply;
    void *ctx = q->ctx;
    uint64_t count = q->count;
    enum msg_status status = q->status;
    if (status != END_OK && q->failed < q->asked)
        status = END_PARTIAL;
    q->text = (struct buf){0};
    free_question(q);
    reply->end(ctx, status, count, buf_view(&text));
    buf_free(&text);
}

static void note_failure(struct question *q, enum msg_status status,
                         const struct member *m, struct str why)
{
    q->failed++;
    q->status = status;
    if (q->text.n < 2048)
        buf_printf(&q->text, "%sworker %u.%u " STR_FMT, q->text.n ? "; " : "",
                   member_child(m)->slot, member_child(m)->worker, STR_ARG(why));
}

static void on_timeout(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx)
{
    struct question *q = ctx;
    struct str why = q->is_paused ? STR("was cut short: its rows were not taken")
                                  : STR("did not answer in time");
    CREW_EACH(m, q->s)
    if (q->waits_for[m->index])
        note_failure(q, END_UNAVAILABLE, m, why);
    finish(q);
}

static void note_asked(struct question *q, struct member *m)
{
    q->waits_for[m->index] = true;
    q->waiting++;
    q->asked++;
}

static struct question *new_question(struct supervisor *s, enum question_kind kind,
                                     const struct ask_reply *reply, void *ctx)
{
    struct question *q = NEW(struct question);
    q->s = s;
    q->kind = kind;
    q->id = ++s->asking.last_id;
    q->reply = reply;
    q->ctx = ctx;
    evtimer_assign(&q->timer, s->base, on_timeout, q);
    list_append(&s->asking.questions, &q->link);
    rearm(q);
    return q;
}

static struct question *nobody(struct question *q)
{
    q->status = END_UNAVAILABLE;
    buf_str(&q->text, STR("no worker is running"));
    finish(q);
    return NULL;
}

struct question *ask_query(struct supervisor *s, const struct msg_query *m,
                           struct str filter, const struct ask_reply *reply, void *ctx)
{
    struct question *q = new_question(s, ASK_QUERY, reply, ctx);
    q->what = m->what;
    q->limit = m->limit;
    CREW_EACH(to, s)
    if (member_is_alive(to) &&
        CHAN_SEND(&to->chan, QUERY, struct msg_query, filter, -1, .id = q->id,
                  .what = m->what, .limit = m->limit) == 0)
        note_asked(q, to);
    return q->asked ? q : nobody(q);
}

struct question *ask_kick(struct supervisor *s, struct str filter,
                          const struct ask_reply *reply, void *ctx)
{
    struct question *q = new_question(s, ASK_KICK, reply, ctx);
    CREW_EACH(to, s)
    if (member_is_alive(to) &&
        CHAN_SEND(&to->chan, KICK, struct msg_id, filter, -1, .id = q->id) == 0)
        note_asked(q, to);
    return q->asked ? q : nobody(q);
}

/* Any running worker will do; one whose bus stands is better. */
static struct member *best_member(struct supervisor *s)
{
    struct member *best = NULL;
    CREW_EACH(m, s)
    if (member_is_running(m) &&
        (!best || (!member_child(best)->bus_up && member_child(m)->bus_up)))
        best = m;
    return best;
}

static bool send_to_one(struct question *q)
{
    struct member *to = best_member(q->s);
    struct str tail = {q->tail, q->tail_n};
    if (!to || chan_send(&to->chan, q->type, &(struct msg_id){q->id}, tail, -1) < 0)
        return false;
    note_asked(q, to);
    return true;
}

struct question *ask_one(struct supervisor *s, enum msg_type type, struct str tail,
                         const struct ask_reply *reply, void *ctx)
{
    struct question *q = new_question(s, ASK_ONE, reply, ctx);
    q->type = type;
    q->tail = str_dup(tail);
    q->tail_n = tail.n;
    return send_to_one(q) ? q : nobody(q);
}

/* ── what comes back ── */

static struct question *find(struct member *m, uint32_t id)
{
    LIST_EACH (node, &m->s->asking.questions) {
        struct question *q = container_of(node, struct question, link);
        if (q->id == id && q->waits_for[m->index])
            return q;
    }
    return NULL;
}

static size_t pass_on(const struct question *q, const struct member *m, struct str json)
{
    struct buf whole = {0};
    if (q->kind != ASK_QUERY || q->what != QUERY_MEMORY)
        return q->reply->row(q->ctx, json);
    resident_add(member_child(m)->pid, json, &whole);
    size_t waiting = q->reply->row(q->ctx, buf_view(&whole));
    buf_free(&whole);
    return waiting;
}

void ask_row(struct member *m, uint32_t id, struct str json)
{
    struct question *q = find(m, id);
    if (!q || q->kind == ASK_KICK || (q->limit && q->count >= q->limit))
        return;
    q->count += q->kind == ASK_QUERY;
    rearm(q);
    if (pass_on(q, m, json) > ASK_QUEUE_HIGH)
        pause_all(q, true);
}

void ask_end(struct member *m, const struct msg_end *end, struct str text)
{
    struct question *q = find(m, end->id);
    if (!q)
        return;
    stop_waiting(q, m);
    if (q->kind != ASK_QUERY)
        q->count += end->count;
    if (end->status != END_OK) {
        q->failed++;
        q->status =
            end->status <= END_PARTIAL ? (enum msg_status)end->status : END_FAILED;
        if (q->text.n == 0) /* all of them say the same of a bad filter: once is enough */
            buf_str(&q->text, text);
    }
    rearm(q);
    if (q->waiting == 0)
        finish(q);
}

static void lose(struct question *q, struct member *m)
{
    stop_waiting(q, m);
    if (q->kind == ASK_ONE) {
        q->asked--;
        if (!send_to_one(q))
            nobody(q);
        return;
    }
    note_failure(q, END_UNAVAILABLE, m, STR("died before it had answered"));
    if (q->waiting == 0)
        finish(q);
}

void ask_lost(struct supervisor *s, struct member *m)
{
    LIST_EACH_SAFE (node, &s->asking.questions) {
        struct question *q = container_of(node, struct question, link);
        if (q->waits_for[m->index])
            lose(q, m);
    }
}
