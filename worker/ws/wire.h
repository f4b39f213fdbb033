/* wire: the frame format of RFC 6455 §5.2, pure: header in, verdict out; masks on and
 * off. Owns nothing, allocates nothing, knows no connection. */
#ifndef WORKER_WS_WIRE_H
#define WORKER_WS_WIRE_H

#include "common/base.h"

enum wire_opcode {
    WIRE_CONTINUATION = 0,
    WIRE_TEXT = 1,
    WIRE_BINARY = 2,
    WIRE_CLOSE = 8,
    WIRE_PING = 9,
    WIRE_PONG = 10
};

struct wire_header {
    bool fin;
    uint8_t rsv; /* three bits, RSV1 = 4 */
    uint8_t opcode;
    bool masked;
    uint8_t mask[4];
    uint64_t length;
    size_t size; /* of the header itself: 2 … 14 */
};

/* Faults a header alone can show; all are close code 1002. */
enum wire_verdict {
    WIRE_OK,
    WIRE_MORE, /* not all of the header is there */
    WIRE_RSV, /* a reserved bit without an extension that gives it a meaning (allowed_rsv)
               */
    WIRE_OPCODE,        /* reserved opcode */
    WIRE_UNMASKED,      /* a client must mask (§5.1) */
    WIRE_LENGTH,        /* not the minimal encoding, or the top bit of 64 set */
    WIRE_CONTROL_LONG,  /* control frame over 125 bytes (§5.5) */
    WIRE_CONTROL_SPLIT, /* fragmented control frame */
};
/* Each fault is reported as soon as the bytes at hand show it (RSV and opcode with the
 * first byte). */
enum wire_verdict wire_parse(const uint8_t *p, size_t n, uint8_t allowed_rsv,
                             struct wire_header *out);
const char *
wire_fault(enum wire_verdict v); /* a sentence for the Close reason, ≤ 123 bytes */

/* XORs n bytes in place; offset: how many bytes of the frame's payload came before (mod 4
 * counts). Vectorised. */
void wire_unmask(void *p, size_t n, const uint8_t mask[4], uint64_t offset);

/* One way to unmask; all do the same. wire_ways: those this machine can go, best first;
 * the first is in use. For tests. */
struct wire_way {
    const char *name;
    void (*unmask)(uint8_t *p, size_t n,
                   uint32_t mask); /* mask: four bytes as in memory, the first for *p */
};
size_t wire_ways(const struct wire_way **out);

/* §7.4: may a peer send this code in a Close frame? (1000–1003, 1007–1014, 3000–4999) */
bool wire_close_code_ok(unsigned code);

#endif
