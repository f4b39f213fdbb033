#include "worker/http/answer.h"

#include "common/clock.h"
#include "common/log.h"
#include "worker/http/site.h"

#include <time.h>

#define ROOM "http"

static const char *reason_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Error";
}

/* The field that must go with a status (RFC 6455 §4.4, RFC 9110 §10.2.3, §11.6.1). */
static const char *extra_field(unsigned status)
{
    switch (status) {
    case 401:
        return "WWW-Authenticate: Bearer\r\n";
    case 426:
        return "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    case 429:
    case 503:
        return "Retry-After: 1\r\n";
    default:
        return "";
    }
}

/* RFC 9110 §6.6.1. */
static void put_date(struct buf *out)
{
    char text[64];
    struct tm tm;
    time_t now = (time_t)(clock_wall_ms() / 1000);
    strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n",
             gmtime_r(&now, &tm));
    buf_str(out, str_of(text));
}

static bool is_bare(unsigned status)
{
    return status == 204 || status == 304;
}

/* RFC 9110 §8.6: 204 has no Content-Length; RFC 9111 §5.2.2.4: no-cache may be kept, but
 * has to be asked about. */
static void put_content(struct buf *out, unsigned status, struct str body,
                        const struct answer_how *how)
{
    if (!is_bare(status))
        buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                   how->type ? how->type : "application/json", body.n);
    if (how->etag.n)
        buf_printf(out, "Cache-Control: no-cache\r\nETag: " STR_FMT "\r\n",
                   STR_ARG(how->etag));
    else
        buf_str(out, STR("Cache-Control: no-store\r\n"));
}

/* allow: of a 405 (RFC 9110 §15.5.6), else NULL. */
static void answer(struct conn *c, unsigned status, const char *allow, struct str body,
                   const struct answer_how *how)
{
    struct buf out = {0};
    bool keep_alive = how->keep_alive && !c->net->site->is_leaving;
    buf_printf(&out, "HTTP/1.1 %u %s\r\n", status, reason_phrase(status));
    put_content(&out, status, body, how);
    put_date(&out);
    if (allow)
        buf_printf(&out, "Allow: %s\r\n", allow);
    buf_str(&out, how->fields);
    buf_printf(&out, "%sConnection: %s\r\n\r\n", extra_field(status),
               keep_alive      ? "keep-alive"
               : status == 426 ? "Upgrade, close"
                               : "close");
    if (how->with_body && !is_bare(status))
        buf_str(&out, body);
    conn_raw(c, buf_view(&out));
    buf_free(&out);
    if (!keep_alive)
        conn_drain(c);
}

void answer_send(struct conn *c, unsigned status, struct str body,
                 const struct answer_how *how)
{
    answer(c, status, NULL, body, how);
}

void answer_json(struct conn *c, unsigned status, struct str body, bool with_body,
                 bool keep_alive)
{
    answer_send(c, status, body, &(struct answer_how){with_body, keep_alive});
}

void answer_explain(struct conn *c, const struct refusal *r, const struct answer_how *how)
{
    struct buf body = {0};
    buf_str(&body, STR("{\"error\":"));
    buf_json(&body, str_of(r->error));
    buf_str(&body, STR(",\"message\":"));
    buf_json(&body, str_of(r->message));
    buf_str(&body, STR(",\"hint\":"));
    buf_json(&body, str_of(r->hint));
    buf_str(&body, STR("}\n"));
    COUNT(c->net->counters, refused);
    answer(c, r->status, r->allow, buf_view(&body), how);
    buf_free(&body);
    log_debug("refused %s status=%u error=%s", conn_esc(c), r->status, r->error);
}

void answer_refusal(struct conn *c, const struct refusal *r, bool with_body,
                    bool keep_alive)
{
    answer_explain(c, r, &(struct answer_how){with_body, keep_alive});
}

void refusal_set(struct refusal *r, unsigned status, const char *error, const char *hint)
{
    r->status = status;
    r->error = error;
    r->allow = NULL;
    snprintf(r->hint, sizeof(r->hint), "%s", hint);
}
