#include "worker/http/pages.h"

#include "worker/http/answer.h"
#include "worker/http/assets.h"
#include "worker/http/site.h"

/* The process lives: its loop turns and answers. */
static void health(const struct http_site *site, struct buf *body, unsigned *status)
{
    (void)site;
    *status = 200;
    buf_str(body, STR("{\"status\":\"ok\",\"version\":\"" HELIOD_VERSION "\"}\n"));
}

/* It can really serve. */
static void ready(const struct http_site *site, struct buf *body, unsigned *status)
{
    const char *why = site->not_ready(site->ctx);
    *status = why ? 503 : 200;
    buf_str(body, why ? STR("{\"status\":\"unavailable\",\"reason\":")
                      : STR("{\"status\":\"ready\""));
    if (why)
        buf_json(body, str_of(why));
    buf_str(body, STR("}\n"));
}

static const struct {
    const char *path;
    void (*fill)(const struct http_site *, struct buf *, unsigned *);
} pages[] = {
    {"/health", health},
    {"/ready", ready},
};

static void wrong_method(struct conn *c, bool keep_alive)
{
    struct refusal why = {
        .status = 405, .error = "method-not-allowed", .allow = "GET, HEAD"};
    snprintf(why.message, sizeof(why.message), "This page is only read: GET or HEAD.");
    snprintf(why.hint, sizeof(why.hint), "Use GET.");
    answer_refusal(c, &why, true, keep_alive);
}

/* false: none is asked for. */
static bool asset(struct conn *c, const struct request *r, bool keep_alive)
{
    const struct asset *a = assets_find(c->net->site->conf, r->path);
    if (!a)
        return false;
    if (str_is(r->method, "GET") || str_is(r->method, "HEAD"))
        assets_answer(c, a, r, keep_alive);
    else
        wrong_method(c, keep_alive);
    return true;
}

bool pages_answer(struct conn *c, const struct request *r, bool keep_alive)
{
    bool head = str_is(r->method, "HEAD");
    if (asset(c, r, keep_alive))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (!str_is(r->path, pages[i].path))
            continue;
        if (!head && !str_is(r->method, "GET")) {
            wrong_method(c, keep_alive);
            return true;
        }
        struct buf body = {0};
        unsigned status;
        pages[i].fill(c->net->site, &body, &status);
        answer_json(c, status, buf_view(&body), !head, keep_alive);
        buf_free(&body);
        return true;
    }
    return false;
}
