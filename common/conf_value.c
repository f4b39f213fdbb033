#include "common/conf_value.h"

#include "common/mem.h"

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit size_units[] = {
    {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {NULL, 0}};
static const struct unit time_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                         {"s", 1000},     {"ms", 1},      {NULL, 0}};

struct conf_shown conf_show(struct str text)
{
    struct conf_shown shown;
    struct buf b = {0};
    buf_escape(&b, text, sizeof(shown.s) - 16);
    snprintf(shown.s, sizeof(shown.s), "\"%s\"", buf_cstr(&b));
    buf_free(&b);
    return shown;
}

/* Numbers of all sorts */

static int64_t number_get(const struct conf_key *key, const void *field)
{
    if (key->kind == CONF_BOOL)
        return *(const bool *)field;
    if (key->kind == CONF_ENUM)
        return *(const int *)field;
    return *(const int64_t *)field;
}

static void number_put(const struct conf_key *key, void *field, int64_t number)
{
    if (key->kind == CONF_BOOL)
        *(bool *)field = number != 0;
    else if (key->kind == CONF_ENUM)
        *(int *)field = (int)number;
    else
        *(int64_t *)field = number;
}

static void format_number(const struct conf_key *key, int64_t number, struct buf *out);

static int check_range(const struct conf_key *key, int64_t number, struct str text,
                       struct err *e)
{
    bool small = number < key->min;
    if (!small && number <= key->max)
        return 0;
    struct buf bound = {0};
    format_number(key, small ? key->min : key->max, &bound);
    err_set(e, "%s is too %s: the %s is %s", conf_show(text).s, small ? "small" : "large",
            small ? "least" : "most", buf_cstr(&bound));
    buf_free(&bound);
    return -1;
}

/* Leading digits of text; what follows them in *rest. More than 18 digits count as 10^18.
 */
static bool take_digits(struct str text, int64_t *out, struct str *rest)
{
    size_t i = 0;
    int64_t number = 0;
    for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        number = i < 18 ? number * 10 + (text.p[i] - '0') : 1000000000000000000;
    if (i == 0 || (text.p[0] == '0' && i > 1))
        return false;
    *out = number;
    *rest = (struct str){text.p + i, text.n - i};
    return true;
}

static int parse_int(const struct conf_key *key, struct str text, int64_t *out,
                     struct err *e)
{
    struct str rest = text;
    bool negative = text.n && text.p[0] == '-';
    if (negative)
        rest = (struct str){text.p + 1, text.n - 1};
    if (!take_digits(rest, out, &rest) || rest.n)
        return err_set(e, "%s is not a whole number", conf_show(text).s);
    if (negative)
        *out = -*out;
    return check_range(key, *out, text, e);
}

static int parse_united(const struct conf_key *key, const struct unit *units,
                        struct str text, int64_t *out, struct err *e)
{
    bool is_time = key->kind == CONF_TIME;
    struct str unit;
    if (!take_digits(text, out, &unit))
        return err_set(e, "%s is not a %s: a whole number with a unit, such as %s",
                       conf_show(text).s, is_time ? "time" : "size",
                       is_time ? "500ms or 30s" : "64KiB or 1MiB");
    if (unit.n == 0 && is_time && *out != 0)
        return err_set(e, "%s has no unit: ms, s, m, h or d", conf_show(text).s);
    int64_t factor = unit.n == 0;
    for (const struct unit *u = units; u->name; u++)
        if (str_is(unit, u->name))
            factor = u->factor;
    if (!factor)
        return err_set(e, "%s has an unknown unit: %s", conf_show(text).s,
                       is_time ? "ms, s, m, h and d are known"
                               : "B, KiB, MiB and GiB are known");
    if (__builtin_mul_overflow(*out, factor, out))
        *out = INT64_MAX;
    return check_range(key, *out, text, e);
}

static int parse_workers(const struct conf_key *key, struct str text, int64_t *out,
                         struct err *e)
{
    struct str rest;
    *out = 0;
    if (str_is(text, "auto"))
        return 0;
    if (!take_digits(text, out, &rest) || rest.n)
        return err_set(e, "%s is neither a whole number nor auto", conf_show(text).s);
    return check_range(key, *out, text, e);
}

static int parse_bool(struct str text, int64_t *out, struct err *e)
{
    *out = str_is(text, "true");
    if (*out || str_is(text, "false"))
        return 0;
    return err_set(e, "%s is neither true nor false", conf_show(text).s);
}

static struct str next_choice(struct str *choices)
{
    struct str rest, choice = str_split(*choices, '|', &rest);
    *choices = rest;
    return choice;
}

