#include "worker/net/frame.h"

#include "common/mem.h"

struct frame *frame_alloc(size_t cap)
{
    BUG_ON(cap > UINT32_MAX - sizeof(struct frame));
    struct frame *f = malloc(sizeof(*f) + cap);
    BUG_ON(f == NULL);
    *f = (struct frame){.refs = 1, .cap = (uint32_t)cap};
    return f;
}

struct frame *frame_ref(struct frame *f)
{
    f->refs++;
    return f;
}

void frame_unref(struct frame *f)
{
    while (f && --f->refs == 0) {
        struct frame *next = f->forms;
        free(f);
        f = next;
    }
}

struct frame *frame_form(struct frame *f, uint16_t form)
{
    while (f && f->form != form)
        f = f->forms;
    return f;
}

/* Behind the plain one, in front of the others: each owns the next. But a form that
 * outlives the plain one, in somebody's queue, would keep those behind it: they are few.
 */
void frame_add_form(struct frame *f, uint16_t form, struct frame *other)
{
    other->form = form;
    other->forms = f->forms;
    f->forms = other;
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

unsigned frame_opcode(const struct frame *f)
{
    return f->bytes[0] & 0x0F;
}

struct str frame_payload(const struct frame *f)
{
    unsigned code = (uint8_t)f->bytes[1];
    size_t header = code == 127 ? 10 : code == 126 ? 4 : 2;
    return (struct str){f->bytes + header, f->n - header};
}

void frame_append(struct frame *f, unsigned opcode, struct str payload)
{
    f->n += (uint32_t)frame_header((uint8_t *)f->bytes + f->n, opcode, payload.n);
    if (payload.n)
        memcpy(f->bytes + f->n, payload.p, payload.n);
    f->n += (uint32_t)payload.n;
}
