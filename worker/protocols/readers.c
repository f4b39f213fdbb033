#include "worker/protocols/readers.h"

#include "common/mem.h"
#include "common/scan.h"
#include "worker/hub/inbox_stream.h"
#include "worker/ws/wire.h"

#define ASKING_MAX 64   /* users whose inboxes are asked at once */
#define MISSED_MAX 1000 /* notifications told to a user after the bus was away */

struct readers {
    struct services *services;
    unsigned refs;
    struct conf_inbox limits;
    struct map users;
    struct topic all;
    struct hub_watch watch;
    struct inbox_stream *stream;
    struct list due; /* readers whose inbox is to be asked */
    size_t asking;
    bool is_looking;
    bool is_up; /* the bus, and all topics are heard */
};

struct reader {
    struct topic topic;
    struct readers *of;
    struct list readings;
    struct list due;
    unsigned holds;  /* whoever is at work with it, answers that are owed … */
    bool is_gone;    /* … when no connection is left, the last of them frees it */
    int64_t version; /* of the count; 0: whatever comes is newer */
    int64_t count;   /* as last told to all */
    int64_t seen;    /* version of the last notification told to all; 0: none yet */
    int64_t since;   /* seen, when the bus went away; -1: it was there all the time */
    size_t name_n;
    char name[];
};

/* A message for later. */
struct held {
    int64_t version;
    struct frame *frame;
};

static struct str name_of(const struct reader *r)
{
    return (struct str){r->name, r->name_n};
}

static struct str key_of(const void *item)
{
    return name_of(item);
}

/* ---- telling ---- */

static void drop_held(struct reading *g)
{
    struct held *h = (struct held *)g->held.p;
    for (size_t i = 0; i < g->held.n / sizeof(*h); i++)
        frame_unref(h[i].frame);
    buf_free(&g->held);
    g->held_bytes = 0;
}

/* Bounded, so that it fits behind the answer that is awaited (reading_inbox): more than
 * that within one answer of Redis no client can follow. */
static void hold(struct reading *g, struct frame *f, int64_t version)
{
    g->held_bytes += f->n;
    if (g->held_bytes > g->c->env->backpressure / 4 && g->held.n > 0) {
        session_close(g->c, 1008, "Slow consumer");
        return;
    }
    buf_put(&g->held, &(struct held){version, frame_ref(f)}, sizeof(struct held));
}

/* The connection may end on the way, and g with it. */
static void release(struct reading *g)
{
    struct buf held = g->held;
    struct held *h = (struct held *)held.p;
    struct conn *c = g->c;
    int64_t floor = g->floor;
    g->held = (struct buf){0};
    g->held_bytes = 0;
    for (size_t i = 0; i < held.n / sizeof(*h); i++) {
        if (h[i].version > floor)
            session_send_frame(c, h[i].frame);
        frame_unref(h[i].frame);
    }
    buf_free(&held);
}

static void tell_notification(struct reader *r, struct str message, int64_t version)
{
    struct frame *f = frame_new(WIRE_TEXT, message);
    LIST_EACH_SAFE (node, &r->readings) {
        struct reading *g = container_of(node, struct reading, link);
        if (!g->is_open || g->is_behind)
            hold(g, f, version);
        else if (version > g->floor)
            session_send_frame(g->c, f);
    }
    frame_unref(f);
}

static struct str write_count(int64_t count, char room[64])
{
    int n =
        snprintf(room, 64, "{\"type\":\"unread_count\",\"count\":%" PRId64 "}", count);
    return (struct str){room, (size_t)n};
}

/* Not to those that know better already: what they asked for themselves was answered at
 * once. */
static void tell_count(struct reader *r, int64_t version, int64_t count)
{
    char text[64];
    struct frame *f = frame_new(WIRE_TEXT, write_count(count, text));
    r->version = version;
    r->count = count;
    LIST_EACH_SAFE (node, &r->readings) {
        struct reading *g = container_of(node, struct reading, link);
        if (!g->is_open || g->is_behind || g->is_counting || version <= g->counted)
            continue;
        g->counted = version;
        g->count = count;
        session_send_frame(g->c, f);
    }
    frame_unref(f);
}

/* A connection that cannot be written to ends at once, and the last one takes its reader
 * with it. */
static void let_go(struct reader *r)
{
    if (--r->holds == 0 && r->is_gone)
        free(r);
}

static void on_news(struct topic *t, struct str payload)
{
    struct reader *r = container_of(t, struct reader, topic);
    int64_t version;
    uint64_t count;
    struct str text;
    char kind = inbox_news_read(payload, &version, &text);
    r->holds++;
    if (kind == 'n') {
        r->seen = MAX(r->seen, version);
        tell_notification(r, text, version);
    } else if (kind == 'c' && str_to_u64(text, INT64_MAX, &count)) {
        if (version > r->version)
            tell_count(r, version, (int64_t)count);
    } else if (kind == 0) {
        COUNT(r->of->services->net->counters, bus_malformed);
    }
    let_go(r);
}

