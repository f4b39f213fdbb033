/* frame: WebSocket frames as they go out (header and payload in one block), built once,
 * shared by everyone they go to. Counted by reference; immutable while a second reference
 * exists. */
#ifndef WORKER_NET_FRAME_H
#define WORKER_NET_FRAME_H

#include "common/str.h"

#define FRAME_HEADER_MAX 10

struct frame {
    uint32_t refs;
    uint32_t n, cap; /* bytes used, bytes there */
    char bytes[];
};

/* Room for cap bytes, refs 1, n = 0. */
struct frame *frame_alloc(size_t cap);
struct frame *frame_ref(struct frame *f);
void frame_unref(struct frame *f);

/* RFC 6455 §5.2, server to client: FIN set, no mask. Writes the header for a payload of n
 * bytes into out (room for FRAME_HEADER_MAX); returns its length. opcode: 0x1 text, 0x2
 * binary, 0x8 close, 0x9 ping, 0xA pong. */
size_t frame_header(uint8_t *out, unsigned opcode, size_t n);
/* A whole frame of one payload. */
struct frame *frame_new(unsigned opcode, struct str payload);
/* One more frame in the same block, which must have the room. */
void frame_append(struct frame *f, unsigned opcode, struct str payload);

#endif
