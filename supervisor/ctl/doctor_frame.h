/* doctor_frame: WebSocket frames (RFC 6455 §5) on a doctor_wire, and the little talk made
 * of them. Owns nothing. Never joins fragments: what is looked at fits one frame. */
#ifndef CTL_DOCTOR_FRAME_H
#define CTL_DOCTOR_FRAME_H

#include "supervisor/ctl/doctor_wire.h"

enum frame_op { /* RFC 6455 §5.2 */
                FRAME_TEXT = 1,
                FRAME_CLOSE = 8,
                FRAME_PING = 9,
                FRAME_PONG = 10,
};
#define CLOSE_NONE 1005 /* RFC 6455 §7.4.1 */

struct doctor_frame {
    enum frame_op opcode;
    struct str payload; /* until the next read or drop */
};

void doctor_frame_put(struct doctor_wire *w, enum frame_op opcode, struct str payload);
/* The next frame; it stays the next until it is dropped. */
enum got doctor_frame_read(struct doctor_wire *w, int64_t until, struct doctor_frame *f);
void doctor_frame_drop(struct doctor_wire *w, const struct doctor_frame *f);

/* The next that is no ping: those are answered, and counted. */
enum got doctor_frame_next(struct doctor_wire *w, int64_t until, unsigned *pings,
                           struct doctor_frame *f);
/* Pings; up to a pong or a close, what else comes is dropped. first: gets the first text
 * of that; may be NULL. */
enum got doctor_frame_ping(struct doctor_wire *w, int64_t timeout_ms,
                           struct doctor_frame *f, struct buf *first);
/* Closes in order, so that nobody takes the doctor for a client that was lost. */
void doctor_frame_bye(struct doctor_wire *w);
/* The code of a close. */
unsigned doctor_frame_close(const struct doctor_frame *f, struct buf *reason);

#endif
