#include "common/conf.h"

#include "common/conf_origin.h"
#include "common/conf_value.h"
#include "common/fd.h"
#include "common/mem.h"

/* Life */

static void init_section(const struct conf_section *s, char *base)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        if (key->kind == CONF_BLOCK)
            init_section(key->sub, base + key->offset);
        else if (key->kind != CONF_LIST)
            conf_value_default(key, base + key->offset);
    }
}

static void release_section(const struct conf_section *s, char *base)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        struct conf_rows *rows = (struct conf_rows *)(base + key->offset);
        if (key->kind == CONF_BLOCK) {
            release_section(key->sub, base + key->offset);
        } else if (key->kind == CONF_LIST) {
            for (size_t row = 0; row < rows->n; row++)
                release_section(key->sub, rows->v + row * key->sub->size);
            free(rows->v);
        } else {
            conf_value_release(key, base + key->offset);
        }
    }
}

static char *append_row(const struct conf_key *key, struct conf_rows *rows)
{
    rows->v = mem_resize(rows->v, (rows->n + 1) * key->sub->size);
    char *row = rows->v + rows->n++ * key->sub->size;
    memset(row, 0, key->sub->size);
    return row;
}

struct conf *conf_new(void)
{
    struct conf *c = NEW(struct conf);
    c->refs = 1;
    c->origins = conf_origins_new();
    init_section(&conf_main_section, (char *)&c->main);
    return c;
}

struct conf *conf_ref(struct conf *c)
{
    c->refs++;
    return c;
}

void conf_unref(struct conf *c)
{
    if (!c || --c->refs > 0)
        return;
    release_section(&conf_main_section, (char *)&c->main);
    conf_origins_free(c->origins);
    free(c->file);
    free(c);
}

/* Names */

/* Every name a key goes by: its own, and for CONTENT the two siblings. NULL behind the
 * last. */
static const char *spelling(const struct conf_key *key, unsigned i, char buf[64])
{
    static const char *const suffixes[] = {"", CONF_FILE_SUFFIX, CONF_ENV_SUFFIX};
    if (i >= (key->kind == CONF_CONTENT ? 3 : 1))
        return NULL;
    snprintf(buf, 64, "%s%s", key->name, suffixes[i]);
    return buf;
}

/* The name most like a wrong one; returns how many edits lie between. */
static unsigned find_nearest(const struct conf_section *s, struct str name, char best[64])
{
    char candidate[64];
    unsigned least = UINT_MAX;
    for (size_t k = 0; k < s->n; k++)
        for (unsigned i = 0; spelling(&s->keys[k], i, candidate); i++) {
            unsigned distance = str_distance(name, str_of(candidate));
            if (distance < least) {
                least = distance;
                memcpy(best, candidate, sizeof(candidate));
            }
        }
    return least;
}

static bool knows(const struct conf_section *s, struct str name)
{
    char buf[64];
    for (size_t k = 0; k < s->n; k++)
        for (unsigned i = 0; spelling(&s->keys[k], i, buf); i++)
            if (str_is(name, buf))
                return true;
    return false;
}

/* Appends the way ("endpoints[].auth") from s down to the section that knows the name. */
static bool find_home(const struct conf_section *s, struct str name, struct buf *way)
{
    size_t before = way->n;
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        if (conf_key_is_leaf(key))
            continue;
        buf_printf(way, "%s%s%s", way->n ? "." : "", key->name,
                   key->kind == CONF_LIST ? "[]" : "");
        if (knows(key->sub, name) || find_home(key->sub, name, way))
            return true;
        way->n = before;
    }
    return false;
}

static void list_names(const struct conf_section *s, struct buf *out)
{
    for (size_t i = 0; i < s->n; i++)
        buf_printf(out, "%s%s", i ? ", " : "", s->keys[i].name);
}

