#include "worker/protocols/expiry.h"

#include "common/clock.h"

#define LOOK_AGAIN_MS 60000 /* the wall clock may be set meanwhile */

int64_t expiry_due(struct conn *c, int64_t expires_s, int64_t now_ms)
{
    int64_t left_ms = expires_s * 1000 - clock_wall_ms();
    if (expires_s == 0)
        return 0;
    if (left_ms > 0)
        return now_ms + MIN(left_ms, LOOK_AGAIN_MS);
    COUNT(c->net->counters, auth_expired);
    session_close(c, 4001, "Token expired");
    return 0;
}
