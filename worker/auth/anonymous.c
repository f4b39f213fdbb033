/* anonymous: everybody is welcome and nobody has a name. A token, if one is sent, is not
 * looked at. */
#include "worker/auth/auth.h"

static void *open_anonymous(const struct conf_auth *conf UNUSED, struct err *e UNUSED)
{
    return NULL;
}

static void close_anonymous(void *state UNUSED) {}

static enum auth_verdict check_anonymous(const void *state UNUSED,
                                         struct str token UNUSED, int64_t now_s UNUSED,
                                         struct auth_identity *who UNUSED,
                                         struct err *why UNUSED)
{
    return AUTH_ACCEPTED;
}

const struct auth_ops auth_anonymous_ops = {
    .open = open_anonymous,
    .close = close_anonymous,
    .check = check_anonymous,
};
