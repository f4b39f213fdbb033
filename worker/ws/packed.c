#include "worker/ws/packed.h"

#include "worker/ws/session.h"

/* What takes longer than a slice of a turn (NET_SLICE_MS) holds up everybody. */
#define PACKED_MOST (1024 * 1024)

static struct deflate *tools(const struct conn *c)
{
    if (!c->net->deflate)
        c->net->deflate = deflate_new();
    return c->net->deflate;
}

/* ---- in ---- */

enum deflate_verdict packed_open(struct conn *c, struct str packed, struct str *out)
{
    struct counters *n = c->net->counters;
    size_t limit = (size_t)c->env->max_message;
    enum deflate_verdict v = deflate_unpack(tools(c), packed, limit, out);
    COUNT_ADD(n, deflate_in_bytes, packed.n);
    if (v == DEFLATE_BIG)
        COUNT(n, deflate_bombs);
    return v;
}

void packed_done(struct conn *c)
{
    deflate_unpack_done(tools(c));
}

/* ---- out ---- */

/* A sealed message is as good as random. */
static bool is_worth_it(const struct conn *c, size_t n)
{
    return c->st.window_bits && n >= c->env->pack_from && n <= PACKED_MOST &&
           !(c->st.flags & CONN_ENCRYPTED);
}

static bool pack(struct conn *c, struct str plain, struct str *out)
{
    bool is_smaller =
        deflate_pack(tools(c), plain, c->st.window_bits, c->env->pack_level, out);
    if (is_smaller)
        COUNT(c->net->counters, deflate_made);
    return is_smaller;
}

/* What the compressed bytes depend on; never 0. */
static uint16_t form_of(const struct conn *c)
{
    return (uint16_t)(deflate_window(c->st.window_bits) << 8 |
                      (unsigned)c->env->pack_level);
}

static struct frame *make(struct conn *c, struct frame *plain)
{
    struct str small;
    struct frame *f = NULL;
    if (pack(c, frame_payload(plain), &small)) {
        f = frame_new(FRAME_RSV1 | frame_opcode(plain), small);
        frame_add_form(plain, form_of(c), f);
    }
    plain->has_no_forms = !f;
    deflate_pack_done(tools(c));
    return f;
}

struct frame *packed_frame(struct conn *c, struct frame *plain)
{
    if (plain->has_no_forms || !is_worth_it(c, frame_payload(plain).n))
        return plain;
    struct frame *f = frame_form(plain, form_of(c));
    if (!f)
        f = make(c, plain);
    return f ? f : plain;
}

void packed_sent(struct conn *c, size_t packed_n, size_t plain_n)
{
    struct counters *n = c->net->counters;
    COUNT_ADD(n, deflate_out_bytes, packed_n);
    COUNT_ADD(n, deflate_saved_bytes, plain_n - packed_n);
}

bool packed_reply(struct conn *c, unsigned opcode, struct str payload)
{
    struct str small;
    if (!is_worth_it(c, payload.n))
        return false;
    bool is_smaller = pack(c, payload, &small);
    if (is_smaller) {
        conn_reply(c, FRAME_RSV1 | opcode, small);
        packed_sent(c, small.n, payload.n);
    }
    deflate_pack_done(tools(c));
    return is_smaller;
}
