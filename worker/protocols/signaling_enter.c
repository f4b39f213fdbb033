#include "worker/protocols/signaling.h"

#include "common/mem.h"

#define ROOM "signaling"
#define ENTER_MS 10000 /* for everything but probes: credentials, Redis */
#define ROUNDS_MAX 3   /* of probes: then others are quicker than this one */
#define HOLDERS_MAX 100

/* One who holds the role that is wanted. */
struct holder {
    struct uuid id;
    bool is_named;          /* by the script's last answer */
    bool is_alive, is_gone; /* gone: it did not answer, or its worker does not have it */
    bool is_free;           /* the log says that its place is; the script will know */
};

/* The way in: credentials → subscription → script → (probe → script) → its own `in` in
 * the log. */
struct entrance {
    struct signaling_member *m; /* NULL: over; freed when the script is answered */
    struct entry *check;
    struct hub_wait wait;
    bool is_asking;   /* the script is under way */
    bool was_asked;   /* since then Redis may know it */
    unsigned rounds;  /* of probes */
    int64_t until_ms; /* at the latest */
    int64_t probe_ms; /* when the probe under way ends; 0: there is none */
    struct holder *holders;
    size_t holders_n;
};

static int64_t now(const struct signaling_member *m)
{
    return net_now(m->c->net);
}

/* ---- the end of it ---- */

static void release(struct entrance *e)
{
    free(e->holders);
    free(e);
}

bool entrance_end(struct signaling_member *m)
{
    struct entrance *e = m->entrance;
    if (!e)
        return false;
    bool was_asked = e->was_asked;
    m->entrance = NULL;
    e->m = NULL;
    entry_cancel(e->check);
    hub_await_cancel(&e->wait);
    if (!e->is_asking)
        release(e);
    return was_asked;
}

bool entrance_was_asked(const struct signaling_member *m)
{
    return m->entrance && m->entrance->was_asked;
}

static void log_entered(const struct signaling_member *m)
{
    struct log_limit *limit = &m->room->s->lines;
    unsigned swallowed = 0;
    if (!log_permit(limit, 1000, 1000, &swallowed))
        return;
    if (swallowed)
        log_info("%u lines about entered clients left out", swallowed);
    log_info("entered %s room=%s role=%s%s%s", conn_esc(m->c),
             log_esc(signaling_name(m->room)), log_esc(str_of(m->role)),
             m->user ? " user=" : "", m->user ? log_esc(str_of(m->user)) : "");
}

void entrance_done(struct signaling_member *m, struct str joined)
{
    entrance_end(m);
    m->state = MEMBER_IN;
    COUNT(m->c->net->counters, signaling_entered);
    log_entered(m);
    session_reply_text(m->c, joined);
    if (m->expires_s)
        conn_due(m->c, now(m));
    conn_resume(m->c);
}

/* It never was in: nobody has to be told, but Redis, if that let it in meanwhile. */
static void turn_back(struct signaling_member *m)
{
    signaling_leave(m, 1006, "lost");
}

static void refuse_down(struct signaling_member *m)
{
    COUNT(m->c->net->counters, signaling_refused_bus);
    session_close(m->c, 4503, "Bus unavailable: nobody can enter now, try again later");
    turn_back(m);
}

static void refuse_full(struct signaling_member *m)
{
    COUNT(m->c->net->counters, signaling_refused_full);
    session_close(m->c, 4409, "Room full: it has all the connections it may have");
    turn_back(m);
}

static void refuse_taken(struct signaling_member *m)
{
    COUNT(m->c->net->counters, signaling_refused_taken);
    session_close(m->c, 4409, "Role taken: a connection in this room has it and answers");
    turn_back(m);
}

/* ---- asking Redis ---- */

static void on_answer(void *ctx, const struct bus_reply *r);

static void ask(struct entrance *e)
{
    struct signaling_member *m = e->m;
    if (m->room->is_asked)
        signaling_renew(m->room); /* those who are in come first */
    char id[UUID_TEXT + 1], ids[HOLDERS_MAX][UUID_TEXT + 1];
    struct buf who = {0}, session = {0};
    uuid_text(&m->c->st.uuid, id);
    signaling_claims(m, &who, &session);
    struct str args[4 + HOLDERS_MAX] = {str_of(id), str_of(m->role), buf_view(&who),
                                        buf_view(&session)};
    size_t n = 4;
    for (size_t i = 0; i < e->holders_n; i++) {
        if (!e->holders[i].is_gone)
            continue;
        uuid_text(&e->holders[i].id, ids[i]);
        args[n++] = str_of(ids[i]);
    }
    e->probe_ms = 0;
    e->holders_n = 0;
    e->is_asking = e->was_asked = true;
    signaling_call(m->room, STR("enter"), args, n, on_answer, e);
    buf_free(&who);
    buf_free(&session);
}

/* ---- the role is taken: do those who have it still answer? ---- */

static struct holder *find_holder(struct entrance *e, const struct uuid *id)
{
    for (size_t i = 0; i < e->holders_n; i++) {
        if (uuid_eq(&e->holders[i].id, id))
            return &e->holders[i];
    }
    return NULL;
}

