#include "supervisor/system_ca.h"

#include "common/fd.h"

#define BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define BUNDLE_MAX (1024 * 1024)

static bool is_https(struct str url)
{
    return str_starts(url, STR("https://"));
}

static bool needs_ca(const struct conf_hooks *h)
{
    const struct str urls[] = {h->authenticate, h->handshake, h->rooms,
                               h->message,      h->connected, h->disconnected};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        if (is_https(urls[i]))
            return !h->ca.value.p;
    return false;
}

static int fill(struct conf *c, size_t endpoint, struct err *e)
{
    char path[64];
    struct buf bundle = {0};
    snprintf(path, sizeof(path), "endpoints[%zu].hooks.ca", endpoint);
    int bad = fd_read_file(BUNDLE, BUNDLE_MAX, &bundle, e);
    if (bad)
        err_add(e, "%s is not given, and the system's certificates cannot be read", path);
    else
        bad = conf_set_content(c, path, buf_view(&bundle), "file:" BUNDLE, 0, e);
    buf_free(&bundle);
    return bad;
}

int system_ca_fill(struct conf *c, struct err *e)
{
    for (size_t i = 0; i < c->main.endpoints.n; i++)
        if (needs_ca(&c->main.endpoints.v[i].hooks) && fill(c, i, e) != 0)
            return err_add(e, "%s", c->file);
    return 0;
}
