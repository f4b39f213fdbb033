/* frame: WebSocket frames as they go out (header and payload in one block), built once,
 * shared by everyone they go to. Counted by reference; its bytes are immutable while a
 * second reference exists. The same message in another form is kept beside it. */
#ifndef WORKER_NET_FRAME_H
#define WORKER_NET_FRAME_H

#include "common/str.h"

#define FRAME_HEADER_MAX 10
#define FRAME_RSV1 0x40

struct frame {
    uint32_t refs;
    uint32_t n, cap;     /* bytes used, bytes there */
    uint16_t form;       /* whoever made it knows; 0: as it is */
    bool has_no_forms;   /* it is not worth another attempt */
    struct frame *forms; /* owned: the next other form of the same message */
    char bytes[];
};

/* Room for cap bytes, refs 1, n = 0. */
struct frame *frame_alloc(size_t cap);
struct frame *frame_ref(struct frame *f);
void frame_unref(struct frame *f);

/* That form of it, which lives at least as long as f does; NULL: not made yet. */
struct frame *frame_form(struct frame *f, uint16_t form);
/* Takes over the reference. */
void frame_add_form(struct frame *f, uint16_t form, struct frame *other);

/* RFC 6455 §5.2, server to client: FIN set, no mask. Writes the header for a payload of n
 * bytes into out (room for FRAME_HEADER_MAX); returns its length. opcode: 0x1 text, 0x2
 * binary, 0x8 close, 0x9 ping, 0xA pong; with FRAME_RSV1, if an extension says so. */
size_t frame_header(uint8_t *out, unsigned opcode, size_t n);
/* A whole frame of one payload. */
struct frame *frame_new(unsigned opcode, struct str payload);
/* What was given to frame_new, found again. */
unsigned frame_opcode(const struct frame *f);
struct str frame_payload(const struct frame *f);
/* One more frame in the same block, which must have the room. */
void frame_append(struct frame *f, unsigned opcode, struct str payload);

#endif
