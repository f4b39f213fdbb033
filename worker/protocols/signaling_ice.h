/* signaling_ice: the STUN and TURN servers an entrant is told of, as WebRTC's
 * RTCConfiguration takes them. Owns nothing. Shows fixed and minted credentials to
 * entrants, the shared secret to nobody. */
#ifndef WORKER_PROTOCOLS_SIGNALING_ICE_H
#define WORKER_PROTOCOLS_SIGNALING_ICE_H

#include "common/buf.h"
#include "common/conf.h"

/* Appends `,"iceServers":[…]`, or nothing when none is configured. user: of the entrant,
 * p NULL or empty: nobody in particular. Minted credentials follow the TURN REST scheme
 * (coturn: use-auth-secret): the name is `expiry[:user]` in Unix seconds, the password
 * base64(HMAC-SHA1(secret, name)). */
void ice_write(struct buf *out, const struct conf_endpoint *conf, struct str user,
               int64_t wall_s);

#endif
