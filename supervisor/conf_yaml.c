#include "supervisor/conf_yaml.h"

#include "common/fd.h"
#include "common/mem.h"
#include "supervisor/system_ca.h"

#include <ctype.h>
#include <stdarg.h>
#include <yaml.h>

#define KEYS_MAX 64 /* in one section of the table */

/* How a key was spelt. */
enum form { FORM_INLINE, FORM_FILE, FORM_ENV };
static const char *const suffixes[] = {"", CONF_FILE_SUFFIX, CONF_ENV_SUFFIX};

struct seen {
    int line; /* 0: not yet */
    enum form form;
};
struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; type YAML_NO_EVENT before the first */
    struct str text;
    const char *file;
    struct conf *conf;
    struct buf path; /* of the key being read, as it was spelt */
    struct err *e;
};

/* Errors */

static int line_of(const struct reader *r)
{
    return (int)r->event.start_mark.line + 1;
}

/* Says what is wrong with the key being read, or with the document when there is none. */
static int PRINTF(3, 4) fail(struct reader *r, int line, const char *fmt, ...)
{
    va_list ap;
    char what[768];
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return err_set(r->e, "%s:%d: %s%s%s", r->file, line, buf_cstr(&r->path),
                   r->path.n ? ": " : "", what);
}

/* e holds `path: what`, from a conf verb. */
static int fail_there(struct reader *r, int line)
{
    return err_add(r->e, "%s:%d", r->file, line);
}

static int line_at(struct str text, size_t offset)
{
    int line = 1;
    for (size_t i = 0; i < offset && i < text.n; i++)
        line += text.p[i] == '\n';
    return line;
}

static bool is_indented_by_tab(struct str text, size_t line)
{
    struct str row = STR_NONE, rest = text;
    for (size_t i = 0; i <= line && rest.p; i++)
        row = str_split(rest, '\n', &rest);
    for (size_t i = 0; i < row.n && isblank((unsigned char)row.p[i]); i++)
        if (row.p[i] == '\t')
            return true;
    return false;
}

static const char *hint_for(const struct reader *r)
{
    const char *context = r->parser.context ? r->parser.context : "";
    if (is_indented_by_tab(r->text, r->parser.problem_mark.line))
        return "; a tab is there: indent with spaces";
    if (strstr(context, "alias") || strstr(context, "anchor") || strstr(context, "tag"))
        return "; a text that begins with *, & or ! has to be quoted";
    if (strstr(r->parser.problem, "cannot start any token"))
        return "; a text that begins with @, ` or % has to be quoted";
    return "";
}

static int fail_yaml(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    buf_clear(&r->path);
    if (p->error == YAML_MEMORY_ERROR)
        return fail(r, 1, "out of memory");
    if (p->error == YAML_READER_ERROR)
        return fail(r, line_at(r->text, p->problem_offset), "not readable as UTF-8: %s",
                    p->problem);
    int line = (int)p->problem_mark.line + 1;
    if (!p->context || strstr(p->context, "next token"))
        return fail(r, line, "not YAML: %s%s", p->problem, hint_for(r));
    return fail(r, line, "not YAML: %s (%s that begins in line %d)%s", p->problem,
                p->context, (int)p->context_mark.line + 1, hint_for(r));
}

/* Events */

/* What was written is not shown: it may be a secret that begins with such a sign. */
static int refuse_sign(struct reader *r, const char *what, char sign)
{
    return fail(r, line_of(r),
                "%s are not supported; a text that begins with %c has to be quoted", what,
                sign);
}

static int check_node(struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag,
                      bool is_tagged)
{
    if (anchor)
        return refuse_sign(r, "anchors", '&');
    return tag || is_tagged ? refuse_sign(r, "tags", '!') : 0;
}

static int check_event(struct reader *r)
{
    const yaml_event_t *v = &r->event;
    switch (v->type) {
    case YAML_ALIAS_EVENT:
        return refuse_sign(r, "aliases", '*');
    case YAML_SCALAR_EVENT:
        return check_node(r, v->data.scalar.anchor, v->data.scalar.tag,
                          v->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                              !v->data.scalar.plain_implicit);
    case YAML_SEQUENCE_START_EVENT:
        return check_node(r, v->data.sequence_start.anchor, v->data.sequence_start.tag,
                          !v->data.sequence_start.implicit);
    case YAML_MAPPING_START_EVENT:
        return check_node(r, v->data.mapping_start.anchor, v->data.mapping_start.tag,
                          !v->data.mapping_start.implicit);
    case YAML_DOCUMENT_START_EVENT:
        if (v->data.document_start.tag_directives.start !=
            v->data.document_start.tag_directives.end)
            return fail(r, line_of(r), "the %%TAG directive is not supported");
        return 0;
    default:
        return 0;
    }
}

