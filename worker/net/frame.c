#include "worker/net/frame.h"

#include "common/mem.h"

struct frame *frame_alloc(size_t cap)
{
    BUG_ON(cap > UINT32_MAX - sizeof(struct frame));
    struct frame *f = malloc(sizeof(*f) + cap);
    BUG_ON(f == NULL);
    f->refs = 1;
    f->n = 0;
    f->cap = (uint32_t)cap;
    return f;
}

struct frame *frame_ref(struct frame *f)
{
    f->refs++;
    return f;
}

void frame_unref(struct frame *f)
{
    if (f && --f->refs == 0)
        free(f);
}

size_t frame_header(uint8_t *out, unsigned opcode, size_t n)
{
    out[0] = (uint8_t)(0x80 | opcode);
    if (n < 126) {
        out[1] = (uint8_t)n;
        return 2;
    }
    if (n < 65536) {
        out[1] = 126;
        out[2] = (uint8_t)(n >> 8);
        out[3] = (uint8_t)n;
        return 4;
    }
    out[1] = 127;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
    return 10;
}

struct frame *frame_new(unsigned opcode, struct str payload)
{
    struct frame *f = frame_alloc(FRAME_HEADER_MAX + payload.n);
    frame_append(f, opcode, payload);
    return f;
}

void frame_append(struct frame *f, unsigned opcode, struct str payload)
{
    f->n += (uint32_t)frame_header((uint8_t *)f->bytes + f->n, opcode, payload.n);
    if (payload.n)
        memcpy(f->bytes + f->n, payload.p, payload.n);
    f->n += (uint32_t)payload.n;
}