/* ---- asking for all connections of a user: is there something for everybody, what was
 * missed? ---- */

/* The bus was away: those connections that were there before learn what they missed. */
static void tell_missed(struct reader *r, struct str unread)
{
    struct scan_value v;
    size_t pos = 0;
    struct buf message = {0};
    while (scan_next(unread, &pos, &v)) {
        buf_clear(&message);
        buf_str(&message, STR("{\"type\":\"notification\",\"notification\":"));
        buf_str(&message, v.raw);
        buf_char(&message, '}');
        LIST_EACH (node, &r->readings) {
            struct reading *g = container_of(node, struct reading, link);
            if (g->is_behind)
                session_reply_text(g->c, buf_view(&message));
        }
    }
    buf_free(&message);
}

/* As if they had been there all the time: what they missed, what came since, the count.
 */
static void rejoin(struct reader *r, int64_t floor)
{
    char text[64];
    LIST_EACH_SAFE (node, &r->readings) {
        struct reading *g = container_of(node, struct reading, link);
        struct conn *c = g->c;
        bool is_news = g->count != r->count && r->version > g->counted;
        if (!g->is_behind)
            continue;
        g->is_behind = false;
        g->floor = floor;
        if (is_news) {
            g->count = r->count;
            g->counted = r->version;
        }
        release(g);
        if (is_news)
            session_send_text(c, write_count(r->count, text));
    }
}

static void catch_up(struct reader *r, const struct inbox_state *state)
{
    tell_missed(r, state->unread);
    r->since = -1;
    r->seen = MAX(r->seen, state->version);
    if (state->version > r->version) {
        r->version = state->version;
        r->count = state->count;
    }
    rejoin(r, state->version);
}

/* The inbox cannot be asked: what was missed is in the list. */
static void give_up(struct reader *r)
{
    r->since = -1;
    rejoin(r, 0);
}

static void free_readers(struct readers *rs)
{
    if (rs->refs > 0 || rs->asking > 0)
        return;
    map_fini(&rs->users);
    free(rs);
}

static void look_on(struct readers *rs);

static void on_looked(void *ctx, const struct bus_reply *reply)
{
    struct reader *r = ctx;
    struct readers *rs = r->of;
    struct inbox_state state;
    rs->asking--;
    inbox_note_refusal(reply);
    if (r->since >= 0 && reply->type == BUS_TEXT && inbox_state_read(reply->text, &state))
        catch_up(r, &state);
    else if (r->since >= 0 && rs->is_up)
        give_up(r);
    let_go(r);
    look_on(rs);
    free_readers(rs);
}

static void look(struct reader *r)
{
    struct readers *rs = r->of;
    struct reading *first = container_of(r->readings.next, struct reading, link);
    struct inbox in = reading_inbox(first);
    bool is_behind = r->since >= 0;
    r->holds++;
    rs->asking++;
    inbox_unread(&in, is_behind ? r->since : -1, is_behind ? MISSED_MAX : 0, on_looked,
                 r);
}

/* A few at a time, however many users there are. Some answers come at once: they find us
 * looking. */
static void look_on(struct readers *rs)
{
    if (rs->is_looking)
        return;
    rs->is_looking = true;
    while (rs->asking < ASKING_MAX && !list_is_empty(&rs->due)) {
        struct reader *r = container_of(rs->due.next, struct reader, due);
        list_unlink(&r->due);
        look(r);
    }
    rs->is_looking = false;
}

static void look_at_all(struct readers *rs)
{
    MAP_EACH (struct reader, r, &rs->users) {
        list_unlink(&r->due);
        list_append(&rs->due, &r->due);
    }
    look_on(rs);
}

/* Something is in everybody's list. The first to look, on whichever worker, moves it into
 * a user's inbox, and its script tells all; the others find nothing to do. */
static void on_all(struct topic *t, UNUSED struct str payload)
{
    look_at_all(container_of(t, struct readers, all));
}

static void on_up(struct hub_watch *w)
{
    struct readers *rs = container_of(w, struct readers, watch);
    rs->is_up = true;
    look_at_all(rs);
}

static void on_down(struct hub_watch *w, UNUSED const char *why)
{
    struct readers *rs = container_of(w, struct readers, watch);
    rs->is_up = false;
    MAP_EACH (struct reader, r, &rs->users) {
        list_unlink(&r->due);
        if (r->since < 0)
            r->since = r->seen;
        r->seen = r->version = 0; /* another Redis may have another clock */
        LIST_EACH (node, &r->readings) {
            struct reading *g = container_of(node, struct reading, link);
            g->is_behind = g->is_open;
            g->floor = g->counted = 0;
        }
    }
}

