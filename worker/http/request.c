#include "worker/http/request.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define TLS_HANDSHAKE 0x16 /* how a client that speaks TLS begins (RFC 8446 §5.1) */

/* Reads forward only; every reader below stops at the first byte that cannot be right and
 * says why. */
struct reader {
    const char *p, *end;
    const char *why;
};

static enum request_verdict refuse(struct reader *r, enum request_verdict v,
                                   const char *why)
{
    r->why = why;
    return v;
}

static enum request_verdict bad(struct reader *r, const char *why)
{
    return refuse(r, REQUEST_BAD, why);
}

static bool is_one_of(char c, const char *set)
{
    uint8_t lower = (uint8_t)c | 0x20;
    if ((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr(set, c);
}

/* RFC 9110 §5.6.2. */
static bool is_token_char(char c)
{
    return is_one_of(c, "!#$%&'*+-.^_`|~");
}

bool request_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n > 0;
}

/* The longest token here; may be empty. */
static struct str read_token(struct reader *r)
{
    const char *start = r->p;
    while (r->p < r->end && is_token_char(*r->p))
        r->p++;
    return (struct str){start, (size_t)(r->p - start)};
}

/* CR and LF, nothing else: a bare one is an attack or an accident (RFC 9112 §2.2). */
static enum request_verdict read_line_end(struct reader *r)
{
    if (r->p < r->end && *r->p != '\r')
        return bad(r, *r->p == '\n' ? "A line ends with a bare LF; lines end with CR LF."
                                    : "Something stands where a line should end.");
    if (r->end - r->p < 2)
        return REQUEST_MORE;
    if (r->p[1] != '\n')
        return bad(r, "A CR is not followed by LF.");
    r->p += 2;
    return REQUEST_OK;
}

static enum request_verdict read_method(struct reader *r, struct str *out)
{
    *out = read_token(r);
    if (r->p == r->end)
        return REQUEST_MORE;
    if (out->n == 0 && *r->p == TLS_HANDSHAKE)
        return refuse(r, REQUEST_TLS,
                      "This is TLS, but plain HTTP is spoken here: connect with http:// "
                      "or ws://.");
    if (out->n == 0 || *r->p != ' ')
        return bad(r, "The request does not begin with a method and one blank.");
    r->p++;
    return REQUEST_OK;
}

/* Browsers leave some characters unescaped that RFC 3986 wants escaped ('|', '{'), so all
 * visible ASCII passes but '#'. */
static enum request_verdict read_target(struct reader *r, struct str *out)
{
    const char *start = r->p;
    for (; r->p < r->end && *r->p != ' '; r->p++) {
        if (*r->p == '\r' || *r->p == '\n')
            return bad(r, "The request line has no HTTP version.");
        if (*r->p <= ' ' || *r->p > '~')
            return bad(r, "The request target holds a control or non-ASCII character; "
                          "escape it with %.");
        if (*r->p == '#')
            return bad(r, "The request target has a fragment ('#'); a client keeps that "
                          "to itself.");
    }
    *out = (struct str){start, (size_t)(r->p - start)};
    if (r->p == r->end)
        return REQUEST_MORE;
    if (out->n == 0)
        return bad(r,
                   "The request line has no target, or more than one blank before it.");
    r->p++;
    return REQUEST_OK;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 9112 §2.3: HTTP/, a digit, a point, a digit, all exactly so. */
static enum request_verdict read_version(struct reader *r, unsigned *minor)
{
    static const char pattern[] = "HTTP/d.d";
    size_t i = 0, n = (size_t)(r->end - r->p);
    for (; i < sizeof(pattern) - 1 && i < n; i++)
        if (pattern[i] == 'd' ? !is_digit(r->p[i]) : r->p[i] != pattern[i])
            return bad(
                r,
                "The request line does not end with an HTTP version such as HTTP/1.1.");
    if (i < sizeof(pattern) - 1)
        return REQUEST_MORE;
    if (r->p[5] != '1')
        return refuse(r, REQUEST_VERSION, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    *minor = (unsigned)(r->p[7] - '0');
    r->p += i;
    return REQUEST_OK;
}

static enum request_verdict read_request_line(struct reader *r, struct request *out)
{
    enum request_verdict v;
    if (r->p < r->end && *r->p == '\r' && (v = read_line_end(r)) != REQUEST_OK)
        return v; /* one empty line in front is forgiven (RFC 9112 §2.2) */
    if ((v = read_method(r, &out->method)) != REQUEST_OK)
        return v;
    if ((v = read_target(r, &out->target)) != REQUEST_OK)
        return v;
    if ((v = read_version(r, &out->minor)) != REQUEST_OK)
        return v;
    return read_line_end(r);
}

static enum request_verdict read_name(struct reader *r, struct str *out)
{
    if (*r->p == ' ' || *r->p == '\t')
        return bad(r,
                   "A header line begins with a blank; folded lines are not accepted.");
    *out = read_token(r);
    if (r->p == r->end)
        return REQUEST_MORE;
    if (out->n == 0)
        return bad(r, "A header line does not begin with a field name.");
    if (*r->p == ' ' || *r->p == '\t')
        return bad(r, "A blank stands between a field name and its colon.");
    if (*r->p != ':')
        return bad(r, "A field name holds a character that is not allowed, or its colon "
                      "is missing.");
    r->p++;
    return REQUEST_OK;
}

/* RFC 9110 §5.5. */
static bool is_value_char(char c)
{
    return (uint8_t)c >= ' ' ? c != 0x7F : c == '\t';
}

static enum request_verdict read_value(struct reader *r, struct str *out)
{
    const char *start = r->p;
    while (r->p < r->end && is_value_char(*r->p))
        r->p++;
    *out = str_trim((struct str){start, (size_t)(r->p - start)});
    if (r->p < r->end && *r->p != '\r' && *r->p != '\n')
        return bad(r, "A field value holds a control character.");
    return read_line_end(r);
}

static enum request_verdict read_fields(struct reader *r, struct request *out)
{
    while (r->p < r->end && *r->p != '\r') {
        struct request_field f;
        enum request_verdict v = read_name(r, &f.name);
        if (v == REQUEST_OK && out->fields_n == out->fields_cap)
            return refuse(r, REQUEST_TOO_LARGE,
                          "The request has too many header fields.");
        if (v != REQUEST_OK || (v = read_value(r, &f.value)) != REQUEST_OK)
            return v;
        out->fields[out->fields_n++] = f;
    }
    return read_line_end(r);
}

/* The next element of a comma-separated list (RFC 9110 §5.6.1: empty ones are passed
 * over). False at the end. */
static bool next_element(struct str *list, struct str *out)
{
    while (list->p) {
        *out = str_trim(str_split(*list, ',', list));
        if (out->n > 0)
            return true;
    }
    return false;
}

struct str request_field(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->fields_n; i++)
        if (str_eq_nocase(r->fields[i].name, str_of(name)))
            return r->fields[i].value;
    return STR_NONE;
}

size_t request_count(const struct request *r, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < r->fields_n; i++)
        count += str_eq_nocase(r->fields[i].name, str_of(name));
    return count;
}

bool request_next(const struct request *r, const char *name, struct request_list *at,
                  struct str *out)
{
    while (!next_element(&at->rest, out)) {
        while (at->field < r->fields_n &&
               !str_eq_nocase(r->fields[at->field].name, str_of(name)))
            at->field++;
        if (at->field == r->fields_n)
            return false;
        at->rest = r->fields[at->field++].value;
    }
    return true;
}

bool request_has_token(const struct request *r, const char *name, const char *token)
{
    struct request_list at = {0};
    struct str element;
    while (request_next(r, name, &at, &element))
        if (str_eq_nocase(element, str_of(token)))
            return true;
    return false;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Two hex digits behind a '%', or -1. */
static int escape_value(struct str s, size_t at)
{
    if (s.n - at < 3)
        return -1;
    int high = hex_value(s.p[at + 1]), low = hex_value(s.p[at + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* RFC 3986 §3.2.2: reg-name, IPv4 included. */
static bool is_host_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '%' ? escape_value(s, i) < 0
                          : !is_one_of(s.p[i], "-._~!$&'()*+,;="))
            return false;
    return s.n > 0;
}

static bool is_ipv6(struct str s)
{
    struct in6_addr a;
    char text[INET6_ADDRSTRLEN];
    if (s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return strlen(text) == s.n && inet_pton(AF_INET6, text, &a) == 1;
}

/* How much of s is the host; 0: it does not begin with one. */
static size_t host_size(struct str s)
{
    bool is_bracketed = s.n > 0 && s.p[0] == '[';
    const char *end = s.n ? memchr(s.p, is_bracketed ? ']' : ':', s.n) : NULL;
    size_t n = end ? (size_t)(end - s.p) : s.n;
    if (!is_bracketed)
        return is_host_name((struct str){s.p, n}) ? n : 0;
    return end && is_ipv6((struct str){s.p + 1, n - 1}) ? n + 1 : 0;
}

bool request_authority(struct str s, struct str *host, unsigned *port)
{
    uint64_t number = 0;
    size_t n = host_size(s);
    if (n == 0 || (n < s.n && s.p[n] != ':'))
        return false;
    if (s.n > n + 1 &&
        !str_to_u64((struct str){s.p + n + 1, s.n - n - 1}, 65535, &number))
        return false;
    *host = (struct str){s.p, n};
    *port = (unsigned)number; /* "host:" is allowed and means none */
    return true;
}

static enum request_verdict judge_host(struct reader *r, struct request *out)
{
    size_t count = request_count(out, "Host");
    struct str host;
    unsigned port;
    out->host = request_field(out, "Host");
    if (count > 1)
        return bad(r, "The request has more than one Host field.");
    if (count == 0)
        return out->minor == 0
                   ? REQUEST_OK
                   : bad(r, "The request has no Host field, which HTTP/1.1 requires.");
    if (out->host.n == 0)
        return bad(r, "The Host field is empty.");
    if (!request_authority(out->host, &host, &port))
        return bad(r,
                   "The Host field is not a host name or address with an optional port.");
    return REQUEST_OK;
}

static void split_target(struct request *out, struct str rest)
{
    out->path = str_split(rest, '?', &out->query);
    if (out->path.n == 0)
        out->path = STR("/");
}

/* http://host/path?query: its host counts, not the Host field (RFC 9112 §3.2.2). */
static enum request_verdict judge_absolute(struct reader *r, struct request *out)
{
    static const char *const schemes[] = {"http:", "https:", "ws:", "wss:"};
    struct str rest, host, scheme = str_split(out->target, '/', &rest);
    unsigned port;
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        known |= str_eq_nocase(scheme, str_of(schemes[i]));
    if (!known || rest.n == 0 || rest.p[0] != '/')
        return bad(r, "The request target is neither a path (it must begin with '/') nor "
                      "an http URL.");
    rest = (struct str){rest.p + 1, rest.n - 1};
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    out->host = (struct str){rest.p, n};
    if (!request_authority(out->host, &host, &port))
        return bad(r, "The URL in the request line has no valid host.");
    split_target(out, (struct str){rest.p + n, rest.n - n});
    return REQUEST_OK;
}

/* RFC 9112 §3.2. */
static enum request_verdict judge_target(struct reader *r, struct request *out)
{
    if (str_is(out->method, "CONNECT"))
        return bad(r, "CONNECT is for proxies; this is none.");
    if (out->target.p[0] == '/') {
        split_target(out, out->target);
        return REQUEST_OK;
    }
    if (!str_is(out->target, "*"))
        return judge_absolute(r, out);
    if (!str_is(out->method, "OPTIONS"))
        return bad(r, "The request target '*' is for OPTIONS only.");
    out->path = out->target;
    out->query = STR_NONE;
    return REQUEST_OK;
}

/* RFC 9112 §6.3: one value, however often it is said. */
static enum request_verdict judge_length(struct reader *r, struct request *out)
{
    struct request_list at = {0};
    struct str element;
    while (request_next(out, "Content-Length", &at, &element)) {
        uint64_t length;
        if (!str_to_u64(element, INT64_MAX, &length))
            return bad(r,
                       "The Content-Length field is not a number, or too large a one.");
        if (out->has_content_length && length != out->content_length)
            return bad(r, "The request has Content-Length fields that differ.");
        out->has_content_length = true;
        out->content_length = length;
    }
    if (!out->has_content_length && request_count(out, "Content-Length") > 0)
        return bad(r, "The Content-Length field is empty.");
    return REQUEST_OK;
}

/* RFC 9112 §6.1: what smuggles requests past a proxy is refused here. */
static enum request_verdict judge_coding(struct reader *r, struct request *out)
{
    struct request_list at = {0};
    struct str element;
    size_t codings = 0;
    if (request_count(out, "Transfer-Encoding") == 0)
        return REQUEST_OK;
    if (out->minor == 0)
        return bad(r,
                   "The request has a Transfer-Encoding, which HTTP/1.0 does not know.");
    if (request_count(out, "Content-Length") > 0)
        return bad(r, "The request has both a Content-Length and a Transfer-Encoding.");
    for (; request_next(out, "Transfer-Encoding", &at, &element); codings++)
        if (!str_eq_nocase(element, STR("chunked")))
            return bad(r, "The only Transfer-Encoding understood here is chunked.");
    if (codings != 1)
        return bad(r, "The Transfer-Encoding must be chunked, once.");
    out->is_chunked = true;
    return REQUEST_OK;
}

static enum request_verdict judge(struct reader *r, struct request *out)
{
    static enum request_verdict (*const rules[])(struct reader *, struct request *) = {
        judge_host, judge_target, judge_coding, judge_length};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        enum request_verdict v = rules[i](r, out);
        if (v != REQUEST_OK)
            return v;
    }
    out->keep_alive =
        !request_has_token(out, "Connection", "close") &&
        (out->minor > 0 || request_has_token(out, "Connection", "keep-alive"));
    return REQUEST_OK;
}

static void reset(struct request *out)
{
    *out = (struct request){.fields = out->fields, .fields_cap = out->fields_cap};
}

enum request_verdict request_parse(struct str text, size_t max_bytes, struct request *out,
                                   const char **why)
{
    const char *start = text.p ? text.p : "";
    struct reader r = {start, start + MIN(text.n, max_bytes), NULL};
    reset(out);
    enum request_verdict v = read_request_line(&r, out);
    bool has_line = v == REQUEST_OK;
    if (has_line)
        v = read_fields(&r, out);
    if (v == REQUEST_MORE && text.n >= max_bytes)
        v = has_line ? refuse(&r, REQUEST_TOO_LARGE, "The request's header is too long.")
                     : refuse(&r, REQUEST_URI_LONG, "The request line is too long.");
    out->size = (size_t)(r.p - start);
    if (v == REQUEST_OK)
        v = judge(&r, out);
    *why = r.why;
    return v;
}

bool request_decode(struct str s, char *out, size_t cap, size_t *n)
{
    size_t done = 0;
    for (size_t i = 0; i < s.n; i++, done++) {
        int value = (uint8_t)s.p[i];
        if (value == '%') {
            value = escape_value(s, i);
            i += 2;
        }
        if (value <= 0 || done == cap)
            return false;
        out[done] = (char)value;
    }
    *n = done;
    return true;
}

/* Does s mean `key`? Compared while decoding, so a key may be of any length. */
static bool means(struct str s, const char *key)
{
    size_t i = 0;
    for (; i < s.n && *key; i++, key++) {
        int value = (uint8_t)s.p[i];
        if (value == '%') {
            value = escape_value(s, i);
            i += 2;
        }
        if (value != (uint8_t)*key)
            return false;
    }
    return i == s.n && !*key;
}

/* '+' stays '+': tokens in plain base64 are met more often than blanks. */
bool request_query(struct str query, const char *key, char *out, size_t cap, size_t *n)
{
    while (query.p) {
        struct str value, name = str_split(str_split(query, '&', &query), '=', &value);
        if (means(name, key))
            return request_decode(value, out, cap, n);
    }
    return false;
}