static void refuse_name(const struct conf_section *s, struct str name, struct err *e)
{
    struct buf words = {0};
    char best[64];
    unsigned distance = find_nearest(s, name, best);
    if (distance <= 1)
        err_set(e, "unknown key; did you mean %s?", best);
    else if (find_home(s, name, &words))
        err_set(e, "unknown key here; it belongs in %s", buf_cstr(&words));
    else if (knows(&conf_main_section, name))
        err_set(e, "unknown key here; it belongs at the top level");
    else if (find_home(&conf_main_section, name, &words))
        err_set(e, "unknown key here; it belongs in %s", buf_cstr(&words));
    else if (distance <= name.n / 2 && distance <= 4)
        err_set(e, "unknown key; did you mean %s?", best);
    else {
        list_names(s, &words);
        err_set(e, "unknown key; known here: %s", buf_cstr(&words));
    }
    buf_free(&words);
}

const struct conf_key *conf_find(const struct conf_section *s, struct str name,
                                 struct err *e)
{
    for (size_t i = 0; i < s->n; i++)
        if (str_is(name, s->keys[i].name))
            return &s->keys[i];
    refuse_name(s, name, e);
    return NULL;
}

/* Paths */

struct spot {
    const struct conf_key *key;
    char *field;   /* NULL: in a row that is not there yet */
    int64_t index; /* of the element of a STRS; -1: the whole */
};

static struct str take_name(const char **path)
{
    size_t n = strcspn(*path, ".[");
    struct str name = {*path, n};
    *path += n;
    return name;
}

static int take_index(const char **path, int64_t *out, struct err *e)
{
    uint64_t index;
    size_t n = strcspn(*path, "]");
    if (**path != '[' || (*path)[n] != ']' ||
        !str_to_u64((struct str){*path + 1, n - 1}, 1000000, &index))
        return err_set(e, "an index such as [0] is needed");
    *path += n + 1;
    *out = (int64_t)index;
    return 0;
}

/* The row at an index; with `create` a new one at the end. *row NULL: it could be
 * created. */
static int enter_row(const struct conf_key *key, char *field, int64_t index, bool create,
                     char **row, struct err *e)
{
    static const struct conf_rows none;
    const struct conf_rows *rows = field ? (struct conf_rows *)field : &none;
    *row = NULL;
    if ((size_t)index > rows->n)
        return err_set(e, "rows have to come in order: [%zu] is next", rows->n);
    if (index >= key->max)
        return err_set(e, "too many rows: the most is %" PRId64, key->max);
    if ((size_t)index < rows->n) {
        *row = rows->v + (size_t)index * key->sub->size;
    } else if (create) {
        *row = append_row(key, (struct conf_rows *)field);
        init_section(key->sub, *row);
    }
    return 0;
}

static int find_spot(struct conf *c, const char *path, bool create, struct spot *out,
                     struct err *e)
{
    const struct conf_section *s = &conf_main_section;
    char *base = (char *)&c->main;
    for (;;) {
        const struct conf_key *key = conf_find(s, take_name(&path), e);
        if (!key)
            return -1;
        *out = (struct spot){key, base ? base + key->offset : NULL, -1};
        int64_t index;
        if (key->kind == CONF_STRS && *path == '[' && take_index(&path, &out->index, e))
            return -1;
        if (conf_key_is_leaf(key))
            return *path ? err_set(e, "%s holds no further keys", key->name) : 0;
        s = key->sub;
        base = out->field;
        if (key->kind == CONF_LIST &&
            (take_index(&path, &index, e) ||
             enter_row(key, out->field, index, create, &base, e)))
            return -1;
        if (*path++ != '.')
            return err_set(e, "a block of keys, not a value");
    }
}

/* Setting */

static int set_element(struct conf *c, const struct spot *spot, const char *path,
                       struct str text, struct err *e)
{
    static const struct conf_strs none;
    const struct conf_strs *there = spot->field ? (struct conf_strs *)spot->field : &none;
    struct spot made;
    if (spot->index > 0 && (size_t)spot->index != there->n)
        return err_set(e, "elements have to come in order: [%zu] is next", there->n);
    if (spot->index >= spot->key->max)
        return err_set(e, "too many elements: the most is %" PRId64, spot->key->max);
    if (conf_element_check(text, e) || find_spot(c, path, true, &made, e))
        return -1;
    if (spot->index == 0)
        conf_value_release(spot->key, made.field);
    conf_strs_append((struct conf_strs *)made.field, text);
    return 0;
}