/* ---- the worker's ---- */

void readers_ref(struct services *s, const struct conf_inbox *limits)
{
    struct readers *rs = s->readers;
    if (rs) {
        rs->refs++;
        readers_configure(s, limits);
        return;
    }
    rs = s->readers = NEW(struct readers);
    rs->services = s;
    rs->refs = 1;
    rs->limits = *limits;
    map_init(&rs->users, key_of);
    list_init(&rs->due);
    hub_listen(s->hub, &rs->all, STR(INBOX_CHANNEL_ALL), on_all);
    rs->watch.up = on_up;
    rs->watch.down = on_down;
    hub_watch(s->hub, &rs->watch);
    rs->stream = inbox_stream_new(s->net, s->hub, limits);
}

void readers_configure(struct services *s, const struct conf_inbox *limits)
{
    s->readers->limits = *limits;
    inbox_stream_configure(s->readers->stream, limits);
}

void readers_unref(struct services *s)
{
    struct readers *rs = s->readers;
    if (--rs->refs > 0)
        return;
    inbox_stream_free(rs->stream);
    hub_unwatch(&rs->watch);
    hub_unlisten(s->hub, &rs->all);
    s->readers = NULL;
    free_readers(rs);
}

/* ---- a connection ---- */

static struct reader *find_reader(struct readers *rs, struct str user)
{
    struct buf channel = {0};
    struct reader *r = map_get(&rs->users, user);
    if (r)
        return r;
    r = mem_new(sizeof(*r) + user.n);
    r->of = rs;
    r->since = -1;
    r->name_n = user.n;
    memcpy(r->name, user.p, user.n);
    list_init(&r->readings);
    list_init(&r->due);
    map_put(&rs->users, r);
    buf_str(&channel, STR(INBOX_CHANNEL));
    buf_str(&channel, user);
    hub_listen(rs->services->hub, &r->topic, buf_view(&channel), on_news);
    buf_free(&channel);
    COUNT_SET(rs->services->net->counters, inbox_readers, rs->users.n);
    return r;
}

static void end_reader(struct reader *r)
{
    struct readers *rs = r->of;
    hub_unlisten(rs->services->hub, &r->topic);
    map_remove(&rs->users, name_of(r));
    list_unlink(&r->due);
    COUNT_SET(rs->services->net->counters, inbox_readers, rs->users.n);
    r->is_gone = true;
    r->holds++;
    let_go(r);
}

void reading_begin(struct reading *g, struct conn *c, struct str user)
{
    g->c = c;
    g->reader = find_reader(endpoint_of(c)->services->readers, user);
    list_append(&g->reader->readings, &g->link);
}

/* The newer of both. */
static void take_count(struct reading *g, const struct inbox_state *state)
{
    const struct reader *r = g->reader;
    bool is_old = state->version < r->version;
    g->counted = is_old ? r->version : state->version;
    g->count = is_old ? r->count : state->count;
}

int64_t reading_start(struct reading *g, const struct inbox_state *state)
{
    struct reader *r = g->reader;
    take_count(g, state);
    g->floor = state->version;
    if (r->seen == 0 && r->since < 0)
        r->seen = state->version; /* nobody else was told of anything yet */
    return g->count;
}

void reading_open(struct reading *g)
{
    g->is_open = true;
    release(g);
}

void reading_end(struct reading *g)
{
    struct reader *r = g->reader;
    if (!r)
        return;
    drop_held(g);
    list_unlink(&g->link);
    g->reader = NULL;
    if (list_is_empty(&r->readings))
        end_reader(r);
}

struct str reading_user(const struct reading *g)
{
    return g->reader ? name_of(g->reader) : STR_NONE;
}

/* An answer leaves room for what is said meanwhile: a client that has not read it yet is
 * not slow. */
struct inbox reading_inbox(const struct reading *g)
{
    const struct readers *rs = g->reader->of;
    return (struct inbox){rs->services->hub, &rs->limits, name_of(g->reader),
                          (int64_t)MIN(INBOX_ANSWER_MAX, g->c->env->backpressure / 2)};
}

void reading_ask(struct reading *g)
{
    g->is_counting = true;
}

void reading_counted(struct reading *g, const struct inbox_state *state)
{
    char text[64];
    const struct reader *r = g->reader;
    struct inbox_state heard = {.version = r->version, .count = r->count};
    g->is_counting = false;
    if (!state && r->version <= g->counted)
        return; /* nothing has been held back */
    take_count(g, state ? state : &heard);
    session_reply_text(g->c, write_count(g->count, text));
}

size_t readers_memory(const struct readers *rs)
{
    size_t n = memory_block(sizeof(*rs)) + rs->users.cap * sizeof(struct map_slot);
    MAP_EACH (struct reader, r, &rs->users)
        n += memory_block(sizeof(*r) + r->name_n);
    return n;
}