static int next(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        r->event.type = YAML_NO_EVENT;
        return fail_yaml(r);
    }
    return check_event(r);
}

static struct str scalar_of(const struct reader *r)
{
    return (struct str){(const char *)r->event.data.scalar.value,
                        r->event.data.scalar.length};
}

static bool is_quoted(const struct reader *r)
{
    return r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
}

/* Nothing behind the colon, or one of YAML's words for nothing. */
static bool is_null(const struct reader *r)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (r->event.type != YAML_SCALAR_EVENT || is_quoted(r))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_is(scalar_of(r), words[i]))
            return true;
    return false;
}

/* Values of a wrong type */

struct words {
    char s[128];
};

static struct words expected(const struct conf_key *key)
{
    static const char *const kinds[] = {
        [CONF_BOOL] = "true or false",
        [CONF_INT] = "a whole number",
        [CONF_SIZE] = "a size such as 64KiB",
        [CONF_TIME] = "a time such as 30s",
        [CONF_STR] = "a text",
        [CONF_STRS] = "a list of texts",
        [CONF_WORKERS] = "a whole number or auto",
        [CONF_CONTENT] = "a text",
        [CONF_ENUM] = "one of ",
        [CONF_BLOCK] = "a block of keys",
        [CONF_LIST] = "a list of blocks (each begins with -)",
    };
    struct words w;
    snprintf(w.s, sizeof(w.s), "%s%s", kinds[key->kind],
             key->choices ? key->choices : "");
    return w;
}

static int refuse_type(struct reader *r, const char *wanted)
{
    const char *found = r->event.type == YAML_MAPPING_START_EVENT    ? "a block of keys"
                        : r->event.type == YAML_SEQUENCE_START_EVENT ? "a list"
                        : is_null(r)                                 ? "nothing"
                                                                     : "a single value";
    return fail(r, line_of(r), "%s is expected here, not %s", wanted, found);
}

/* CONTENT from elsewhere */

static struct str without_newline(struct buf *bytes)
{
    struct str s = buf_view(bytes);
    if (str_ends(s, STR("\n")))
        s.n--;
    if (s.n < bytes->n && str_ends(s, STR("\r")))
        s.n--;
    return s;
}

/* Relative paths begin where the configuration file lies. */
static void resolve(const struct reader *r, struct str name, struct buf *out)
{
    const char *slash = strrchr(r->file, '/');
    if (name.p[0] != '/' && slash)
        buf_put(out, r->file, (size_t)(slash + 1 - r->file));
    buf_str(out, name);
}

static bool is_path(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (iscntrl((unsigned char)s.p[i]))
            return false;
    return s.n > 0 && s.n < PATH_MAX;
}

static bool is_variable_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_' && !isalnum((unsigned char)s.p[i]))
            return false;
    return s.n > 0 && !isdigit((unsigned char)s.p[0]);
}

static int read_file(struct reader *r, const struct conf_key *key, int line,
                     struct buf *source, struct buf *bytes)
{
    struct err why;
    if (!is_path(scalar_of(r)))
        return fail(r, line, "is not the path of a file");
    resolve(r, scalar_of(r), source);
    if (fd_read_file(buf_cstr(source), (size_t)key->max + 2, bytes, &why))
        return fail(r, line, "%s", why.text);
    if (without_newline(bytes).n == 0)
        return fail(r, line, "%s is empty", buf_cstr(source));
    return 0;
}

static int read_variable(struct reader *r, int line, struct buf *source,
                         struct buf *bytes)
{
    if (!is_variable_name(scalar_of(r)))
        return fail(r, line, "is not the name of an environment variable");
    buf_str(source, scalar_of(r));
    const char *value = getenv(buf_cstr(source));
    if (!value || !*value)
        return fail(r, line, "the environment variable %s is %s", source->p,
                    value ? "empty" : "not set");
    buf_put(bytes, value, strlen(value));
    return 0;
}

