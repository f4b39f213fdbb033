#include "worker/protocols/signaling.h"

#include "common/mem.h"

#define ROOM "signaling"
#define OWN_ARGUMENTS 7

extern const struct str signaling_lua;
static struct script script = {.text = &signaling_lua};
static struct log_limit failures;

static void on_unawaited(UNUSED void *ctx, const struct bus_reply *r)
{
    unsigned swallowed = 0;
    if (r->type == BUS_ERROR && log_permit(&failures, 1, 10000, &swallowed))
        log_error("Redis refuses the script that keeps signaling rooms: %s",
                  log_esc(r->text));
}

/* Where the workers of an endpoint listen: the server id follows. */
static void write_stem(const struct signaling *s, struct buf *out)
{
    struct str path = signaling_conf(s)->path;
    buf_printf(out, TOPIC_PREFIX "sigw:" STR_FMT ":", STR_ARG(path));
}

static struct str number(char *text, size_t size, int64_t n)
{
    snprintf(text, size, "%" PRId64, n);
    return str_of(text);
}

void signaling_call(struct signaling_room *r, struct str verb, const struct str *args,
                    size_t n, bus_reply_fn fn, void *ctx)
{
    const struct conf_endpoint *conf = signaling_conf(r->s);
    struct hub *hub = r->s->endpoint->services->hub;
    struct str key = {r->topic.channel, r->topic.channel_n};
    char grace[24], lease[24], room_size[24], role_size[24];
    struct buf stem = {0};
    struct str *all = mem_new((OWN_ARGUMENTS + n) * sizeof(*all));
    write_stem(r->s, &stem);
    all[0] = verb;
    all[1] = str_of(hub_server_id(hub));
    all[2] = buf_view(&stem);
    all[3] = number(lease, sizeof(lease), SIGNALING_LEASE_MS);
    all[4] = number(grace, sizeof(grace), conf->grace);
    all[5] = number(room_size, sizeof(room_size), conf->room_size);
    all[6] = number(role_size, sizeof(role_size), conf->role_size);
    for (size_t i = 0; i < n; i++)
        all[OWN_ARGUMENTS + i] = args[i];
    hub_eval(hub, &script, &key, 1, all, OWN_ARGUMENTS + n, fn ? fn : on_unawaited, ctx);
    free(all);
    buf_free(&stem);
}

static void write_digest(struct buf *out, const uint8_t digest[DIGEST_SHA256])
{
    buf_hex(out, digest, DIGEST_SHA256);
}

void signaling_claims(const struct signaling_member *m, struct buf *who,
                      struct buf *session)
{
    uint8_t digest[DIGEST_SHA256];
    if (m->user && *m->user) {
        digest_sha256(str_of(m->user), digest);
        write_digest(who, digest);
    } else {
        buf_char(who, '-');
    }
    if (m->has_session)
        write_digest(session, m->session);
    else
        buf_char(session, '-');
}
