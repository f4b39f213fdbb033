#include "worker/http/upgrade.h"

#include <openssl/evp.h>
#include <stdarg.h>

#define FAILED "WebSocket upgrade failed: "
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 §1.3 */
#define KEY_SIZE 24                                 /* 16 bytes in base64 */

static bool PRINTF(4, 5)
    refuse(struct refusal *why, unsigned status, const char *hint, const char *fmt, ...)
{
    va_list args;
    why->status = status;
    why->allow = status == 405 ? "GET" : NULL;
    why->error = status == 403   ? "origin-not-allowed"
                 : status == 405 ? "method-not-allowed"
                 : status == 426 ? "upgrade-required"
                 : status == 505 ? "http-version"
                                 : "bad-handshake";
    snprintf(why->hint, sizeof(why->hint), "%s", hint);
    va_start(args, fmt);
    vsnprintf(why->message, sizeof(why->message), fmt, args);
    va_end(args);
    return false;
}

/* Outside text for a sentence: printable ASCII, at most 63 characters. */
struct shown {
    char text[64];
};
static struct shown show(struct str s)
{
    struct shown out = {""};
    size_t n = MIN(s.n, sizeof(out.text) - 1);
    for (size_t i = 0; i < n; i++)
        out.text[i] = s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?';
    if (s.n > n)
        memcpy(out.text + n - 3, "...", 3);
    return out;
}

bool upgrade_is_asked(const struct request *r)
{
    return request_has_token(r, "Upgrade", "websocket");
}

/* RFC 6455 §4.2.1: 1 – 4, and RFC 9110 §7.8: an Upgrade in HTTP/1.0 does not count. */
static bool check_request(const struct request *r, struct refusal *why)
{
    if (!str_is(r->method, "GET"))
        return refuse(why, 405, "Open the WebSocket with a GET request.",
                      FAILED "the method is %s, not GET.", show(r->method).text);
    if (!upgrade_is_asked(r))
        return refuse(why, 426,
                      "Connect with a WebSocket client (ws:// or wss://); a proxy in "
                      "between must pass the Upgrade and Connection headers on.",
                      FAILED "the request does not ask for an upgrade to websocket.");
    if (r->minor < 1)
        return refuse(why, 505, "Use HTTP/1.1; a proxy in between may have lowered it.",
                      FAILED "the request is HTTP/1.0, which cannot be upgraded.");
    if (!request_has_token(r, "Connection", "upgrade"))
        return refuse(why, 400,
                      "Send `Connection: Upgrade`; a proxy in between must pass it on.",
                      FAILED "the Connection header does not contain Upgrade.");
    if (r->host.n == 0)
        return refuse(why, 400, "Send the server's name as Host.",
                      FAILED "the request has no Host header.");
    if (r->is_chunked || r->content_length > 0)
        return refuse(why, 400, "Send nothing before the answer has come.",
                      FAILED "the request has a body.");
    return true;
}

static bool check_version(const struct request *r, struct refusal *why)
{
    static const char hint[] = "Send `Sec-WebSocket-Version: 13`.";
    struct str version = request_field(r, "Sec-WebSocket-Version");
    size_t count = request_count(r, "Sec-WebSocket-Version");
    if (count == 0)
        return refuse(why, 426, hint,
                      FAILED "the Sec-WebSocket-Version header is missing.");
    if (count > 1)
        return refuse(why, 400, hint,
                      FAILED "there is more than one Sec-WebSocket-Version header.");
    if (!str_is(version, "13"))
        return refuse(why, 426, hint,
                      FAILED "Sec-WebSocket-Version is \"%s\"; only 13 is spoken here.",
                      show(version).text);
    return true;
}

/* 22 digits and two pads are 16 bytes; the four bits left over may be anything. */
static bool is_key(struct str s)
{
    if (s.n != KEY_SIZE || s.p[22] != '=' || s.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = s.p[i], lower = c | 0x20;
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '+' &&
            c != '/')
            return false;
    }
    return true;
}