/* Hands the bytes to the key itself, whose path is without the suffix. */
static int set_elsewhere(struct reader *r, enum form form, int line, struct buf *source,
                         struct buf *bytes)
{
    struct buf words = {0}, path = {0};
    buf_put(&path, r->path.p, r->path.n - strlen(suffixes[form]));
    buf_printf(&words, "%s:%s", form == FORM_FILE ? "file" : "env", buf_cstr(source));
    int bad = conf_set_content(r->conf, buf_cstr(&path), without_newline(bytes),
                               buf_cstr(&words), line, r->e);
    buf_free(&path);
    buf_free(&words);
    return bad ? fail_there(r, line) : 0;
}

static int read_elsewhere(struct reader *r, const struct conf_key *key, enum form form)
{
    const char *wanted =
        form == FORM_FILE ? "the path of a file" : "the name of a variable";
    int line = line_of(r);
    if (r->event.type != YAML_SCALAR_EVENT || is_null(r))
        return refuse_type(r, wanted);
    struct buf source = {0}, bytes = {0};
    int bad = form == FORM_FILE ? read_file(r, key, line, &source, &bytes)
                                : read_variable(r, line, &source, &bytes);
    if (!bad)
        bad = set_elsewhere(r, form, line, &source, &bytes);
    buf_free(&source);
    if (bytes.p)
        mem_wipe_free(bytes.p, bytes.cap);
    return bad;
}

/* Values */

static int read_section(struct reader *r, const struct conf_section *s);

static int set(struct reader *r, struct str text)
{
    int line = line_of(r);
    return conf_set(r->conf, buf_cstr(&r->path), text, line, r->e) ? fail_there(r, line)
                                                                   : 0;
}

static int read_scalar(struct reader *r, const struct conf_key *key)
{
    bool is_bare = key->kind == CONF_BOOL || key->kind == CONF_INT;
    if (is_null(r))
        return fail(r, line_of(r), "has no value; %s is expected", expected(key).s);
    if (is_bare && is_quoted(r))
        return fail(r, line_of(r), "%s is expected, without quotes", expected(key).s);
    if (key->kind == CONF_STRS)
        buf_str(&r->path, STR("[0]"));
    return set(r, scalar_of(r));
}

static int read_texts(struct reader *r)
{
    if (set(r, STR(""))) /* an empty list, also in place of a default */
        return -1;
    size_t before = r->path.n;
    for (size_t i = 0;; i++) {
        r->path.n = before;
        if (next(r))
            return -1;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        buf_printf(&r->path, "[%zu]", i);
        if (r->event.type != YAML_SCALAR_EVENT || is_null(r))
            return refuse_type(r, "a text");
        if (set(r, scalar_of(r)))
            return -1;
    }
}

static int read_rows(struct reader *r, const struct conf_key *key)
{
    size_t before = r->path.n;
    for (size_t i = 0;; i++) {
        r->path.n = before;
        if (next(r))
            return -1;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        int line = line_of(r);
        buf_printf(&r->path, "[%zu]", i);
        if (r->event.type != YAML_MAPPING_START_EVENT)
            return refuse_type(r, "a block of keys");
        if (read_section(r, key->sub))
            return -1;
        if (!conf_is_given(r->conf, buf_cstr(&r->path)))
            return fail(r, line, "is empty; it needs at least %s",
                        key->sub->keys[0].name);
    }
}

static int read_value(struct reader *r, const struct conf_key *key)
{
    yaml_event_type_t type = r->event.type;
    if (key->kind == CONF_BLOCK) {
        if (type == YAML_MAPPING_START_EVENT)
            return read_section(r, key->sub);
        return is_null(r) ? 0
                          : refuse_type(r, expected(key).s); /* nothing: all defaults */
    }
    if (type == YAML_SEQUENCE_START_EVENT && key->kind == CONF_LIST)
        return read_rows(r, key);
    if (type == YAML_SEQUENCE_START_EVENT && key->kind == CONF_STRS)
        return read_texts(r);
    if (type == YAML_SCALAR_EVENT && key->kind != CONF_LIST)
        return read_scalar(r, key);
    return refuse_type(r, expected(key).s);
}

/* Keys */

