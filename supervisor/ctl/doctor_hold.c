#include "supervisor/ctl/doctor.h"

#include "common/clock.h"

#include <poll.h>
#include <time.h>

#define CLOSE_AUTH_TIMEOUT 4001
#define CLOSE_HEARTBEAT 4002
#define PULSE_MS 1000
#define ANSWER_MS 2000   /* for a ping of the witness */
#define TOGETHER_MS 2500 /* two ends no further apart have one cause: pulse and noise */
#define REPLACED_MS                                                                      \
    1500 /* an end so soon after the witness came is the witness's doing */

/* The connection that is held idle, and a witness: a second one that pings all the time.
 * When the first is gone, the fate of the second tells why. */
struct hold {
    struct doctor *d;
    struct doctor_wire witness; /* fd -1: none */
    int64_t begin_ms, end_ms;
    int64_t pulse_ms;   /* when the witness is served next */
    int64_t witness_ms; /* when it opened */
    int64_t lost_ms;    /* when it was found dropped; 0: it was not */
    bool is_alone;      /* no witness is wanted */
    unsigned pings;     /* native ones of the server */
    int64_t restarts;   /* of workers, before; -1: not known */
};

/* What the witness saw. */
enum fate {
    FATE_UNSEEN,  /* there was none */
    FATE_BUSY,    /* it lives: being idle was the cause */
    FATE_SHARED,  /* it ended in the same moment */
    FATE_LIMITED, /* it ended at the same age */
};

static double seconds(int64_t ms)
{
    return (double)ms / 1000;
}

static void put_pings(struct buf *b, unsigned pings)
{
    if (pings)
        buf_printf(b, "%u native ping%s came", pings, pings == 1 ? "" : "s");
    else
        buf_printf(b, "no native ping came");
}

/* ---- the witness ---- */

/* Where the server lets one in per person, a second would throw the first out. */
static bool is_exclusive(const struct doctor *d)
{
    return str_is(str_of(d->greeting), "joined");
}

static void open_witness(struct hold *h)
{
    struct doctor *d = h->d;
    struct doctor_head head = {0};
    struct finding unused = {0};

    h->is_alone = true; /* there is one try */
    if (is_exclusive(d))
        return;
    if (doctor_shake(d, &h->witness, d->ctl->opt.origin, &head, &unused) == GOT_IT &&
        head.status == 101) {
        doctor_wire_drop_head(&h->witness, &head);
        if (d->ctl->opt.token && !d->greeting[0])
            doctor_put_authenticate(d, &h->witness);
        h->witness_ms = clock_now_ms();
    } else {
        doctor_wire_close(&h->witness);
    }
    finding_fini(&unused);
}

/* One that the server closes in order is no witness any more, but was not dropped. */
static void ask_witness(struct hold *h)
{
    struct doctor_frame frame;

    if (h->witness.fd < 0)
        return;
    enum got got = doctor_frame_ping(&h->witness, ANSWER_MS, &frame, NULL);
    if (got == GOT_IT && frame.opcode == FRAME_PONG) {
        doctor_frame_drop(&h->witness, &frame);
        return;
    }
    if (got == GOT_END)
        h->lost_ms = clock_now_ms();
    doctor_wire_close(&h->witness);
}

/* Lives on until it is as old as the other became? The other's age is stretched a little:
 * who cuts looks now and then only. */
static bool is_outliving(struct hold *h)
{
    int64_t age_ms = h->end_ms - h->d->opened_ms;
    int64_t until = h->witness_ms + age_ms + age_ms / 20 + PULSE_MS;

    while (h->witness.fd >= 0 && clock_now_ms() < until) {
        ask_witness(h);
        poll(NULL, 0, PULSE_MS / 4);
    }
    return h->witness.fd >= 0;
}

static enum fate fate_of_witness(struct hold *h)
{
    if (h->lost_ms && h->end_ms - h->lost_ms <= TOGETHER_MS)
        return FATE_SHARED;
    if (h->witness.fd < 0)
        return FATE_UNSEEN;
    return is_outliving(h) ? FATE_BUSY : h->lost_ms ? FATE_LIMITED : FATE_UNSEEN;
}

/* ---- it vanished ---- */