static int set_whole(struct conf *c, const struct spot *spot, const char *path,
                     struct str text, const char *source, struct err *e)
{
    union conf_value value;
    struct spot made;
    if (source && spot->key->kind != CONF_CONTENT)
        return err_set(e, "takes no content from elsewhere");
    if (conf_value_parse(spot->key, text, &value, e))
        return -1;
    BUG_ON(find_spot(c, path, true, &made, e)); /* went well without `create` */
    if (source)
        value.content.source = mem_strdup(source);
    conf_value_release(spot->key, made.field);
    memcpy(made.field, &value, conf_value_size(spot->key));
    return 0;
}

int conf_set_content(struct conf *c, const char *path, struct str bytes,
                     const char *source, int line, struct err *e)
{
    struct spot spot;
    int bad = find_spot(c, path, false, &spot, e);
    if (!bad && spot.index >= 0)
        bad = set_element(c, &spot, path, bytes, e);
    else if (!bad)
        bad = set_whole(c, &spot, path, bytes, source, e);
    if (bad)
        return err_add(e, "%s", path);
    if (!c->origins)
        return 0;
    conf_origins_note(c->origins, path, line);
    return 0;
}

int conf_set(struct conf *c, const char *path, struct str text, int line, struct err *e)
{
    return conf_set_content(c, path, text, NULL, line, e);
}

int conf_line(const struct conf *c, const char *path)
{
    return MAX(conf_origins_line(c->origins, str_of(path)), 0);
}

bool conf_is_given(const struct conf *c, const char *path)
{
    return conf_origins_line(c->origins, str_of(path)) >= 0;
}

/* Walking: one configuration, or two side by side */

struct walk {
    const struct conf *c; /* lines come from here */
    conf_leaf_fn fn;
    void *ctx;
    bool differing; /* only leaves that differ */
    struct buf path, text;
};

static void visit_leaf(struct walk *w, const struct conf_key *key, const char *old,
                       const char *new)
{
    if (w->differing && old && new &&conf_value_equal(key, old, new))
        return;
    buf_clear(&w->text);
    buf_reserve(&w->text, 1); /* an empty text is not "removed" */
    if (new)
        conf_value_format(key, new, &w->text);
    const char *path = buf_cstr(&w->path);
    w->fn(w->ctx, path, key, new ? buf_view(&w->text) : STR_NONE,
          new ? conf_line(w->c, path) : 0);
}

static void visit_section(struct walk *w, const struct conf_section *s, const char *old,
                          const char *new);

static void visit_rows(struct walk *w, const struct conf_key *key, const char *old,
                       const char *new)
{
    static const struct conf_rows none;
    const struct conf_rows *a = old ? (const struct conf_rows *)old : &none;
    const struct conf_rows *b = new ? (const struct conf_rows *)new : &none;
    size_t before = w->path.n;
    for (size_t i = 0; i < MAX(a->n, b->n); i++) {
        buf_printf(&w->path, "[%zu]", i);
        visit_section(w, key->sub, i < a->n ? a->v + i * key->sub->size : NULL,
                      i < b->n ? b->v + i * key->sub->size : NULL);
        w->path.n = before;
    }
}

static void visit_section(struct walk *w, const struct conf_section *s, const char *old,
                          const char *new)
{
    size_t before = w->path.n;
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        const char *a = old ? old + key->offset : NULL,
                   *b = new ? new + key->offset : NULL;
        buf_printf(&w->path, "%s%s", before ? "." : "", key->name);
        if (key->kind == CONF_BLOCK)
            visit_section(w, key->sub, a, b);
        else if (key->kind == CONF_LIST)
            visit_rows(w, key, a, b);
        else
            visit_leaf(w, key, a, b);
        w->path.n = before;
    }
}

static void walk_both(struct walk w, const struct conf *old, const struct conf *new)
{
    visit_section(&w, &conf_main_section, old ? (const char *)&old->main : NULL,
                  (const char *)&new->main);
    buf_free(&w.path);
    if (w.text.p)
        mem_wipe_free(w.text.p, w.text.cap);
}

