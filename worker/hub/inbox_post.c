#include "worker/hub/inbox_post.h"

#include "common/mem.h"
#include "worker/hub/inbox_notice.h"

struct post;
struct letter { /* one script under way */
    struct post *post;
    struct str user;
};

struct post {
    struct hub *hub;
    struct conf_inbox limits; /* a reload may come in between */
    struct notice notice;
    inbox_posted_fn fn;
    void *ctx;
    struct letter letters[INBOX_POST_WINDOW];
    size_t sent, under_way, stored;
    bool is_sending;
    enum bus_reply_type failure; /* BUS_TEXT: none */
    struct buf ids, why;
};

static size_t letters_of(const struct post *p)
{
    return p->notice.users_n ? p->notice.users_n : 1;
}

static void finish(struct post *p)
{
    struct inbox_posted done = {
        .type = p->failure, .stored = p->stored, .users = letters_of(p)};
    buf_str(&p->ids, p->stored ? STR("}}") : STR("{\"ids\":{}}"));
    done.ids = buf_view(&p->ids);
    done.why = buf_view(&p->why);
    p->fn(p->ctx, &done);
    notice_fini(&p->notice);
    buf_free(&p->ids);
    buf_free(&p->why);
    free(p);
}

static void note_stored(struct post *p, struct str user)
{
    buf_str(&p->ids, p->stored++ ? STR(",") : STR("{\"ids\":{"));
    buf_json(&p->ids, user.n ? user : STR("*"));
    buf_char(&p->ids, ':');
    buf_json(&p->ids, buf_view(&p->notice.id));
}

/* "Nobody knows" is worse than "not stored". */
static void note_failure(struct post *p, const struct bus_reply *r)
{
    inbox_note_refusal(r);
    if (p->failure == BUS_UNCERTAIN)
        return;
    p->failure = r->type == BUS_DOWN || r->type == BUS_UNCERTAIN ? r->type : BUS_ERROR;
    buf_clear(&p->why);
    buf_str(&p->why, r->text);
}

static void send_on(struct post *p);

static void on_put(void *ctx, const struct bus_reply *r)
{
    struct letter *l = ctx;
    struct post *p = l->post;
    if (r->type == BUS_TEXT)
        note_stored(p, l->user);
    else
        note_failure(p, r);
    l->post = NULL;
    p->under_way--;
    send_on(p);
}

static void send_one(struct post *p)
{
    size_t i = 0;
    while (p->letters[i].post)
        i++;
    struct str user = p->notice.users_n ? p->notice.users[p->sent] : STR_NONE;
    struct inbox in = {p->hub, &p->limits, user, 0};
    p->letters[i] = (struct letter){p, user};
    p->sent++;
    p->under_way++;
    inbox_put(&in, buf_view(&p->notice.id), buf_view(&p->notice.members), on_put,
              &p->letters[i]);
}

/* An answer may come before inbox_put returns: it finds us sending and leaves the rest to
 * us. */
static void send_on(struct post *p)
{
    if (p->is_sending)
        return;
    p->is_sending = true;
    while (p->failure == BUS_TEXT && p->under_way < INBOX_POST_WINDOW &&
           p->sent < letters_of(p))
        send_one(p);
    p->is_sending = false;
    if (p->under_way == 0)
        finish(p);
}

int inbox_post(struct hub *h, const struct conf_inbox *limits, struct str text,
               struct str own_id, inbox_posted_fn fn, void *ctx, struct err *e)
{
    struct notice n;
    if (notice_read(&n, text, own_id, e) != 0)
        return -1;
    struct post *p = NEW(struct post);
    *p = (struct post){.hub = h,
                       .limits = *limits,
                       .notice = n,
                       .fn = fn,
                       .ctx = ctx,
                       .failure = BUS_TEXT};
    send_on(p);
    return 0;
}
