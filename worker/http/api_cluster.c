/* Rooms, users, counters and kicks: what every worker of every broker is asked. */
#include "common/log.h"
#include "worker/http/api_routes.h"
#include "worker/hub/cluster_merge.h"

#define ROOM "api"

static struct cluster_question question_of(const struct api_call *call)
{
    return (struct cluster_question){call->asks, buf_view(&call->name),
                                     buf_view(&call->after), call->limit};
}

static void no_such_room(struct api_call *call)
{
    api_turn_down(call, 404, "no-such-room", "GET /api/rooms lists those there are.",
                  "Nobody is in the room %.150s.", log_esc(buf_view(&call->name)));
}

static void no_such_client(struct api_call *call)
{
    api_turn_down(
        call, 404, "no-such-client",
        "Its id is told by GET /api/users/{user}, and to itself by `connected`.",
        "No connection has the id %.150s.", log_esc(buf_view(&call->name)));
}

/* That there is none is known only when everybody has answered. */
static void conclude(struct api_call *call, const struct cluster_merged *m)
{
    bool is_nothing = m->total == 0 && m->missing == 0;
    if (is_nothing && call->asks == CLUSTER_ROOM)
        no_such_room(call);
    else if (is_nothing && call->asks == CLUSTER_KICK_CLIENT)
        no_such_client(call);
    else
        api_reply(call, 200, buf_view(&m->json));
}

static void on_answered(void *ctx, const struct cluster_member *v, size_t n,
                        const struct bus_reply *why)
{
    struct api_call *call = ctx;
    struct cluster_merged merged;
    if (!api_settled(call))
        return;
    if (why) {
        api_bus_failed(call, why);
        return;
    }
    struct cluster_question q = question_of(call);
    cluster_merge(&q, v, n, &merged);
    COUNT_ADD(call->counters, cluster_silent, merged.missing);
    conclude(call, &merged);
    cluster_merged_fini(&merged);
}

static void too_many(struct api_call *call)
{
    api_turn_down(call, 429, "too-many-questions",
                  "Ask again in a second, and less at the same time.",
                  "%d questions to all workers are under way here already.",
                  CLUSTER_ASKS_MAX);
}

/* The answer may come before cluster_ask returns. */
static void ask(struct api_call *call, enum cluster_what what)
{
    call->asks = what;
    struct cluster_question q = question_of(call);
    struct cluster *cluster = api_site(call)->cluster;
    api_wait(call, API_OWED, NULL); /* CLUSTER_ANSWER_MS */
    if (cluster_ask(cluster, &q, on_answered, call))
        return;
    call->state = API_READING;
    too_many(call);
}

static void kick(struct api_call *call, enum cluster_what what)
{
    log_info("kick asked by the HTTP API %s key=%s %s=%s", conn_esc(call->c), call->key,
             what == CLUSTER_KICK_USER ? "user" : "client",
             log_esc(buf_view(&call->name)));
    ask(call, what);
}

void api_serve_rooms(struct api_call *call, UNUSED struct str body)
{
    ask(call, CLUSTER_ROOMS);
}

void api_serve_room(struct api_call *call, UNUSED struct str body)
{
    ask(call, CLUSTER_ROOM);
}

void api_serve_user(struct api_call *call, UNUSED struct str body)
{
    ask(call, CLUSTER_USER);
}

void api_serve_stats(struct api_call *call, UNUSED struct str body)
{
    ask(call, CLUSTER_STATS);
}

void api_serve_kick_client(struct api_call *call, UNUSED struct str body)
{
    kick(call, CLUSTER_KICK_CLIENT);
}

void api_serve_kick_user(struct api_call *call, UNUSED struct str body)
{
    kick(call, CLUSTER_KICK_USER);
}