/* Nobody there any more, or only a proxy. */
static bool is_gone(struct doctor *d, struct finding *f)
{
    struct doctor_wire w = {.fd = -1};
    struct doctor_head head = {0};
    struct finding now = {0};
    double at_s = seconds(clock_now_ms() - d->opened_ms);

    bool is_answered = doctor_shake(d, &w, d->ctl->opt.origin, &head, &now) == GOT_IT;
    if (now.proof == PROOF_BAD)
        finding_bad(f, DOCTOR_NOT_RUNNING,
                    "the server went away after %.0f s, without a close frame; now: %s",
                    at_s, buf_cstr(&now.said));
    else if (is_answered && doctor_is_gateway_error(head.status))
        finding_bad(f, DOCTOR_NOT_RUNNING,
                    "the server went away after %.0f s, without a close frame; now a "
                    "proxy answers %u",
                    at_s, head.status);
    if (f->proof == PROOF_BAD)
        finding_fix(f, "look into the log of the server for why it ended, and start it");
    doctor_wire_close(&w);
    finding_fini(&now);
    return f->proof == PROOF_BAD;
}

static const char *utc_now(void)
{
    static char text[16];
    struct tm tm;
    time_t now = (time_t)(clock_wall_ms() / 1000);

    strftime(text, sizeof(text), "%H:%M:%S UTC", gmtime_r(&now, &tm));
    return text;
}

static void explain_shared(struct hold *h, const char *pings, struct finding *f)
{
    finding_bad(f, DOCTOR_LIVENESS,
                "after %.1f s it was dropped together with a busy connection, without a "
                "close frame: not for being idle; the server or something in between "
                "crashed or restarted; %s",
                seconds(h->end_ms - h->begin_ms), pings);
    finding_fix(f, "look into the log of the server, and of proxies, at %s", utc_now());
}

/* The witness may have been with another worker; the broker knows. */
static bool is_worker_lost(struct hold *h)
{
    return h->restarts >= 0 && doctor_restarts(h->d) > h->restarts;
}

static void explain_crash(struct hold *h, const char *pings, struct finding *f)
{
    finding_bad(f, DOCTOR_LIVENESS,
                "after %.1f s a worker of the broker crashed or was killed, and its "
                "connections with it, without a close frame; %s",
                seconds(h->end_ms - h->begin_ms), pings);
    finding_fix(f, "look into heliod's log at %s: the line `worker died` says why",
                utc_now());
}

static void explain_limit(struct hold *h, const char *pings, struct finding *f)
{
    finding_bad(
        f, DOCTOR_LIVENESS,
        "every connection is cut ≈%.0f s after it opened, busy or idle, without a "
        "close frame: something in between limits its life; %s",
        seconds(h->end_ms - h->d->opened_ms), pings);
    finding_fix(f, "raise that limit at the proxy, or let clients connect again; pings "
                   "do not help");
}

static void explain_idle(struct hold *h, enum fate fate, const char *pings,
                         struct finding *f)
{
    double idle_s = seconds(h->end_ms - MAX(h->begin_ms, h->d->wire.heard_ms));

    finding_bad(f, DOCTOR_LIVENESS,
                "closed by something in between after ≈%.0f s idle, without a close "
                "frame; %s%s",
                idle_s, pings, fate == FATE_BUSY ? "; a busy connection lives on" : "");
    finding_fix(f,
                "lower client.ping_after below %.0f s in heliod.yaml, or raise the idle "
                "time-out of the proxy",
                idle_s);
}

/* Without a witness, traffic just before speaks against idleness. */
static void explain_unclear(struct hold *h, const char *pings, struct finding *f)
{
    finding_bad(f, DOCTOR_LIVENESS,
                "dropped after %.1f s without a close frame, and not for being idle: its "
                "last message came %.1f s before; %s",
                seconds(h->end_ms - h->begin_ms),
                seconds(h->end_ms - h->d->wire.heard_ms), pings);
    finding_fix(f, "look into the log of the server, and of proxies on the way");
}

static void vanished(struct hold *h, const char *pings, struct finding *f)
{
    h->end_ms = clock_now_ms();
    ask_witness(h);
    if (is_gone(h->d, f))
        return;
    enum fate fate = fate_of_witness(h);
    if (is_worker_lost(h))
        explain_crash(h, pings, f);
    else if (fate == FATE_SHARED)
        explain_shared(h, pings, f);
    else if (fate == FATE_LIMITED)
        explain_limit(h, pings, f);
    else if (fate == FATE_UNSEEN && h->d->wire.heard_ms > (h->begin_ms + h->end_ms) / 2)
        explain_unclear(h, pings, f);
    else
        explain_idle(h, fate, pings, f);
}

/* ---- it did not ---- */

static void ended_by_close(struct hold *h, const struct doctor_frame *frame,
                           struct finding *f)
{
    struct buf reason = {0};
    unsigned code = doctor_frame_close(frame, &reason);
    double at_s = seconds(clock_now_ms() - h->begin_ms);
    const char *said = buf_cstr(&reason);

