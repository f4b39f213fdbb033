#include "common/addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>

void addresses_set(struct addresses *a, struct str text)
{
    buf_clear(&a->text);
    buf_str(&a->text, text);
}

void addresses_fini(struct addresses *a)
{
    buf_free(&a->text);
}

struct str addresses_find(const struct addresses *a, struct str host)
{
    struct sockaddr_storage numeric;
    if (address_parse(host, 0, &numeric))
        return host;
    for (struct str line, rest = buf_view(&a->text); rest.n;) {
        line = str_split(rest, '\n', &rest);
        struct str ips, name = str_split(line, ' ', &ips);
        if (ips.n && str_eq_nocase(name, host))
            return ips;
    }
    return STR_NONE;
}

socklen_t address_parse(struct str ip, uint16_t port, struct sockaddr_storage *out)
{
    char text[INET6_ADDRSTRLEN];
    if (ip.n == 0 || ip.n >= sizeof(text) || memchr(ip.p, '\0', ip.n))
        return 0;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = '\0';
    *out = (struct sockaddr_storage){0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof(*v4);
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return sizeof(*v6);
    }
    return 0;
}

/* ---- URLs (RFC 3986, RFC 9110 §4.2) ---- */

static bool take_scheme(struct str *url, bool *is_https)
{
    static const struct str schemes[] = {STR("http://"), STR("https://")};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct str head = {url->p, MIN(url->n, schemes[i].n)};
        if (!str_eq_nocase(head, schemes[i]))
            continue;
        *url = (struct str){url->p + head.n, url->n - head.n};
        *is_https = i == 1;
        return true;
    }
    return false;
}

static bool is_url_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return true;
}

static struct str authority_of(struct str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] != '/' && s.p[n] != '?' && s.p[n] != '#')
        n++;
    return (struct str){s.p, n};
}

static bool is_host_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
        if (!is_good)
            return false;
    }
    return s.n > 0 && s.n <= 253;
}

static bool split_authority(struct str s, struct str *host, struct str *port)
{
    struct sockaddr_storage numeric;
    *port = STR_NONE;
    if (!str_starts(s, STR("["))) {
        *host = str_split(s, ':', port);
        return is_host_name(*host);
    }
    struct str behind, ip = str_split(s, ']', &behind);
    *host = (struct str){ip.p + 1, ip.n - 1};
    if (address_parse(*host, 0, &numeric) != sizeof(struct sockaddr_in6) || !behind.p)
        return false;
    if (behind.n)
        *port = (struct str){behind.p + 1, behind.n - 1};
    return behind.n == 0 || behind.p[0] == ':';
}

bool url_host(struct str url, struct str *host, uint16_t *port, bool *is_https)
{
    struct str name, digits;
    uint64_t number;
    bool is_tls;
    if (!is_url_text(url) || !take_scheme(&url, &is_tls) ||
        !split_authority(authority_of(url), &name, &digits))
        return false;
    number = is_tls ? 443 : 80;
    if (digits.n && (!str_to_u64(digits, UINT16_MAX, &number) || number == 0))
        return false;
    *host = name;
    *port = (uint16_t)number;
    *is_https = is_tls;
    return true;
}