static int refuse_choice(const struct conf_key *key, struct str text, struct err *e)
{
    struct str choices = str_of(key->choices), near = STR_NONE;
    unsigned least = 3;
    struct buf all = {0};
    while (choices.p) {
        struct str choice = next_choice(&choices);
        buf_printf(&all, "%s" STR_FMT, all.n ? ", " : "", STR_ARG(choice));
        unsigned distance = str_distance(text, choice);
        if (distance < least && distance < choice.n) {
            least = distance;
            near = choice;
        }
    }
    err_set(e, "%s is none of %s", conf_show(text).s, buf_cstr(&all));
    buf_free(&all);
    if (near.n) {
        struct err cut = *e;
        err_set(e, "%.900s; did you mean " STR_FMT "?", cut.text, STR_ARG(near));
    }
    return -1;
}

static int parse_enum(const struct conf_key *key, struct str text, int64_t *out,
                      struct err *e)
{
    struct str choices = str_of(key->choices);
    for (*out = 0; choices.p; ++*out)
        if (str_eq(next_choice(&choices), text))
            return 0;
    return refuse_choice(key, text, e);
}

struct str conf_choice(const struct conf_key *key, int value)
{
    struct str choices = str_of(key->choices), choice = STR_NONE;
    for (int i = 0; i <= value; i++) {
        BUG_ON(!choices.p);
        choice = next_choice(&choices);
    }
    return choice;
}

static int parse_number(const struct conf_key *key, struct str text, int64_t *out,
                        struct err *e)
{
    switch (key->kind) {
    case CONF_BOOL:
        return parse_bool(text, out, e);
    case CONF_SIZE:
        return parse_united(key, size_units, text, out, e);
    case CONF_TIME:
        return parse_united(key, time_units, text, out, e);
    case CONF_WORKERS:
        return parse_workers(key, text, out, e);
    case CONF_ENUM:
        return parse_enum(key, text, out, e);
    default:
        return parse_int(key, text, out, e);
    }
}

static void format_united(const struct unit *units, int64_t number, struct buf *out)
{
    while (units[1].name && (number % units->factor != 0 || number < units->factor))
        units++;
    buf_printf(out, "%" PRId64 "%s", number / units->factor, units->name);
}

static void format_number(const struct conf_key *key, int64_t number, struct buf *out)
{
    if (key->kind == CONF_BOOL)
        buf_str(out, number ? STR("true") : STR("false"));
    else if (key->kind == CONF_ENUM)
        buf_str(out, conf_choice(key, (int)number));
    else if (key->kind == CONF_WORKERS && number == 0)
        buf_str(out, STR("auto"));
    else if (key->kind == CONF_TIME && number == 0)
        buf_str(out, STR("0s"));
    else if (key->kind == CONF_SIZE || key->kind == CONF_TIME)
        format_united(key->kind == CONF_SIZE ? size_units : time_units, number, out);
    else
        buf_printf(out, "%" PRId64, number);
}

/* Texts */

static int check_plain(struct str text, struct err *e)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return err_set(e, "must not hold a control character");
    return 0;
}

static int check_length(const struct conf_key *key, size_t n, struct err *e)
{
    if ((int64_t)n < key->min && n == 0)
        return err_set(e, "must not be empty");
    if ((int64_t)n < key->min)
        return err_set(e, "%zu bytes are too few: the least is %" PRId64, n, key->min);
    if ((int64_t)n > key->max)
        return err_set(e, "%zu bytes are too many: the most is %" PRId64, n, key->max);
    return 0;
}

static struct str copy_text(struct str text)
{
    return (struct str){str_dup(text), text.n};
}

int conf_element_check(struct str text, struct err *e)
{
    if (text.n == 0)
        return err_set(e, "must not be empty");
    if (text.n > CONF_ELEMENT_MAX)
        return err_set(e, "%zu bytes are too many: the most is %d", text.n,
                       CONF_ELEMENT_MAX);
    return check_plain(text, e);
}

void conf_strs_append(struct conf_strs *l, struct str text)
{
    l->v = mem_resize(l->v, (l->n + 1) * sizeof(*l->v));
    l->v[l->n++] = copy_text(text);
}

static void release_strs(struct conf_strs *l)
{
    for (size_t i = 0; i < l->n; i++)
        free((char *)l->v[i].p);
    free(l->v);
    *l = (struct conf_strs){0};
}

/* One element of "a, b\, c" from the front of *text; blanks around it are dropped unless
 * a backslash guards them. True: a comma ended it, so another one follows. */
