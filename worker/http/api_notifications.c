/* POST /api/notifications: what a program wants notified. */
#include "common/log.h"
#include "worker/http/api_routes.h"
#include "worker/hub/inbox_post.h"

#define ROOM "api"
#define SHOWN_MAX 120 /* bytes of outside text in a message */

static void partly_stored(struct api_call *call, const struct inbox_posted *p)
{
    struct buf why = {0};
    buf_escape(&why, p->why, SHOWN_MAX);
    api_turn_down(call, 503, "partly-stored",
                  "Publish it again with a notification.id: who has that id already gets "
                  "it no second time.",
                  "%zu of %zu users have the notification, then Redis failed: %s.",
                  p->stored, p->users, buf_cstr(&why));
    buf_free(&why);
}

static void say_ids(struct api_call *call, struct str ids)
{
    struct buf line = {0};
    buf_str(&line, ids);
    buf_char(&line, '\n');
    api_reply(call, 200, buf_view(&line));
    buf_free(&line);
}

static void on_posted(void *ctx, const struct inbox_posted *p)
{
    struct api_call *call = ctx;
    COUNT_ADD(call->counters, inbox_published, p->stored);
    if (p->type == BUS_TEXT)
        COUNT(call->counters, api_published);
    if (!api_settled(call))
        return;
    if (p->type == BUS_TEXT)
        say_ids(call, p->ids);
    else if (p->stored > 0)
        partly_stored(call, p);
    else
        api_bus_failed(call, &(struct bus_reply){.type = p->type, .text = p->why});
}

/* The answer may come before inbox_post returns. */
void api_serve_notifications(struct api_call *call, struct str body)
{
    struct err e;
    const struct http_site *site = api_site(call);
    log_debug("notifies %s key=%s bytes=%zu", conn_esc(call->c), call->key, body.n);
    api_wait(call, API_OWED, api_bus_uncertain);
    if (inbox_post(site->hub, &site->conf->inbox, body, STR_NONE, on_posted, call, &e) ==
        0)
        return;
    call->state = API_READING;
    api_turn_down(call, 400, "bad-body",
                  "Send {\"user\":…,\"notification\":{…}}; instead of user: users, a "
                  "list, or broadcast:true.",
                  "The body cannot be used: %s.", e.text);
}
