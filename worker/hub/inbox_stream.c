#include "worker/hub/inbox_stream.h"

#include "common/log.h"
#include "common/mem.h"
#include "worker/hub/inbox_post.h"
#include "worker/hub/netstring.h"

#define ROOM "inbox"

#define BATCH "16"
/* Between two looks when there was nothing, a quarter more or less; after there was
 * something; while Redis is away. */
#define LOOK_MS 200
#define SOON_MS 10
#define DOWN_MS 1000
#define LOAD_MAX (1024 * 1024) /* what is in a stream must not fill redis.queue */
#define CLAIM_EVERY 10         /* looks */
#define ABANDONED_MS "10000"   /* much longer than it takes to store a batch */

extern const struct str inbox_stream_lua;
static struct script script = {.text = &inbox_stream_lua};

struct inbox_stream {
    struct net *net;
    struct hub *hub;
    struct conf_inbox limits;
    struct event timer;
    int64_t wait_ms;
    unsigned looks;
    bool is_gone;     /* freed when what is under way has been answered */
    bool is_busy;     /* looking, or going through the batch */
    struct buf batch; /* what the last look found … */
    struct str left;  /* … and has not been begun */
    size_t under_way; /* entries of it that are being stored … */
    size_t load;      /* … and bytes that they may have on their way to Redis */
    struct buf done;  /* ids of entries that may be acknowledged, NUL behind each … */
    size_t done_n;    /* … and how many */
    struct log_limit malformed;
};

struct entry {
    struct str id, wrong, body, own_id;
};

/* An entry that is being stored. */
struct errand {
    struct inbox_stream *s;
    size_t load;
    char id[64];
};

static void look(struct inbox_stream *s);

static void on_timer(UNUSED evutil_socket_t fd, UNUSED short what, void *ctx)
{
    look(ctx);
}

static void arm(struct inbox_stream *s, int64_t ms)
{
    uint8_t jitter;
    random_bytes(&jitter, 1);
    ms = ms * (192 + jitter / 2) / 256; /* not all workers at once */
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    evtimer_add(&s->timer, &tv);
}

static void free_stream(struct inbox_stream *s)
{
    buf_free(&s->batch);
    buf_free(&s->done);
    free(s);
}

/* Nothing is under way any more: when is the next look? */
static void rest(struct inbox_stream *s, bool was_worth_it)
{
    if (s->is_gone) {
        free_stream(s);
        return;
    }
    s->wait_ms = was_worth_it ? SOON_MS : MIN(s->wait_ms * 2, LOOK_MS);
    arm(s, hub_is_up(s->hub) ? s->wait_ms : DOWN_MS);
}

/* ---- entries ---- */

static void note_done(struct inbox_stream *s, struct str id)
{
    buf_str(&s->done, id);
    buf_char(&s->done, '\0');
    s->done_n++;
}

static void pass_over(struct inbox_stream *s, struct str id, const char *why)
{
    unsigned swallowed = 0;
    COUNT(s->net->counters, stream_malformed);
    note_done(s, id);
    if (log_permit(&s->malformed, 5, 60000, &swallowed))
        log_warn("an entry of the stream heliod:notify is passed over entry=%s "
                 "unlogged=%u: %s",
                 log_esc(id), swallowed, why);
}

static void go_on(struct inbox_stream *s, bool was_worth_it);

/* Some answers come at once: they find us busy. */
static void on_posted(void *ctx, const struct inbox_posted *p)
{
    struct errand *a = ctx;
    struct inbox_stream *s = a->s;
    if (p->type == BUS_TEXT) {
        COUNT(s->net->counters, stream_taken);
        COUNT_ADD(s->net->counters, inbox_published, p->stored);
        note_done(s, str_of(a->id));
    } else {
        log_debug("an entry of the stream is tried again later entry=%s", a->id);
    }
    s->under_way--;
    s->load -= a->load;
    free(a);
    if (!s->is_busy)
        go_on(s, p->type == BUS_TEXT);
}

/* Without an id of its own a notification has the entry's: should this worker die before
 * it acknowledges, nobody gets it twice. */