static bool take_element(struct str *text, struct buf *out)
{
    size_t i = 0, solid = 0;
    while (i < text->n && text->p[i] == ' ')
        i++;
    for (; i < text->n && text->p[i] != ','; i++) {
        bool guarded = text->p[i] == '\\' && i + 1 < text->n;
        i += guarded;
        buf_char(out, text->p[i]);
        if (guarded || text->p[i] != ' ')
            solid = out->n;
    }
    out->n = solid;
    bool more = i < text->n;
    *text = (struct str){text->p + i + more, text->n - i - more};
    return more;
}

static void put_element(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        bool at_end = i == 0 || i + 1 == text.n;
        if (text.p[i] == ',' || text.p[i] == '\\' || (text.p[i] == ' ' && at_end))
            buf_char(out, '\\');
        buf_char(out, text.p[i]);
    }
}

static int check_count(const struct conf_key *key, size_t n, struct err *e)
{
    if ((int64_t)n < key->min)
        return err_set(e, "%zu elements are too few: the least is %" PRId64, n, key->min);
    if ((int64_t)n > key->max)
        return err_set(e, "%zu elements are too many: the most is %" PRId64, n, key->max);
    return 0;
}

static int parse_strs(const struct conf_key *key, struct str text, struct conf_strs *out,
                      struct err *e)
{
    struct buf element = {0};
    int bad = 0;
    *out = (struct conf_strs){0};
    for (bool more = str_trim(text).n > 0; more && !bad;) {
        buf_clear(&element);
        more = take_element(&text, &element);
        bad = conf_element_check(buf_view(&element), e);
        if (!bad)
            conf_strs_append(out, buf_view(&element));
    }
    buf_free(&element);
    if (!bad)
        bad = check_count(key, out->n, e);
    if (bad)
        release_strs(out);
    return bad;
}

static int parse_text(const struct conf_key *key, struct str text, struct str *out,
                      struct err *e)
{
    if (check_length(key, text.n, e) || check_plain(text, e))
        return -1;
    *out = copy_text(text);
    return 0;
}

/* One leaf of any kind */

size_t conf_value_size(const struct conf_key *key)
{
    static const size_t sizes[] = {
        [CONF_BOOL] = sizeof(bool),       [CONF_INT] = sizeof(int64_t),
        [CONF_SIZE] = sizeof(int64_t),    [CONF_TIME] = sizeof(int64_t),
        [CONF_STR] = sizeof(struct str),  [CONF_STRS] = sizeof(struct conf_strs),
        [CONF_WORKERS] = sizeof(int64_t), [CONF_CONTENT] = sizeof(struct conf_content),
        [CONF_ENUM] = sizeof(int),
    };
    BUG_ON(!conf_key_is_leaf(key));
    return sizes[key->kind];
}

int conf_value_parse(const struct conf_key *key, struct str text, union conf_value *out,
                     struct err *e)
{
    int64_t number;
    *out = (union conf_value){0};
    switch (key->kind) {
    case CONF_STR:
        return parse_text(key, text, &out->text, e);
    case CONF_STRS:
        return parse_strs(key, text, &out->texts, e);
    case CONF_CONTENT:
        if (check_length(key, text.n, e))
            return -1;
        out->content.value = copy_text(text);
        return 0;
    default:
        if (parse_number(key, text, &number, e))
            return -1;
        number_put(key, out, number);
        return 0;
    }
}

void conf_value_default(const struct conf_key *key, void *field)
{
    union conf_value value = {0};
    struct err e;
    if (key->kind == CONF_STR && !*key->dflt)
        value.text = copy_text(STR(""));
    else if (key->kind != CONF_CONTENT)
        BUG_ON(conf_value_parse(key, str_of(key->dflt), &value, &e));
    memcpy(field, &value, conf_value_size(key));
}

void conf_value_format(const struct conf_key *key, const void *field, struct buf *out)
{
    const union conf_value *value = field;
    if (key->kind == CONF_STR) {
        buf_str(out, value->text);
    } else if (key->kind == CONF_CONTENT) {
        buf_str(out, value->content.value);
    } else if (key->kind == CONF_STRS) {
        for (size_t i = 0; i < value->texts.n; i++) {
            if (i > 0)
                buf_str(out, STR(", "));
            put_element(value->texts.v[i], out);
        }
    } else {
        format_number(key, number_get(key, field), out);
    }
}

static bool strs_equal(const struct conf_strs *a, const struct conf_strs *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!str_eq(a->v[i], b->v[i]))
            return false;
    return true;
}

bool conf_value_equal(const struct conf_key *key, const void *a, const void *b)
{
    const union conf_value *x = a, *y = b;
    if (key->kind == CONF_STR)
        return str_eq(x->text, y->text);
    if (key->kind == CONF_STRS)
        return strs_equal(&x->texts, &y->texts);
    if (key->kind == CONF_CONTENT)
        return !x->content.value.p == !y->content.value.p &&
               str_eq(x->content.value, y->content.value);
    return number_get(key, a) == number_get(key, b);
}