    if (code == CLOSE_AUTH_TIMEOUT && !h->d->ctl->opt.token)
        finding_none(f, "closed after %.1f s with 4001 (%s): holding wants --token here",
                     at_s, said);
    else if (code == CLOSE_HEARTBEAT)
        finding_good(f,
                     "held for %.1f s, then closed with 4002 (%s), as a client that "
                     "sends no heartbeats is",
                     at_s, said);
    else {
        finding_bad(f, DOCTOR_LIVENESS, "the server closed after %.1f s with %u (%s)",
                    at_s, code, said);
        finding_fix(f, "it is the server's own decision: see heliod-errors(7) for the "
                       "code");
    }
    buf_free(&reason);
}

static void held(struct hold *h, const char *pings, struct finding *f)
{
    struct doctor *d = h->d;
    struct doctor_frame frame;
    unsigned s = (unsigned)d->ctl->opt.hold_s;

    if (doctor_frame_ping(&d->wire, d->step_ms, &frame, NULL) == GOT_IT &&
        frame.opcode == FRAME_PONG) {
        finding_good(f, "held for %u s and still answering; %s", s, pings);
        return;
    }
    ask_witness(h);
    finding_bad(
        f, DOCTOR_LIVENESS,
        "after %u s idle the peer does not answer any more, nobody said why; %s%s", s,
        pings, h->witness.fd >= 0 ? "; a busy connection lives on" : "");
    finding_fix(f,
                "lower client.ping_after below %u s in heliod.yaml, or raise the idle "
                "time-out of the proxy or firewall",
                s);
}

/* ---- holding ---- */

/* The second connection of somebody replaced the first: then the second is held, alone.
 */
static bool is_replaced(struct hold *h)
{
    if (clock_now_ms() - h->witness_ms > REPLACED_MS)
        return false;
    ask_witness(h);
    if (h->witness.fd < 0)
        return false;
    doctor_wire_close(&h->d->wire);
    h->d->wire = h->witness;
    h->d->opened_ms = h->begin_ms = h->witness_ms;
    h->witness = (struct doctor_wire){.fd = -1};
    return true;
}

/* The witness is served once a second, whatever the other one brings. */
static void pulse(struct hold *h)
{
    if (clock_now_ms() < h->pulse_ms)
        return;
    if (h->is_alone)
        ask_witness(h);
    else
        open_witness(h);
    h->pulse_ms = clock_now_ms() + PULSE_MS;
}

/* Until the end of the time, a close (GOT_IT), or the peer's end. */
static enum got wait_idle(struct hold *h, int64_t until, struct doctor_frame *frame)
{
    struct doctor_wire *w = &h->d->wire;

    while (clock_now_ms() < until) {
        enum got got = doctor_frame_next(w, MIN(h->pulse_ms, until), &h->pings, frame);
        bool is_close = got == GOT_IT && frame->opcode == FRAME_CLOSE;
        if (is_close && is_replaced(h))
            continue;
        if (is_close || got == GOT_END || got == GOT_NONSENSE)
            return got;
        if (got == GOT_IT)
            doctor_frame_drop(w, frame);
        pulse(h);
    }
    return GOT_TIMEOUT;
}

static void hold(struct doctor *d, struct finding *f)
{
    struct hold h = {.d = d, .witness.fd = -1, .begin_ms = clock_now_ms()};
    h.pulse_ms = h.begin_ms + PULSE_MS;
    h.restarts = doctor_restarts(d);
    struct doctor_frame frame;
    struct buf pings = {0};

    enum got got = wait_idle(&h, h.begin_ms + (int64_t)d->ctl->opt.hold_s * 1000, &frame);
    put_pings(&pings, h.pings);
    if (got == GOT_IT)
        ended_by_close(&h, &frame, f);
    else if (got == GOT_TIMEOUT)
        held(&h, buf_cstr(&pings), f);
    else if (got == GOT_NONSENSE)
        finding_bad(f, DOCTOR_LIVENESS, "what came in between is no frame");
    else
        vanished(&h, buf_cstr(&pings), f);
    doctor_frame_bye(&h.witness);
    doctor_wire_close(&h.witness);
    buf_free(&pings);
}

void doctor_prove_hold(struct doctor *d, struct finding *f)
{
    if (d->ctl->opt.hold_s == 0)
        finding_none(f, "not tried: no --hold");
    else if (!d->is_open)
        finding_none(f, "not tried: no WebSocket is open");
    else
        hold(d, f);
}
