// floors: hub
#include "worker/hub/envelope.h"

#include "common/scan.h"

/* What was accepted can be written again, is accepted again, and says the same; what
 * clients get is JSON. */
static void check_round_trip(const struct envelope *e)
{
    struct buf out = {0}, scratch = {0};
    struct envelope again;
    const char *why = NULL;
    struct hub_event ev = {e->kind,      e->target,       e->event_json,
                           e->data_json, e->exclude_json, NULL};
    envelope_write(&out, STR("emitter"), &ev);
    BUG_ON(envelope_read(buf_view(&out), STR("me"), &scratch, &again, &why) !=
           ENVELOPE_OK);
    BUG_ON(again.kind != e->kind || !str_eq(again.target, e->target));
    BUG_ON(!str_eq(again.event_json, e->event_json) ||
           !str_eq(again.data_json, e->data_json));
    BUG_ON(!str_eq(again.exclude_json, e->exclude_json));
    buf_clear(&out);
    envelope_delivery(&out, e->event_json, e->data_json);
    BUG_ON(scan_text(buf_view(&out), NULL, 0) != SCAN_OBJECT);
    buf_free(&out);
    buf_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct buf scratch = {0};
    struct envelope e;
    const char *why = NULL;
    if (envelope_read((struct str){(const char *)p, n}, STR("me"), &scratch, &e, &why) ==
        ENVELOPE_OK)
        check_round_trip(&e);
    buf_free(&scratch);
    return 0;
}
