// floors: common net ws http
/* body: cut anywhere, a chunked body gives the same; and never more than is allowed. The
 * first byte says where it is cut. */
#include "worker/http/body.h"

#define CONTENT_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    struct buf out;
    size_t used;
    enum body_verdict v;
};

static void run(struct str s, size_t step, struct outcome *o)
{
    struct request r = {.is_chunked = true};
    struct body b;
    const char *why = NULL;
    o->v = body_init(&b, &r, CONTENT_MAX);
    while (o->v == BODY_MORE && o->used < s.n) {
        size_t used, n = MIN(step, s.n - o->used);
        o->v = body_feed(&b, (struct str){s.p + o->used, n}, &used, &o->out, &why);
        BUG_ON(used > n || (o->v == BODY_MORE && used != n));
        o->used += used;
    }
    BUG_ON(o->out.n > CONTENT_MAX || o->out.n > o->used);
    BUG_ON((o->v == BODY_BAD) != (why != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole = {0}, cut = {0};
    if (size == 0 || size > 16384)
        return 0;
    struct str s = {(const char *)data + 1, size - 1};
    run(s, s.n + 1, &whole);
    run(s, 1u + data[0] % 16, &cut);
    BUG_ON(whole.v != cut.v || whole.used != cut.used);
    BUG_ON(!str_eq(buf_view(&whole.out), buf_view(&cut.out)));
    buf_free(&whole.out);
    buf_free(&cut.out);
    return 0;
}
