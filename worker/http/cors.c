#include "worker/http/cors.h"

bool cors_is_preflight(const struct request *r)
{
    return str_is(r->method, "OPTIONS") && request_count(r, "Origin") > 0 &&
           request_count(r, "Access-Control-Request-Method") > 0;
}

bool cors_allows(const struct request *r, const struct conf_strs *allowed)
{
    struct refusal why;
    return upgrade_origin_ok(r, allowed->v, allowed->n, true, &why);
}

/* Without an allowed origin there is nothing an answer could depend on. */
void cors_fields(const struct request *r, const struct conf_strs *allowed,
                 struct buf *out)
{
    if (allowed->n == 0)
        return;
    buf_str(out, STR("Vary: Origin\r\n"));
    if (cors_allows(r, allowed))
        buf_printf(out, "Access-Control-Allow-Origin: " STR_FMT "\r\n",
                   STR_ARG(request_field(r, "Origin")));
}

void cors_preflight_fields(const char *methods, struct buf *out)
{
    buf_printf(out,
               "Access-Control-Allow-Methods: %s\r\n"
               "Access-Control-Allow-Headers: Authorization, Content-Type\r\n"
               "Access-Control-Max-Age: 600\r\n",
               methods);
}