static bool check_key(const struct request *r, struct refusal *why)
{
    static const char hint[] = "Send one Sec-WebSocket-Key: 16 random bytes in base64.";
    size_t count = request_count(r, "Sec-WebSocket-Key");
    if (count == 0)
        return refuse(why, 400, hint, FAILED "the Sec-WebSocket-Key header is missing.");
    if (count > 1)
        return refuse(why, 400, hint,
                      FAILED "there is more than one Sec-WebSocket-Key header.");
    if (!is_key(request_field(r, "Sec-WebSocket-Key")))
        return refuse(why, 400, hint,
                      FAILED "the Sec-WebSocket-Key is not 16 bytes in base64.");
    return true;
}

/* How often the token is offered. Case counts (§11.3.4 registers names as they are). */
static size_t offered(const struct request *r, struct str name)
{
    struct request_list at = {0};
    struct str element;
    size_t count = 0;
    while (request_next(r, "Sec-WebSocket-Protocol", &at, &element))
        count += str_eq(element, name);
    return count;
}

/* §4.1 (10): tokens, at least one, all different. More than MANY is no client but an
 * attempt to make us compare. */
static bool check_protocols(const struct request *r, struct refusal *why)
{
    enum { MANY = 64 };
    static const char hint[] = "Offer a list of different names made of letters, digits "
                               "and !#$%&'*+-.^_`|~.";
    struct request_list at = {0};
    struct str name;
    size_t count = 0;
    while (request_next(r, "Sec-WebSocket-Protocol", &at, &name)) {
        if (!request_is_token(name))
            return refuse(why, 400, hint,
                          FAILED
                          "a subprotocol in Sec-WebSocket-Protocol is not a token.");
        if (++count > MANY)
            return refuse(why, 400, hint,
                          FAILED "Sec-WebSocket-Protocol offers more than %d names.",
                          MANY);
        if (offered(r, name) > 1)
            return refuse(why, 400, hint,
                          FAILED "Sec-WebSocket-Protocol offers a name twice.");
    }
    if (count == 0 && request_count(r, "Sec-WebSocket-Protocol") > 0)
        return refuse(why, 400, hint, FAILED "the Sec-WebSocket-Protocol list is empty.");
    return true;
}

static bool check_extensions(const struct request *r, struct refusal *why)
{
    for (size_t i = 0; i < r->fields_n; i++)
        if (str_eq_nocase(r->fields[i].name, STR("Sec-WebSocket-Extensions")) &&
            !extensions_are_good(r->fields[i].value))
            return refuse(
                why, 400,
                "Offer extensions as in `permessage-deflate; key=value`, or none.",
                FAILED "the Sec-WebSocket-Extensions header cannot be understood.");
    return true;
}

/* RFC 6454 §7.3. */
static bool check_origin(const struct request *r, struct refusal *why)
{
    return request_count(r, "Origin") <= 1 ||
           refuse(why, 400, "Send one Origin header.",
                  FAILED "the request has more than one Origin header.");
}

bool upgrade_check(const struct request *r, struct refusal *why)
{
    return check_request(r, why) && check_version(r, why) && check_key(r, why) &&
           check_protocols(r, why) && check_extensions(r, why) && check_origin(r, why);
}

void upgrade_accept(struct str key, char out[29])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char text[KEY_SIZE + sizeof(GUID) - 1];
    BUG_ON(key.n != KEY_SIZE);
    memcpy(text, key.p, KEY_SIZE);
    memcpy(text + KEY_SIZE, GUID, sizeof(GUID) - 1);
    BUG_ON(!EVP_Digest(text, sizeof(text), digest, NULL, EVP_sha1(), NULL));
    EVP_EncodeBlock((unsigned char *)out, digest, 20);
}

struct str upgrade_subprotocol(const struct request *r)
{
    struct request_list at = {0};
    struct str name, first = STR_NONE;
    while (request_next(r, "Sec-WebSocket-Protocol", &at, &name)) {
        if (!str_starts(name, STR("token.")))
            return name;
        if (!first.p)
            first = name;
    }
    return first;
}

