/* packed: permessage-deflate (RFC 7692) on a connection that agreed to it: which messages
 * go out compressed, what came so made whole; all of it counted. Owns nothing but the
 * worker's struct deflate (net->deflate), made for the first who needs it. Never decides
 * what a fault means for the connection. */
#ifndef WORKER_WS_PACKED_H
#define WORKER_WS_PACKED_H

#include "worker/net/conn.h"
#include "worker/ws/deflate.h"

/* The reserved bits its messages may begin with: §6. */
static inline uint8_t packed_rsv(const struct conn *c)
{
    return c->st.window_bits ? 4 : 0;
}

/* A message as it came, inflated to the endpoint's max_message at most. *out: a view
 * until packed_done. */
enum deflate_verdict packed_open(struct conn *c, struct str packed, struct str *out);
void packed_done(struct conn *c);

/* The form of a frame that this connection gets: the shared compressed one or, if that
 * is not worth it, the frame itself. No reference is taken. */
struct frame *packed_frame(struct conn *c, struct frame *plain);
/* It was queued. */
void packed_sent(struct conn *c, size_t packed_n, size_t plain_n);
/* A message to this one alone: queues it if it goes compressed. */
bool packed_reply(struct conn *c, unsigned opcode, struct str payload);

#endif
