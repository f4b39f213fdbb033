#include "supervisor/ctl/doctor_frame.h"

#include "common/clock.h"
#include "common/uuid.h"

#define MASK_BIT 0x80
#define FIN_BIT 0x80
#define CONTROL_PAYLOAD_MAX 125 /* RFC 6455 §5.5 */
#define PING_TEXT STR("doctor")

void doctor_frame_put(struct doctor_wire *w, enum frame_op opcode, struct str payload)
{
    struct buf out = {0};
    uint8_t mask[4];

    random_bytes(mask, sizeof(mask));
    buf_char(&out, (char)(FIN_BIT | (uint8_t)opcode));
    if (payload.n <= CONTROL_PAYLOAD_MAX) {
        buf_char(&out, (char)(MASK_BIT | payload.n));
    } else {
        BUG_ON(payload.n > UINT16_MAX);
        buf_char(&out, (char)(MASK_BIT | 126));
        buf_char(&out, (char)(payload.n >> 8));
        buf_char(&out, (char)(payload.n & 0xff));
    }
    buf_put(&out, mask, sizeof(mask));
    for (size_t i = 0; i < payload.n; i++)
        buf_char(&out, (char)((uint8_t)payload.p[i] ^ mask[i % 4]));
    doctor_wire_send(w, buf_view(&out));
    buf_free(&out);
}

/* Bytes of the header, and the length it tells; needs two bytes, then what it says. */
static enum got read_length(struct doctor_wire *w, int64_t until, size_t *header,
                            uint64_t *length)
{
    uint8_t first = (uint8_t)w->in.p[1]; /* a server's frames are not masked */
    size_t more_n = first == 126 ? 2 : first == 127 ? 8 : 0;

    if (first & MASK_BIT)
        return GOT_NONSENSE;
    *header = 2 + more_n;
    *length = more_n ? 0 : first;
    enum got got = doctor_wire_need(w, *header, until);
    for (size_t i = 0; got == GOT_IT && i < more_n; i++)
        *length = *length << 8 | (uint8_t)w->in.p[2 + i];
    return got == GOT_IT && *length > DOCTOR_WIRE_MAX / 2 ? GOT_NONSENSE : got;
}

enum got doctor_frame_read(struct doctor_wire *w, int64_t until, struct doctor_frame *f)
{
    size_t header;
    uint64_t length;
    enum got got = doctor_wire_need(w, 2, until);

    if (got == GOT_IT)
        got = read_length(w, until, &header, &length);
    if (got == GOT_IT)
        got = doctor_wire_need(w, header + length, until);
    if (got != GOT_IT)
        return got;
    f->opcode = (enum frame_op)(w->in.p[0] & 0x0f);
    f->payload = (struct str){w->in.p + header, length};
    return GOT_IT;
}

void doctor_frame_drop(struct doctor_wire *w, const struct doctor_frame *f)
{
    buf_drop(&w->in, (size_t)(f->payload.p - w->in.p) + f->payload.n);
}

/* ---- conversation ---- */

enum got doctor_frame_next(struct doctor_wire *w, int64_t until, unsigned *pings,
                           struct doctor_frame *f)
{
    enum got got;

    while ((got = doctor_frame_read(w, until, f)) == GOT_IT && f->opcode == FRAME_PING) {
        struct str payload = {f->payload.p,
                              MIN(f->payload.n, (size_t)CONTROL_PAYLOAD_MAX)};
        doctor_frame_put(w, FRAME_PONG, payload);
        doctor_frame_drop(w, f);
        ++*pings;
    }
    return got;
}

enum got doctor_frame_ping(struct doctor_wire *w, int64_t timeout_ms,
                           struct doctor_frame *f, struct buf *first)
{
    int64_t until = clock_now_ms() + timeout_ms;
    unsigned pings = 0;
    enum got got;

    doctor_frame_put(w, FRAME_PING, PING_TEXT);
    while ((got = doctor_frame_next(w, until, &pings, f)) == GOT_IT &&
           f->opcode != FRAME_PONG && f->opcode != FRAME_CLOSE) {
        if (first && first->n == 0 && f->opcode == FRAME_TEXT)
            buf_str(first, f->payload);
        doctor_frame_drop(w, f);
    }
    return got;
}

unsigned doctor_frame_close(const struct doctor_frame *f, struct buf *reason)
{
    if (f->payload.n < 2)
        return CLOSE_NONE;
    buf_put(reason, f->payload.p + 2, f->payload.n - 2);
    return (unsigned)(uint8_t)f->payload.p[0] << 8 | (uint8_t)f->payload.p[1];
}

void doctor_frame_bye(struct doctor_wire *w)
{
    if (w->fd >= 0 && !w->ended)
        doctor_frame_put(w, FRAME_CLOSE, STR("\x03\xe8")); /* 1000 */
}