void conf_value_release(const struct conf_key *key, void *field)
{
    union conf_value *value = field;
    if (key->kind == CONF_STR) {
        free((char *)value->text.p);
    } else if (key->kind == CONF_STRS) {
        release_strs(&value->texts);
    } else if (key->kind == CONF_CONTENT) {
        if (value->content.value.p)
            mem_wipe_free((char *)value->content.value.p, value->content.value.n);
        free(value->content.source);
    }
    memset(field, 0, conf_value_size(key));
}

/* Bytes for the memfd: numbers as int64, texts as length and bytes; host order, both ends
 * are one machine */

static void put_number(struct buf *out, int64_t number)
{
    buf_put(out, &number, sizeof(number));
}

static void put_text(struct buf *out, struct str text)
{
    put_number(out, (int64_t)text.n);
    buf_str(out, text);
}

void conf_value_encode(const struct conf_key *key, const void *field, struct buf *out)
{
    const union conf_value *value = field;
    if (key->kind == CONF_STR) {
        put_text(out, value->text);
    } else if (key->kind == CONF_STRS) {
        put_number(out, (int64_t)value->texts.n);
        for (size_t i = 0; i < value->texts.n; i++)
            put_text(out, value->texts.v[i]);
    } else if (key->kind == CONF_CONTENT) {
        put_number(out, value->content.value.p != NULL);
        put_text(out, value->content.value);
        put_text(out, str_of(value->content.source));
    } else {
        put_number(out, number_get(key, field));
    }
}

static int take_number(struct str *in, int64_t least, int64_t most, int64_t *out,
                       struct err *e)
{
    if (in->n < sizeof(*out))
        return err_set(e, "cut short");
    memcpy(out, in->p, sizeof(*out));
    *in = (struct str){in->p + sizeof(*out), in->n - sizeof(*out)};
    if (*out < least || *out > most)
        return err_set(e, "%" PRId64 " is out of range", *out);
    return 0;
}

static int take_text(struct str *in, struct str *out, struct err *e)
{
    int64_t n;
    if (take_number(in, 0, INT64_MAX, &n, e))
        return -1;
    if ((uint64_t)n > in->n)
        return err_set(e, "cut short");
    *out = (struct str){in->p, (size_t)n};
    *in = (struct str){in->p + n, in->n - (size_t)n};
    return 0;
}

static int decode_text(const struct conf_key *key, struct str *in, struct str *out,
                       struct err *e)
{
    struct str text;
    if (take_text(in, &text, e) || check_plain(text, e))
        return -1;
    if (text.n > 0 && check_length(key, text.n, e))
        return -1;
    *out = copy_text(text);
    return 0;
}

static int decode_strs(const struct conf_key *key, struct str *in, struct conf_strs *out,
                       struct err *e)
{
    int64_t n;
    struct str text;
    if (take_number(in, key->min, key->max, &n, e))
        return -1;
    while (n-- > 0) {
        if (take_text(in, &text, e) || conf_element_check(text, e))
            return -1;
        conf_strs_append(out, text);
    }
    return 0;
}

static int decode_content(const struct conf_key *key, struct str *in,
                          struct conf_content *out, struct err *e)
{
    int64_t given;
    struct str bytes, source;
    if (take_number(in, 0, 1, &given, e) || take_text(in, &bytes, e) ||
        take_text(in, &source, e))
        return -1;
    if (!given)
        return bytes.n || source.n ? err_set(e, "bytes of a key not given") : 0;
    if (bytes.n > 0 && check_length(key, bytes.n, e))
        return -1;
    out->value = copy_text(bytes);
    out->source = source.n ? str_dup(source) : NULL;
    return 0;
}

static void number_range(const struct conf_key *key, int64_t *least, int64_t *most)
{
    *least = key->kind == CONF_WORKERS ? 0 : key->min;
    *most = key->max;
    if (key->kind == CONF_BOOL)
        *most = 1;
    if (key->kind != CONF_ENUM)
        return;
    for (const char *p = key->choices; *p; p++)
        *most += *p == '|';
}

int conf_value_decode(const struct conf_key *key, struct str *in, void *field,
                      struct err *e)
{
    int64_t number, least, most;
    if (key->kind == CONF_STR)
        return decode_text(key, in, field, e);
    if (key->kind == CONF_STRS)
        return decode_strs(key, in, field, e);
    if (key->kind == CONF_CONTENT)
        return decode_content(key, in, field, e);
    number_range(key, &least, &most);
    if (take_number(in, least, most, &number, e))
        return -1;
    number_put(key, field, number);
    return 0;
}
