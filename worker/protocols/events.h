/* events: the authenticated event protocol (seed 002, PROTOCOL part A): states, rooms,
 * heartbeats, hooks, encryption. Owns struct events_client of each connection. Never
 * sends anything but errors before `connected`. */
#ifndef WORKER_PROTOCOLS_EVENTS_H
#define WORKER_PROTOCOLS_EVENTS_H

#include "worker/protocols/endpoint.h"

/* hub's way to an encrypted client. */
void events_seal(struct conn *c, struct str json);
/* A worker died: tell the back ends (hook `lost`). */
void events_lost(struct endpoint *e, struct str server_id);

#endif
