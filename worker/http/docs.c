#include "worker/http/docs.h"

#include "common/digest.h"
#include "worker/http/answer.h"
#include "worker/http/docs_files.h"
#include "worker/http/site.h"

/* ---- what is configured, as JSON ---- */

static void put_text(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, value);
}

static void put_number(struct buf *out, const char *name, int64_t value)
{
    buf_printf(out, ",\"%s\":%" PRId64, name, value);
}

static void put_flag(struct buf *out, const char *name, bool value)
{
    buf_printf(out, ",\"%s\":%s", name, value ? "true" : "false");
}

static const struct conf_key *endpoint_key(const char *name)
{
    struct err e;
    const struct conf_key *list = conf_find(&conf_main_section, STR("endpoints"), &e);
    return conf_find(list->sub, str_of(name), &e);
}

static void put_choice(struct buf *out, const char *name, int value)
{
    put_text(out, name, conf_choice(endpoint_key(name), value));
}

static void put_events(struct buf *out, const struct conf_endpoint *p)
{
    struct err e;
    const struct conf_key *method =
        conf_find(endpoint_key("auth")->sub, STR("method"), &e);
    put_text(out, "auth", conf_choice(method, p->auth.method));
    put_choice(out, "encryption", p->encryption);
    put_flag(out, "require_encryption", p->require_encryption);
    put_number(out, "auth_timeout", p->auth_timeout);
    put_number(out, "heartbeat_interval", p->heartbeat_interval);
    put_number(out, "heartbeat_timeout", p->heartbeat_timeout);
    put_number(out, "max_rooms", p->max_rooms);
    put_flag(out, "publish", p->rooms.publish.n > 0);
    put_flag(out, "acknowledge", p->acknowledge);
}

static void put_endpoint(struct buf *out, const struct conf_endpoint *p)
{
    buf_str(out, STR("{\"path\":"));
    buf_json(out, p->path);
    put_choice(out, "protocol", p->protocol);
    put_number(out, "max_message", p->max_message);
    put_number(out, "backpressure", p->backpressure);
    put_choice(out, "refusals", p->refusals);
    if (p->protocol == PROTOCOL_EVENTS)
        put_events(out, p);
    buf_char(out, '}');
}

static void put_broker(struct buf *out, const struct net *net)
{
    const struct routes *routes = &net->site->routes;
    buf_str(out, STR("{\"version\":\"" HELIOD_VERSION "\""));
    put_number(out, "ping_after", net->ping_after_ms);
    put_number(out, "idle_timeout", net->idle_timeout_ms);
    buf_str(out, STR(",\"endpoints\":["));
    for (size_t i = 0; i < routes->n; i++) {
        if (i > 0)
            buf_char(out, ',');
        put_endpoint(out, routes->v[i].conf);
    }
    buf_str(out, STR("]}"));
}

/* Within JSON a `<` stands in texts only, where it may be escaped; so neither the end of
 * the script element nor a comment can begin (HTML §4.12.1.3). */
void docs_embed_json(struct buf *out, struct str json)
{
    for (size_t i = 0; i < json.n; i++) {
        if (json.p[i] == '<')
            buf_str(out, STR("\\u003c"));
        else
            buf_char(out, json.p[i]);
    }
}

/* ---- the page ---- */

/* The document up to the mark goes to out, the rest is left. */
static void put_until(struct buf *out, struct str *html, struct str mark)
{
    const char *at = memmem(html->p, html->n, mark.p, mark.n);
    BUG_ON(!at);
    size_t n = (size_t)(at - html->p);
    buf_put(out, html->p, n);
    *html = (struct str){at + mark.n, html->n - n - mark.n};
}

static void put_page(struct buf *out, const struct net *net)
{
    struct buf json = {0};
    struct str html = docs_html;
    put_until(out, &html, STR("{{css}}"));
    buf_str(out, docs_css);
    put_until(out, &html, STR("{{broker}}"));
    put_broker(&json, net);
    docs_embed_json(out, buf_view(&json));
    put_until(out, &html, STR("{{js}}"));
    buf_str(out, docs_js);
    buf_str(out, html);
    buf_free(&json);
}

/* ---- its policy ---- */

static void put_hash(struct buf *out, struct str source)
{
    uint8_t digest[DIGEST_SHA256];
    digest_sha256(source, digest);
    buf_str(out, STR("'sha256-"));
    buf_base64(out, (struct str){(const char *)digest, sizeof(digest)});
    buf_str(out, STR("'; "));
}

static bool is_plain_host(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '.' || c == '-'))
            return false;
    }
    return host.n > 0 && host.n <= 253;
}

void docs_policy(struct buf *out, struct str host)
{
    struct str name;
    unsigned port = 0;
    buf_str(out, STR("default-src 'none'; style-src "));
    put_hash(out, docs_css);
    buf_str(out, STR("script-src "));
    put_hash(out, docs_js);
    buf_str(out, STR("connect-src 'self'"));
    if (host.p && request_authority(host, &name, &port) && is_plain_host(name)) {
        char colon_port[16] = "";
        if (port)
            snprintf(colon_port, sizeof(colon_port), ":%u", port);
        for (int tls = 0; tls <= 1; tls++)
            buf_printf(out, " %s://" STR_FMT "%s", tls ? "wss" : "ws", STR_ARG(name),
                       colon_port);
    }
    buf_str(out, STR("; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
}

void docs_answer(struct conn *c, const struct request *r, bool keep_alive)
{
    struct buf page = {0}, fields = {0};
    buf_str(&fields, STR("Content-Security-Policy: "));
    docs_policy(&fields, r->host);
    buf_str(&fields, STR("\r\nX-Content-Type-Options: nosniff\r\n"
                         "Referrer-Policy: no-referrer\r\n"));
    put_page(&page, c->net);
    answer_send(c, 200, buf_view(&page),
                &(struct answer_how){!str_is(r->method, "HEAD"), keep_alive,
                                     "text/html; charset=utf-8", buf_view(&fields)});
    buf_free(&fields);
    buf_free(&page);
}