/* NULL: e says why. */
static const struct conf_key *find_key(const struct conf_section *s, struct str name,
                                       enum form *form, struct err *e)
{
    *form = FORM_INLINE;
    for (enum form f = FORM_FILE; f <= FORM_ENV; f++) {
        struct str base = name, suffix = str_of(suffixes[f]);
        base.n -= str_ends(name, suffix) ? suffix.n : 0;
        const struct conf_key *key = base.n < name.n ? conf_find(s, base, NULL) : NULL;
        if (key && key->kind == CONF_CONTENT) {
            *form = f;
            return key;
        }
        if (key) {
            err_set(e, "unknown key; %s can only be given itself", key->name);
            return NULL;
        }
    }
    return conf_find(s, name, e);
}

static int check_twice(struct reader *r, const struct conf_key *key, struct seen *seen,
                       enum form form)
{
    int line = line_of(r);
    if (seen->line && seen->form == form)
        return fail(r, line, "is given twice; first in line %d", seen->line);
    if (seen->line)
        return fail(r, line, "cannot stand beside %s%s, given in line %d", key->name,
                    suffixes[seen->form], seen->line);
    *seen = (struct seen){line, form};
    return 0;
}

static int read_key(struct reader *r, const struct conf_section *s, struct seen *seen)
{
    struct err why;
    enum form form;
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail(r, line_of(r), "a key has to be a single word");
    struct str name = scalar_of(r);
    if (name.n == 0)
        return fail(r, line_of(r), "a key is missing before the colon");
    if (str_is(name, "<<") && !is_quoted(r))
        return fail(r, line_of(r), "merge keys (<<) are not supported");
    if (r->path.n)
        buf_char(&r->path, '.');
    const struct conf_key *key = find_key(s, name, &form, &why);
    buf_escape(&r->path, name, 64);
    if (!key)
        return fail(r, line_of(r), "%s", why.text);
    if (check_twice(r, key, &seen[key - s->keys], form) || next(r))
        return -1;
    return form == FORM_INLINE ? read_value(r, key) : read_elsewhere(r, key, form);
}

/* From behind the start of a mapping to its end. As deep as the table, however deep the
 * document. */
static int read_section(struct reader *r, const struct conf_section *s)
{
    struct seen seen[KEYS_MAX] = {0};
    BUG_ON(s->n > KEYS_MAX);
    size_t before = r->path.n;
    for (;;) {
        r->path.n = before;
        if (next(r))
            return -1;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (read_key(r, s, seen))
            return -1;
    }
}

/* The document */

static int read_document(struct reader *r)
{
    if (next(r) || next(r)) /* the start of the stream, the start of the document */
        return -1;
    if (r->event.type == YAML_STREAM_END_EVENT)
        return fail(r, 1, "nothing but comments or blanks is in it");
    if (next(r))
        return -1;
    if (is_null(r))
        return fail(r, line_of(r), "nothing is in it");
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return refuse_type(r, "a block of keys (key: value)");
    if (read_section(r, &conf_main_section) || next(r) || next(r))
        return -1;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail(r, line_of(r),
                    "a second document begins here; only one is supported");
    return 0;
}

static int read_text(struct reader *r)
{
    if (!yaml_parser_initialize(&r->parser))
        return err_set(r->e, "%s: out of memory", r->file);
    /* said, not guessed: UTF-16 is refused */
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->text.p, r->text.n);
    int bad = read_document(r);
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
    buf_free(&r->path);
    return bad;
}

static int check(struct conf *c, struct err *e)
{
    int line;
    if (conf_check(c, &line, e) == 0)
        return 0;
    return line ? err_add(e, "%s:%d", c->file, line) : err_add(e, "%s", c->file);
}

int conf_yaml_read(struct str text, const char *file, struct conf **out, struct err *e)
{
    if (str_starts(text, STR("\xef\xbb\xbf"))) /* libyaml would count it as a column */
        text = (struct str){text.p + 3, text.n - 3};
    struct reader r = {
        .text = text.p ? text : STR(""), .file = file, .conf = conf_new(), .e = e};
    r.conf->file = mem_strdup(file);
    if (read_text(&r) || check(r.conf, e)) {
        conf_unref(r.conf);
        return -1;
    }
    *out = r.conf;
    return 0;
}

int conf_yaml_load(const char *path, struct conf **out, struct err *e)
{
    struct buf text = {0};
    int bad = fd_read_file(path, CONF_YAML_MAX, &text, e);
    if (!bad)
        bad = conf_yaml_read(buf_view(&text), path, out, e);
    if (text.p)
        mem_wipe_free(text.p, text.cap);
    if (!bad && (bad = system_ca_fill(*out, e))) {
        conf_unref(*out);
        *out = NULL;
    }
    return bad;
}
