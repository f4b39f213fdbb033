#include "worker/http/extensions.h"

#include "worker/ws/deflate.h"

#define FIELD "Sec-WebSocket-Extensions"

/* Enough of a value to know a window size from anything else. */
struct value {
    char text[3];
    size_t n; /* characters it has; 0: there is none */
};

struct param {
    struct str name;
    struct value value;
};

/* An extension as offered, judged as if it were permessage-deflate. */
struct offer {
    struct str name;
    unsigned seen;    /* a bit for each parameter of `known` */
    bool is_declined; /* §7.1: unknown parameters, bad values, a name twice */
    struct extensions_deflate terms;
};

/* ---- what an offer may say ---- */

enum { NEVER, MAYBE, ALWAYS };
static const struct {
    const char *name;
    int has_value;
} known[] = {
    {"server_no_context_takeover", NEVER}, /* §7.1.1.1 */
    {"client_no_context_takeover", NEVER}, /* §7.1.1.2 */
    {"server_max_window_bits", ALWAYS},    /* §7.1.2.1 */
    {"client_max_window_bits", MAYBE},     /* §7.1.2.2; whatever it is, we can inflate */
};
#define SERVER_BITS 2

/* 8 … 15, without a leading zero. 0: it is no such thing. */
static uint8_t window_bits(const struct value *v)
{
    uint64_t bits;
    bool is_number = v->n >= 1 && v->n <= 2 && v->text[0] != '0' &&
                     str_to_u64((struct str){v->text, v->n}, DEFLATE_BITS_MAX, &bits);
    return is_number && bits >= DEFLATE_BITS_MIN ? (uint8_t)bits : 0;
}

static bool is_value(const struct value *v, int has_value)
{
    if (v->n == 0)
        return has_value != ALWAYS;
    return has_value != NEVER && window_bits(v) != 0;
}

static void weigh(struct offer *o, const struct param *p)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!str_is(p->name, known[i].name))
            continue;
        o->is_declined |= (o->seen & 1u << i) || !is_value(&p->value, known[i].has_value);
        o->seen |= 1u << i;
        if (i == SERVER_BITS)
            o->terms =
                (struct extensions_deflate){window_bits(&p->value), .is_asked = true};
        return;
    }
    o->is_declined = true;
}

/* ---- 1#( token *( ";" token [ "=" ( token | quoted token ) ] ) ) ---- */

static void pass_blanks(struct str *s)
{
    while (s->n > 0 && (s->p[0] == ' ' || s->p[0] == '\t'))
        *s = (struct str){s->p + 1, s->n - 1};
}

static bool pass_char(struct str *s, char c)
{
    pass_blanks(s);
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = (struct str){s->p + 1, s->n - 1};
    return true;
}

static bool pass_token(struct str *s, struct str *out)
{
    size_t n = 0;
    pass_blanks(s);
    while (n < s->n && request_is_token((struct str){s->p + n, 1}))
        n++;
    *out = (struct str){s->p, n};
    *s = (struct str){s->p + n, s->n - n};
    return n > 0;
}

static void put(struct value *v, char c)
{
    if (v->n < sizeof(v->text))
        v->text[v->n] = c;
    v->n++;
}

/* Behind the opening quote. What it stands for must be a token, so each escaped character
 * must be one of a token's. */
static bool pass_quoted(struct str *s, struct value *v)
{
    size_t i = 0;
    for (; i < s->n && s->p[i] != '"'; i++) {
        i += s->p[i] == '\\';
        if (i == s->n || !request_is_token((struct str){s->p + i, 1}))
            return false;
        put(v, s->p[i]);
    }
    *s = (struct str){s->p + i, s->n - i};
    return v->n > 0 && pass_char(s, '"');
}

static bool pass_value(struct str *s, struct value *v)
{
    struct str token;
    if (pass_char(s, '"'))
        return pass_quoted(s, v);
    if (!pass_token(s, &token))
        return false;
    for (size_t i = 0; i < token.n; i++)
        put(v, token.p[i]);
    return true;
}

static bool pass_offer(struct str *s, struct offer *o)
{
    *o = (struct offer){.terms = {.window_bits = DEFLATE_BITS_MAX}};
    if (!pass_token(s, &o->name))
        return false;
    while (pass_char(s, ';')) {
        struct param p = {0};
        if (!pass_token(s, &p.name) || (pass_char(s, '=') && !pass_value(s, &p.value)))
            return false;
        weigh(o, &p);
    }
    return true;
}

/* Empty elements between commas are passed over (RFC 9110 §5.6.1). */
enum next { NEXT_OFFER, NEXT_NONE, NEXT_BAD };
static enum next next_offer(struct str *list, struct offer *o)
{
    while (pass_char(list, ','))
        ;
    if (list->n == 0)
        return NEXT_NONE;
    if (!pass_offer(list, o))
        return NEXT_BAD;
    pass_blanks(list);
    return list->n == 0 || list->p[0] == ',' ? NEXT_OFFER : NEXT_BAD;
}

/* A list of nothing is none. */
bool extensions_are_good(struct str list)
{
    struct offer o;
    enum next next = next_offer(&list, &o);
    if (next != NEXT_OFFER)
        return false;
    while (next == NEXT_OFFER)
        next = next_offer(&list, &o);
    return next == NEXT_NONE;
}

/* ---- the choice ---- */

static bool take_from(struct str list, struct extensions_deflate *out)
{
    struct offer o;
    while (next_offer(&list, &o) == NEXT_OFFER) {
        if (!str_is(o.name, "permessage-deflate") || o.is_declined)
            continue;
        *out = o.terms;
        return true;
    }
    return false;
}

bool extensions_take_deflate(const struct request *r, struct extensions_deflate *out)
{
    for (size_t i = 0; i < r->fields_n; i++)
        if (str_eq_nocase(r->fields[i].name, STR(FIELD)) &&
            take_from(r->fields[i].value, out))
            return true;
    return false;
}

void extensions_answer(const struct extensions_deflate *d, struct buf *out)
{
    buf_str(out, STR(FIELD ": permessage-deflate; server_no_context_takeover; "
                           "client_no_context_takeover"));
    if (d->is_asked)
        buf_printf(out, "; server_max_window_bits=%u", d->window_bits);
    buf_str(out, STR("\r\n"));
}
