/* echo: every message comes back as it was, text as text, binary as binary. For
 * conformance and load tests. */
#include "worker/protocols/endpoint.h"

static void on_opened(struct conn *c, const struct session_opening *how)
{
    (void)c;
    (void)how;
}

static void on_message(struct conn *c, bool is_text, struct str message)
{
    if (is_text)
        session_reply_text(c, message);
    else
        session_reply_binary(c, message);
}

static void on_closed(struct conn *c, unsigned code, const char *cause)
{
    session_log_end(c, STR_NONE, code, cause);
}

const struct protocol protocol_echo = {
    .name = "echo",
    .session = {.opened = on_opened, .message = on_message, .closed = on_closed},
};
