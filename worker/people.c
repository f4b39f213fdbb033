#include "worker/people.h"

#include "worker/http/turned_away.h"

const struct endpoint *people_endpoint(const struct conn *c)
{
    return c->env && !is_turned_away(c) ? endpoint_of(c) : NULL;
}

static const struct protocol *protocol_of(const struct conn *c)
{
    const struct endpoint *e = people_endpoint(c);
    return e ? e->protocol : NULL;
}

struct str people_user(const struct conn *c)
{
    const struct protocol *p = protocol_of(c);
    struct str user = p && p->user ? p->user(c) : hub_user_of(c);
    return user.n > 0 ? user : STR_NONE; /* a user without a name reaches nobody */
}

bool people_is_in(const struct worker *w, const struct conn *c, struct str room)
{
    const struct protocol *p = protocol_of(c);
    if (!p || !p->room)
        return hub_is_member(w->hub, c, room);
    struct str mine = p->room(c);
    return mine.p && str_eq(mine, room);
}

void people_each_room(const struct conn *c, void (*fn)(void *ctx, struct str room),
                      void *ctx)
{
    const struct protocol *p = protocol_of(c);
    struct str mine = p && p->room ? p->room(c) : STR_NONE;
    if (mine.p)
        fn(ctx, mine);
    else if (!p || !p->room)
        hub_each_room(c, fn, ctx);
}