static void store(struct inbox_stream *s, const struct entry *e)
{
    struct err why = {0};
    struct buf own = {0};
    struct errand *a = NEW(struct errand);
    a->s = s;
    a->load = INBOX_POST_WINDOW * e->body.n;
    snprintf(a->id, sizeof(a->id), STR_FMT, STR_ARG(e->id));
    if (!e->own_id.n)
        buf_printf(&own, "stream-%s", a->id);
    s->under_way++;
    s->load += a->load;
    int rc = inbox_post(s->hub, &s->limits, e->body,
                        e->own_id.n ? e->own_id : buf_view(&own), on_posted, a, &why);
    if (rc != 0) {
        s->under_way--;
        s->load -= a->load;
        pass_over(s, e->id, why.text);
        free(a);
    }
    buf_free(&own);
}

static bool take_entry(struct str *from, struct entry *e)
{
    return netstring_take(from, &e->id) && netstring_take(from, &e->wrong) &&
           netstring_take(from, &e->body) && netstring_take(from, &e->own_id);
}

/* As far as the load permits; returns how many that were. */
static size_t go_through(struct inbox_stream *s)
{
    struct entry e;
    size_t n = 0;
    for (; s->load < LOAD_MAX && take_entry(&s->left, &e); n++) {
        if (!e.wrong.n) {
            store(s, &e);
            continue;
        }
        struct buf why = {0};
        buf_str(&why, e.wrong);
        pass_over(s, e.id, buf_cstr(&why));
        buf_free(&why);
    }
    return n;
}

static void go_on(struct inbox_stream *s, bool was_worth_it)
{
    s->is_busy = true;
    size_t n = go_through(s);
    s->is_busy = false;
    if (s->under_way == 0)
        rest(s, was_worth_it || n > 0);
}

/* ---- looking ---- */

static void on_found(void *ctx, const struct bus_reply *r)
{
    struct inbox_stream *s = ctx;
    inbox_note_refusal(r);
    s->left = STR_NONE;
    if (r->type == BUS_TEXT && !s->is_gone) {
        buf_clear(&s->done);
        s->done_n = 0;
        buf_clear(&s->batch);
        buf_str(&s->batch, r->text);
        s->left = buf_view(&s->batch);
    }
    go_on(s, false);
}

/* Those that are dealt with are named in the next look that succeeds. */
static void look(struct inbox_stream *s)
{
    struct str keys[] = {STR(INBOX_STREAM)};
    struct str *args = mem_new((4 + s->done_n) * sizeof(*args));
    struct str done = buf_view(&s->done);
    char body_max[16];
    size_t n = 0;
    snprintf(body_max, sizeof(body_max), "%d", STREAM_BODY_MAX);
    args[n++] = str_of(hub_server_id(s->hub));
    args[n++] = STR(BATCH);
    args[n++] = str_of(body_max);
    args[n++] = s->looks++ % CLAIM_EVERY ? STR("0") : STR(ABANDONED_MS);
    for (size_t i = 0; i < s->done_n; i++)
        args[n++] = str_split(done, '\0', &done);
    s->is_busy = true;
    hub_eval(s->hub, &script, keys, 1, args, n, on_found, s);
    free(args);
}

/* ---- life ---- */

struct inbox_stream *inbox_stream_new(struct net *net, struct hub *hub,
                                      const struct conf_inbox *limits)
{
    struct inbox_stream *s = NEW(struct inbox_stream);
    s->net = net;
    s->hub = hub;
    s->limits = *limits;
    s->wait_ms = LOOK_MS;
    evtimer_assign(&s->timer, net->base, on_timer, s);
    arm(s, LOOK_MS);
    return s;
}

void inbox_stream_configure(struct inbox_stream *s, const struct conf_inbox *limits)
{
    s->limits = *limits;
}

void inbox_stream_free(struct inbox_stream *s)
{
    if (!s)
        return;
    evtimer_del(&s->timer);
    s->is_gone = true;
    s->left = STR_NONE;
    if (!s->is_busy && s->under_way == 0)
        free_stream(s);
}