void upgrade_answer(const struct request *r, const struct extensions_deflate *deflate,
                    struct buf *out)
{
    char accept[29];
    struct str protocol = upgrade_subprotocol(r);
    upgrade_accept(request_field(r, "Sec-WebSocket-Key"), accept);
    buf_printf(out,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
               "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
               accept);
    if (protocol.p)
        buf_printf(out, "Sec-WebSocket-Protocol: " STR_FMT "\r\n", STR_ARG(protocol));
    if (deflate)
        extensions_answer(deflate, out);
    buf_str(out, STR("\r\n"));
}

/* ── Origin ── */

/* An origin taken apart: scheme "https", host, and the port that counts (0: the scheme
 * has none we know). */
struct origin {
    struct str scheme, host;
    unsigned port;
};

static unsigned default_port(struct str scheme)
{
    if (str_eq_nocase(scheme, STR("https")) || str_eq_nocase(scheme, STR("wss")))
        return 443;
    return str_eq_nocase(scheme, STR("http")) || str_eq_nocase(scheme, STR("ws")) ? 80
                                                                                  : 0;
}

/* scheme://host[:port], nothing behind it (RFC 6454 §6.2). A pattern's "*." passes as
 * part of a host. */
static bool origin_parse(struct str s, struct origin *out)
{
    struct str rest;
    out->scheme = str_split(s, ':', &rest);
    if (!request_is_token(out->scheme) || !rest.p || !str_starts(rest, STR("//")))
        return false;
    rest = (struct str){rest.p + 2, rest.n - 2};
    if (!request_authority(rest, &out->host, &out->port))
        return false;
    if (out->port == 0)
        out->port = default_port(out->scheme);
    return true;
}

/* "*.example.com": one or more labels in front of ".example.com", none of them empty. */
static bool host_fits(struct str pattern, struct str host)
{
    if (!str_starts(pattern, STR("*.")))
        return str_eq_nocase(pattern, host);
    struct str tail = {pattern.p + 1, pattern.n - 1}; /* with its dot */
    if (host.n <= tail.n || host.p[0] == '.')
        return false;
    struct str labels = {host.p, host.n - tail.n};
    return str_eq_nocase(tail, (struct str){labels.p + labels.n, tail.n}) &&
           !memmem(labels.p, labels.n, "..", 2) && labels.p[labels.n - 1] != '.';
}

/* The Host header names no scheme: without a port it means the default one of the
 * origin's. */
static bool is_same(const struct origin *o, struct str host_field)
{
    struct str host;
    unsigned port;
    if (!request_authority(host_field, &host, &port))
        return false;
    return str_eq_nocase(host, o->host) &&
           (port ? port : default_port(o->scheme)) == o->port;
}

static bool is_allowed(const struct request *r, const struct origin *o, struct str rule)
{
    struct origin want;
    if (str_is(rule, "same"))
        return is_same(o, r->host);
    return origin_parse(rule, &want) && str_eq_nocase(want.scheme, o->scheme) &&
           want.port == o->port && host_fits(want.host, o->host);
}

static bool allows_all(const struct str *allowed, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(allowed[i], "*"))
            return true;
    return false;
}

bool upgrade_origin_ok(const struct request *r, const struct str *allowed, size_t n,
                       bool required, struct refusal *why)
{
    static const char hint[] = "Open the page from an allowed origin, or add this one to "
                               "the endpoint's allowed_origins.";
    struct str text = request_field(r, "Origin");
    struct origin o;
    if (!text.p)
        return !required ||
               refuse(why, 403,
                      "Connect from a web page, or send an allowed Origin header.",
                      "This endpoint requires an Origin header.");
    if (allows_all(allowed, n))
        return true;
    bool is_origin = origin_parse(text, &o); /* "null" is none */
    for (size_t i = 0; is_origin && i < n; i++)
        if (is_allowed(r, &o, allowed[i]))
            return true;
    return refuse(why, 403, hint, "The Origin \"%s\" is not allowed at this endpoint.",
                  show(text).text);
}