/* NULL: there are too many. */
static struct holder *need_holder(struct entrance *e, const struct uuid *id)
{
    struct holder *h = find_holder(e, id);
    if (h || e->holders_n == HOLDERS_MAX)
        return h;
    if (!e->holders)
        e->holders = mem_new(HOLDERS_MAX * sizeof(*e->holders));
    h = &e->holders[e->holders_n++];
    *h = (struct holder){.id = *id};
    return h;
}

static bool are_all_alive(const struct entrance *e)
{
    for (size_t i = 0; i < e->holders_n; i++) {
        if (e->holders[i].is_named && !e->holders[i].is_alive)
            return false;
    }
    return true;
}

static bool is_worth_asking(const struct entrance *e)
{
    for (size_t i = 0; i < e->holders_n; i++) {
        const struct holder *h = &e->holders[i];
        if (h->is_named && (h->is_gone || h->is_free))
            return true;
    }
    return false;
}

/* Goes on as soon as it can. */
static void judge_holders(struct entrance *e)
{
    if (is_worth_asking(e))
        ask(e);
    else if (are_all_alive(e))
        refuse_taken(e->m);
}

static void await_holders(struct entrance *e, struct str ids)
{
    struct signaling_member *m = e->m;
    struct uuid id;
    if (e->rounds++ == ROUNDS_MAX) {
        refuse_taken(m);
        return;
    }
    COUNT(m->c->net->counters, signaling_probes);
    while (ids.p) {
        struct holder *h =
            uuid_parse(str_split(ids, ' ', &ids), &id) ? need_holder(e, &id) : NULL;
        if (h)
            h->is_named = true;
    }
    e->probe_ms = now(m) + signaling_conf(m->room->s)->takeover_probe;
    e->until_ms = e->probe_ms + ENTER_MS;
    conn_due(m->c, e->probe_ms);
    judge_holders(e);
}

/* It may overtake the script's own answer, which comes over the other link. */
void entrance_answer(struct signaling_member *m, const struct news *n)
{
    struct entrance *e = m->entrance;
    if (!e || !(e->is_asking || e->probe_ms))
        return;
    struct holder *h = e->is_asking ? need_holder(e, &n->id) : find_holder(e, &n->id);
    if (!h)
        return;
    h->is_alive = n->type == NEWS_ALIVE;
    h->is_gone = n->type == NEWS_GONE;
    h->is_free = n->type == NEWS_OUT || n->type == NEWS_AWAY;
    if (!e->is_asking)
        judge_holders(e);
}

static void on_answer(void *ctx, const struct bus_reply *r)
{
    struct entrance *e = ctx;
    e->is_asking = false;
    if (!e->m) {
        release(e);
        return;
    }
    struct str rest, word = str_split(r->text, ' ', &rest);
    if (r->type == BUS_TEXT)
        e->was_asked = str_is(word, "in");
    if (r->type != BUS_TEXT)
        refuse_down(e->m);
    else if (str_is(word, "full"))
        refuse_full(e->m);
    else if (str_is(word, "taken"))
        await_holders(e, rest);
    /* else it is in: the log will say so */
}

/* ---- the steps before ---- */

static void on_listening(struct hub_wait *w)
{
    struct entrance *e = container_of(w, struct entrance, wait);
    struct signaling_member *m = e->m;
    if (m->room->s->is_up)
        ask(e);
    else
        refuse_down(m);
}

void entrance_up(struct signaling_member *m)
{
    if (m->state == MEMBER_ENTERING)
        hub_await(m->room->s->endpoint->services->hub, &m->entrance->wait, on_listening);
}

static void on_identified(struct conn *c, const struct entry_identity *who)
{
    struct signaling_member *m = member_of(c);
    struct signaling *s = signaling_of(c);
    m->entrance->check = NULL;
    m->user = who->user.n ? str_dup(who->user) : NULL;
    m->expires_s = who->expires_s;
    m->room = signaling_room_need(s, str_of(m->room_name));
    list_append(&m->room->members, &m->link);
    if (s->is_open)
        entrance_up(m);
    else if (s->was_up && !hub_is_up(s->endpoint->services->hub))
        refuse_down(m);
    /* else it soon will be */
}

void entrance_begin(struct signaling_member *m, const struct session_opening *how)
{
    struct conn *c = m->c;
    struct entrance *e = NEW(struct entrance);
    *e = (struct entrance){.m = m, .until_ms = now(m) + ENTER_MS};
    m->entrance = e;
    conn_pause(c);
    conn_due(c, e->until_ms);
    struct entry *check = entry_begin(c, how, on_identified);
    if (check)
        e->check = check;
}

/* ---- time, and the bus ---- */

static void give_up_on_holders(struct entrance *e)
{
    for (size_t i = 0; i < e->holders_n; i++)
        e->holders[i].is_gone = !e->holders[i].is_alive;
    ask(e);
}

int64_t entrance_due(struct signaling_member *m, int64_t now_ms)
{
    struct entrance *e = m->entrance;
    if (e->probe_ms && now_ms >= e->probe_ms)
        give_up_on_holders(e);
    else if (now_ms >= e->until_ms)
        refuse_down(m);
    e = m->entrance; /* may have ended */
    if (!e)
        return 0;
    return e->probe_ms ? e->probe_ms : e->until_ms;
}

void entrance_down(struct signaling_member *m)
{
    if (m->state == MEMBER_ENTERING)
        refuse_down(m);
}
