/* resolve: host names → numeric addresses, without blocking the loop (evdns): the address
 * book workers are sent. Owns its requests, its timer and the book. Never resolves
 * numeric hosts, never forgets an address because a refresh failed. */
#ifndef SUPERVISOR_RESOLVE_H
#define SUPERVISOR_RESOLVE_H

#include "common/conf.h"
#include "common/str.h"

#include <event2/event.h>

#define RESOLVE_REFRESH_MS 30000
#define RESOLVE_TIMEOUT_MS 5000 /* for all names of one `want` together */
#define RESOLVE_IPS_MAX 16      /* per name and family; those beyond are left out */

struct resolve;

/* changed: called from the loop when the book has changed, unless a done is still to
 * come. */
struct resolve *resolve_new(struct event_base *base, void (*changed)(void *ctx),
                            void *ctx);
void resolve_free(struct resolve *r); /* NULL is fine; no callback any more */
/* Other files than /etc/resolv.conf and /etc/hosts (borrowed; both are read anew for each
 * round of questions). */
void resolve_use_files(struct resolve *r, const char *resolv_conf, const char *hosts);

/* The wanted names become those of `c` (redis.url, every hook URL; numeric ones and
 * /etc/hosts need no server). Calls done exactly once, never before it returns: when each
 * name not yet known is resolved or has failed, or after the time limit; a failed one is
 * logged (once per name and state change) and tried again with each refresh. A second
 * want replaces the first (whose done is not called any more). done may be NULL. A name
 * that is not wanted any more stays in the book for a while (two refreshes), because a
 * reload may yet be abandoned. */
void resolve_want(struct resolve *r, const struct conf *c, void (*done)(void *ctx),
                  void *ctx);
/* All names are asked for again, now instead of at the next interval. */
void resolve_refresh(struct resolve *r);
/* The text of the ADDRESSES message: `host ip ip…\n`, IPv4 first; names without an
 * address are left out; valid until the loop runs again. */
struct str resolve_book(const struct resolve *r);

#endif
