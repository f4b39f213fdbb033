#include "worker/protocols/signaling_ice.h"

#include "common/digest.h"

static void write_credentials(struct buf *out, struct str name, struct str credential)
{
    buf_str(out, STR(",\"username\":"));
    buf_json(out, name);
    buf_str(out, STR(",\"credential\":"));
    buf_json(out, credential);
}

static void mint(struct buf *out, const struct conf_ice_server *s, struct str user,
                 int64_t wall_s)
{
    struct buf name = {0}, credential = {0};
    uint8_t mac[DIGEST_SHA1];
    buf_printf(&name, "%" PRId64, wall_s + s->ttl / 1000);
    if (user.n) {
        buf_char(&name, ':');
        buf_str(&name, user);
    }
    digest_hmac_sha1(s->secret.value, buf_view(&name), mac);
    buf_base64(&credential, (struct str){(const char *)mac, sizeof(mac)});
    write_credentials(out, buf_view(&name), buf_view(&credential));
    buf_free(&name);
    buf_free(&credential);
}

static void write_server(struct buf *out, const struct conf_ice_server *s,
                         struct str user, int64_t wall_s)
{
    buf_str(out, STR("{\"urls\":["));
    for (size_t i = 0; i < s->urls.n; i++) {
        if (i)
            buf_char(out, ',');
        buf_json(out, s->urls.v[i]);
    }
    buf_char(out, ']');
    if (s->secret.value.n)
        mint(out, s, user, wall_s);
    else if (s->username.n)
        write_credentials(out, s->username, s->credential.value);
    buf_char(out, '}');
}

void ice_write(struct buf *out, const struct conf_endpoint *conf, struct str user,
               int64_t wall_s)
{
    for (size_t i = 0; i < conf->ice_servers.n; i++) {
        buf_str(out, i ? STR(",") : STR(",\"iceServers\":["));
        write_server(out, &conf->ice_servers.v[i], user, wall_s);
    }
    if (conf->ice_servers.n)
        buf_char(out, ']');
}
