#include "worker/http/turned_away.h"

#include "common/log.h"

#define ROOM "http"
#define ELLIPSIS "..."
#define HINT_MAX (TURNED_AWAY_REASON_MAX * 2 / 3)

static void on_opened(struct conn *c, const struct session_opening *how)
{
    (void)c;
    (void)how;
}

static void on_closed(struct conn *c, unsigned code, const char *cause)
{
    log_debug("turned away %s code=%u cause=\"%s\"", conn_esc(c), code, cause);
}

/* No .message: its Close is queued before the first frame is read, so nothing it says
 * counts. */
static const struct session_ops ops = {.opened = on_opened, .closed = on_closed};
static struct session_env nowhere = {.ops = &ops};

bool is_turned_away(const struct conn *c)
{
    return c->env == &nowhere;
}

/* The longest beginning of at most `max` bytes that ends with a character. */
static size_t cut(const char *text, size_t max)
{
    size_t n = max;
    while (n > 0 && ((uint8_t)text[n] & 0xC0) == 0x80)
        n--;
    return n;
}

void turned_away_reason(const struct refusal *why, char out[TURNED_AWAY_REASON_MAX + 1])
{
    size_t n = strlen(why->message), hint = strlen(why->hint);
    if (hint > HINT_MAX && n + 1 + hint > TURNED_AWAY_REASON_MAX)
        hint = 0;
    size_t room = TURNED_AWAY_REASON_MAX - (hint ? 1 + hint : 0);
    bool is_long = n > room;
    if (is_long)
        n = cut(why->message, room - strlen(ELLIPSIS));
    snprintf(out, TURNED_AWAY_REASON_MAX + 1, "%.*s%s%s%.*s", (int)n, why->message,
             is_long ? ELLIPSIS : "", hint ? " " : "", (int)hint, why->hint);
}

void turned_away_start(struct conn *c, const struct refusal *why)
{
    static const struct session_opening nothing;
    char reason[TURNED_AWAY_REASON_MAX + 1];
    turned_away_reason(why, reason);
    COUNT(c->net->counters, refused);
    log_debug("refused %s code=%u error=%s", conn_esc(c), 4000 + why->status, why->error);
    session_start(c, &nowhere, &nothing);
    session_close(c, 4000 + why->status, reason);
}
