#include "worker/shadow.h"

#include "common/fd.h"
#include "common/mem.h"

#define CONF_BYTES_MAX (64u << 20)

void shadow_taken(struct shadow *s)
{
    free(s->sets);
    *s = (struct shadow){0};
}

void shadow_drop(struct shadow *s)
{
    if (!s->conf)
        return;
    for (size_t i = 0; i < s->conf->main.endpoints.n; i++)
        settings_unref(s->sets[i]);
    conf_unref(s->conf);
    shadow_taken(s);
}

static struct conf *read_conf(int fd, struct err *e)
{
    struct buf bytes = {0};
    struct conf *conf = NULL;
    if (fd_slurp(fd, CONF_BYTES_MAX, &bytes, e) == 0)
        conf = conf_decode(buf_view(&bytes), e);
    if (bytes.p)
        explicit_bzero(bytes.p, bytes.n);
    buf_free(&bytes);
    return conf;
}

int shadow_read(struct shadow *s, uint32_t gen, int fd, struct err *e)
{
    *s = (struct shadow){.gen = gen, .conf = read_conf(fd, e)};
    if (!s->conf)
        return -1;
    size_t n = s->conf->main.endpoints.n;
    s->sets = mem_new((n + 1) * sizeof(*s->sets));
    for (size_t i = 0; i < n; i++) {
        s->sets[i] = settings_new(s->conf, &s->conf->main.endpoints.v[i], e);
        if (s->sets[i])
            continue;
        shadow_drop(s);
        return -1;
    }
    return 0;
}
