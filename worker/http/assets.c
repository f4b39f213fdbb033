#include "worker/http/assets.h"

#include "common/digest.h"
#include "worker/http/about.h"
#include "worker/http/answer.h"
#include "worker/http/assets_files.h"
#include "worker/http/site.h"

struct asset {
    const char *path;
    const struct str *html, *css, *js; /* html NULL: the script alone */
    bool (*is_on)(const struct conf_main *);
};

static bool always(const struct conf_main *conf UNUSED)
{
    return true;
}

static bool docs(const struct conf_main *conf)
{
    return conf->docs;
}

static bool demos(const struct conf_main *conf)
{
    return conf->demos;
}

static const struct asset assets[] = {
    {"/heliod.js", NULL, NULL, &asset_heliod_js, always},
    {"/docs", &asset_docs_html, &asset_docs_css, &asset_docs_js, docs},
    {"/demos", &asset_demos_html, &asset_demos_css, &asset_demos_js, demos},
    {"/demos/call", &asset_call_html, &asset_demos_css, &asset_call_js, demos},
    {"/demos/bell", &asset_bell_html, &asset_demos_css, &asset_bell_js, demos},
};

const struct asset *assets_find(const struct conf_main *conf, struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(assets); i++)
        if (str_is(path, assets[i].path) && assets[i].is_on(conf))
            return &assets[i];
    return NULL;
}

/* ---- a page ---- */

/* Within JSON a `<` stands in texts only, where it may be escaped; so neither the end of
 * the script element nor a comment can begin (HTML §4.12.1.3). */
void assets_embed_json(struct buf *out, struct str json)
{
    for (size_t i = 0; i < json.n; i++) {
        if (json.p[i] == '<')
            buf_str(out, STR("\\u003c"));
        else
            buf_char(out, json.p[i]);
    }
}

/* The document up to the mark goes to out, the rest is left. */
static void put_until(struct buf *out, struct str *html, struct str mark)
{
    const char *at = memmem(html->p, html->n, mark.p, mark.n);
    BUG_ON(!at);
    size_t n = (size_t)(at - html->p);
    buf_put(out, html->p, n);
    *html = (struct str){at + mark.n, html->n - n - mark.n};
}

static void put_page(struct buf *out, const struct asset *a, const struct net *net)
{
    struct buf json = {0};
    struct str html = *a->html;
    put_until(out, &html, STR("{{css}}"));
    buf_str(out, *a->css);
    put_until(out, &html, STR("{{broker}}"));
    about_broker(&json, net);
    assets_embed_json(out, buf_view(&json));
    put_until(out, &html, STR("{{js}}"));
    buf_str(out, *a->js);
    buf_str(out, html);
    buf_free(&json);
}

/* ---- its policy ---- */

/* In the given quotes: as a source of a policy, and as an ETag. */
static void put_hash(struct buf *out, char quote, struct str source)
{
    uint8_t digest[DIGEST_SHA256];
    digest_sha256(source, digest);
    buf_printf(out, "%csha256-", quote);
    buf_base64(out, (struct str){(const char *)digest, sizeof(digest)});
    buf_char(out, quote);
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

/* 'self' among the scripts: the demos import /heliod.js. */
void assets_policy(struct buf *out, const struct asset *page, struct str host)
{
    struct str name;
    unsigned port = 0;
    buf_str(out, STR("default-src 'none'; style-src "));
    put_hash(out, '\'', *page->css);
    buf_str(out, STR("; script-src "));
    put_hash(out, '\'', *page->js);
    buf_str(out, page->is_on == demos ? STR(" 'self'; connect-src 'self'")
                                      : STR("; connect-src 'self'"));
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

/* ---- the answer ---- */

static void answer_page(struct conn *c, const struct asset *a, const struct request *r,
                        struct answer_how how)
{
    struct buf page = {0}, fields = {0};
    buf_str(&fields, STR("Content-Security-Policy: "));
    assets_policy(&fields, a, r->host);
    buf_str(&fields, STR("\r\nX-Content-Type-Options: nosniff\r\n"
                         "Referrer-Policy: no-referrer\r\n"));
    put_page(&page, a, c->net);
    how.type = "text/html; charset=utf-8";
    how.fields = buf_view(&fields);
    answer_send(c, 200, buf_view(&page), &how);
    buf_free(&fields);
    buf_free(&page);
}

/* Pages of any origin may import a module only if its server says so (CORS). */
static void answer_script(struct conn *c, const struct asset *a, const struct request *r,
                          struct answer_how how)
{
    struct str have = request_field(r, "If-None-Match");
    struct buf etag = {0};
    put_hash(&etag, '"', *a->js);
    how.etag = buf_view(&etag);
    how.type = "text/javascript; charset=utf-8";
    how.fields = STR("Access-Control-Allow-Origin: *\r\n"
                     "Cross-Origin-Resource-Policy: cross-origin\r\n"
                     "X-Content-Type-Options: nosniff\r\n");
    answer_send(c, have.n && memmem(have.p, have.n, etag.p, etag.n) ? 304 : 200, *a->js,
                &how);
    buf_free(&etag);
}

void assets_answer(struct conn *c, const struct asset *a, const struct request *r,
                   bool keep_alive)
{
    struct answer_how how = {!str_is(r->method, "HEAD"), keep_alive};
    if (a->html)
        answer_page(c, a, r, how);
    else
        answer_script(c, a, r, how);
}