void conf_walk(const struct conf *c, conf_leaf_fn fn, void *ctx)
{
    walk_both((struct walk){.c = c, .fn = fn, .ctx = ctx}, NULL, c);
}

void conf_diff(const struct conf *old, const struct conf *new, conf_leaf_fn fn, void *ctx)
{
    walk_both((struct walk){.c = new, .fn = fn, .ctx = ctx, .differing = true}, old, new);
}

/* Bytes */

/* Sum over what the table looks like: both ends must have been built from the same one.
 */
static uint64_t fingerprint(const struct conf_section *s, uint64_t sum)
{
    for (size_t i = 0; i < s->n; i++) {
        for (const char *p = s->keys[i].name; *p; p++)
            sum = (sum ^ (unsigned char)*p) * 0x100000001b3;
        sum = (sum ^ (s->keys[i].kind + 256)) * 0x100000001b3;
        if (s->keys[i].sub)
            sum = fingerprint(s->keys[i].sub, sum);
    }
    return sum;
}

static void encode_section(const struct conf_section *s, const char *base,
                           struct buf *out)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        const struct conf_rows *rows = (const struct conf_rows *)(base + key->offset);
        if (key->kind == CONF_BLOCK) {
            encode_section(key->sub, base + key->offset, out);
        } else if (key->kind == CONF_LIST) {
            uint64_t n = rows->n;
            buf_put(out, &n, sizeof(n));
            for (size_t row = 0; row < rows->n; row++)
                encode_section(key->sub, rows->v + row * key->sub->size, out);
        } else {
            conf_value_encode(key, base + key->offset, out);
        }
    }
}

void conf_encode(const struct conf *c, struct buf *out)
{
    uint64_t head[2] = {fingerprint(&conf_main_section, 0), c->generation};
    buf_put(out, head, sizeof(head));
    encode_section(&conf_main_section, (const char *)&c->main, out);
}

int conf_seal(const struct conf *c, struct err *e)
{
    struct buf bytes = {0};
    conf_encode(c, &bytes);
    int fd = fd_sealed("heliod-conf", buf_view(&bytes), e);
    mem_wipe_free(bytes.p, bytes.cap);
    return fd;
}

static int decode_section(const struct conf_section *s, struct str *in, char *base,
                          struct err *e);

static int decode_rows(const struct conf_key *key, struct str *in, struct conf_rows *rows,
                       struct err *e)
{
    uint64_t n;
    if (in->n < sizeof(n))
        return err_set(e, "cut short");
    memcpy(&n, in->p, sizeof(n));
    *in = (struct str){in->p + sizeof(n), in->n - sizeof(n)};
    if (n > (uint64_t)key->max)
        return err_set(e, "too many rows");
    while (n-- > 0)
        if (decode_section(key->sub, in, append_row(key, rows), e))
            return -1;
    return 0;
}

static int decode_section(const struct conf_section *s, struct str *in, char *base,
                          struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        char *field = base + key->offset;
        int bad = key->kind == CONF_BLOCK ? decode_section(key->sub, in, field, e)
                  : key->kind == CONF_LIST
                      ? decode_rows(key, in, (struct conf_rows *)field, e)
                      : conf_value_decode(key, in, field, e);
        if (bad)
            return err_add(e, "%s", key->name);
    }
    return 0;
}

static int decode_whole(struct conf *c, struct str in, struct err *e)
{
    uint64_t head[2];
    if (in.n < sizeof(head))
        return err_set(e, "cut short");
    memcpy(head, in.p, sizeof(head));
    if (head[0] != fingerprint(&conf_main_section, 0))
        return err_set(e, "made by another version of heliod");
    c->generation = (uint32_t)head[1];
    in = (struct str){in.p + sizeof(head), in.n - sizeof(head)};
    if (decode_section(&conf_main_section, &in, (char *)&c->main, e))
        return -1;
    return in.n ? err_set(e, "%zu bytes too many", in.n) : 0;
}

struct conf *conf_decode(struct str bytes, struct err *e)
{
    struct conf *c = NEW(struct conf);
    c->refs = 1;
    if (decode_whole(c, bytes, e) == 0)
        return c;
    err_add(e, "configuration");
    conf_unref(c);
    return NULL;
}
