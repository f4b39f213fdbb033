/* addresses: the address book: host name → numeric addresses, resolved by the supervisor,
 * read by workers (which never resolve). Owns its text. Numeric hosts need no entry. */
#ifndef COMMON_ADDRESSES_H
#define COMMON_ADDRESSES_H

#include "common/buf.h"

#include <sys/socket.h>

struct addresses {
    struct buf text; /* lines `host ip ip…\n`, as in the ADDRESSES message */
};
void addresses_set(struct addresses *a, struct str text);
void addresses_fini(struct addresses *a);
/* The ips of a host (blank-separated view); the host itself when it is numeric; p NULL:
 * unknown. */
struct str addresses_find(const struct addresses *a, struct str host);
/* "127.0.0.1" or "::1" and a port → sockaddr; returns its length, 0: not numeric. */
socklen_t address_parse(struct str ip, uint16_t port, struct sockaddr_storage *out);
/* Splits an http(s) URL into host (without brackets) and port; false when it is none, or
 * holds user:password@ (shown in logs). */
bool url_host(struct str url, struct str *host, uint16_t *port, bool *is_https);

#endif
