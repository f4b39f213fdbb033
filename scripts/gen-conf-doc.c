/* gen-conf-doc: prints the key table as mdoc items (`man`) or as a sample file (`yaml`).
 * Compiled and run by scripts/gen-conf-doc; links the table and its values only. */
#include "common/conf_value.h"

#include <ctype.h>

static struct buf out;

/* What the sample file sets; everything else stands there as a comment with its default.
 */
static const struct {
    const char *path, *text;
} active[] = {
    {"workers", "auto"},
    {"listeners[].address", "127.0.0.1:8000"},
    {"endpoints[].path", "/ws"},
    {"endpoints[].protocol", "events"},
    {"endpoints[].auth.method", "anonymous"},
};
static const char second_endpoint[] = "  - path: /echo\n"
                                      "    protocol: echo\n";

/* Facts in words */

static void put_bound(const struct conf_key *key, int64_t number)
{
    conf_value_format(key, &number, &out);
}

static bool is_bounded(const struct conf_key *key)
{
    return key->kind == CONF_INT || key->kind == CONF_SIZE || key->kind == CONF_TIME ||
           key->kind == CONF_WORKERS;
}

static bool is_required(const struct conf_key *key)
{
    return key->min > 0 && !*key->dflt;
}

static void put_bounds(const struct conf_key *key)
{
    put_bound(key, key->min);
    buf_str(&out, STR(" to "));
    put_bound(key, key->max);
}

/* mdoc */

/* Prose: `x` becomes quoted, what roff would read as its own is guarded. */
static void put_mdoc_word(struct str word)
{
    if (word.n && (word.p[0] == '.' || word.p[0] == '\''))
        buf_str(&out, STR("\\&"));
    for (size_t i = 0; i < word.n; i++) {
        static bool open;
        if (word.p[i] == '`')
            buf_str(&out, (open = !open) ? STR("\\(oq") : STR("\\(cq"));
        else if (word.p[i] == '\\')
            buf_str(&out, STR("\\e"));
        else
            buf_char(&out, word.p[i]);
    }
}

static void put_sentence(const char *text)
{
    size_t column = 0;
    for (struct str word, rest = str_of(text); rest.p; column += word.n) {
        word = str_split(rest, ' ', &rest);
        bool full = column + 1 + word.n > 68;
        if (column > 0)
            buf_char(&out, full ? '\n' : ' ');
        column = full ? 0 : column + 1;
        put_mdoc_word(word);
    }
    buf_char(&out, '\n');
}

static void put_value_words(const struct conf_key *key)
{
    static const char *const words[] = {
        [CONF_BOOL] = "Cm true | false",
        [CONF_INT] = "Ar number",
        [CONF_SIZE] = "Ar size",
        [CONF_TIME] = "Ar time",
        [CONF_STR] = "Ar text",
        [CONF_STRS] = "Ar list",
        [CONF_WORKERS] = "Ar number | Cm auto",
        [CONF_CONTENT] = "Ar text",
    };
    if (key->kind != CONF_ENUM) {
        buf_printf(&out, "%s", words[key->kind]);
        return;
    }
    struct str choice, rest = str_of(key->choices);
    for (buf_str(&out, STR("Cm")); rest.p;) {
        choice = str_split(rest, '|', &rest);
        buf_printf(&out, " " STR_FMT "%s", STR_ARG(choice), rest.p ? " |" : "");
    }
}

static void put_item_heads(const struct conf_key *key)
{
    buf_printf(&out, ".It Ic %s : ", key->name);
    put_value_words(key);
    buf_char(&out, '\n');
    if (key->kind != CONF_CONTENT)
        return;
    buf_printf(&out, ".It Ic %s%s : Ar path\n", key->name, CONF_FILE_SUFFIX);
    buf_printf(&out, ".It Ic %s%s : Ar variable\n", key->name, CONF_ENV_SUFFIX);
}

static void put_default(const struct conf_key *key)
{
    if (is_required(key))
        buf_str(&out, STR("It has to be given.\n"));
    else if (!*key->dflt)
        buf_str(&out, STR("Default: none.\n"));
    else
        buf_printf(&out, "Default:\n.Ql %s .\n", key->dflt);
}

static void put_item(const struct conf_key *key)
{
    put_item_heads(key);
    put_sentence(key->help);
    put_default(key);
    if (is_bounded(key)) {
        buf_str(&out, STR("Bounds: "));
        put_bounds(key);
        buf_str(&out, STR(".\n"));
    } else if (key->kind == CONF_STRS) {
        buf_printf(&out, "At most %" PRId64 ".\n", key->max);
    }
    if (key->flags & CONF_BOOT)
        buf_str(&out, STR("Takes effect with a restart.\n"));
}

static void put_mdoc_section(const struct conf_section *s, const char *path)
{
    if (*path)
        buf_printf(&out, ".Ss Block %s\n", path);
    else
        buf_str(&out, STR(".Ss Top level\n"));
    put_sentence(s->help);
    buf_str(&out, STR(".Bl -tag -width Ds\n"));
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        if (!key->sub) {
            put_item(key);
            continue;
        }
        bool is_list = key->kind == CONF_LIST;
        buf_printf(&out, ".It Ic %s : %s\n", key->name,
                   is_list ? "Ar list of blocks" : "Ar block");
        put_sentence(key->help);
        if (is_list)
            buf_printf(&out, "At most %" PRId64 ".\n", key->max);
        buf_printf(&out, "See\n.Sx Block %s%s%s .\n", path, *path ? "." : "", key->name);
    }
    buf_str(&out, STR(".El\n"));
    for (size_t i = 0; i < s->n; i++) {
        char below[256];
        snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", s->keys[i].name);
        if (s->keys[i].sub)
            put_mdoc_section(s->keys[i].sub, below);
    }
}

/* YAML. `lead` is what stands before each line: blanks, and "#" where a whole block is a
 * comment. */

static void put_comment(const char *lead, const char *text)
{
    size_t column = 0, most = 88 - strlen(lead);
    for (struct str word, rest = str_of(text); rest.p;) {
        word = str_split(rest, ' ', &rest);
        if (column == 0 || column + 1 + word.n > most) {
            buf_printf(&out, "%s%s#", column ? "\n" : "", lead);
            column = 1;
        }
        buf_printf(&out, " " STR_FMT, STR_ARG(word));
        column += 1 + word.n;
    }
    buf_char(&out, '\n');
}

/* Plain where YAML reads it as it stands. */
static void put_yaml_text(struct str s)
{
    bool plain = s.n > 0 && (isalpha((unsigned char)s.p[0]) || s.p[0] == '/');
    for (size_t i = 0; i < s.n; i++)
        plain &= isalnum((unsigned char)s.p[i]) || strchr("/._-", s.p[i]) != NULL;
    buf_printf(&out, plain ? STR_FMT : "\"" STR_FMT "\"", STR_ARG(s));
}

static void put_yaml_value(const struct conf_key *key, const char *text)
{
    if (key->kind == CONF_STRS) {
        buf_char(&out, '[');
        for (struct str one, rest = *text ? str_of(text) : STR_NONE; rest.p;) {
            one = str_split(rest, ',', &rest);
            put_yaml_text(str_trim(one));
            buf_str(&out, rest.p ? STR(", ") : STR(""));
        }
        buf_char(&out, ']');
    } else if (key->kind == CONF_STR || key->kind == CONF_CONTENT) {
        put_yaml_text(str_of(text));
    } else {
        buf_printf(&out, "%s", text);
    }
}

static const char *active_text(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(active); i++)
        if (strcmp(active[i].path, path) == 0)
            return active[i].text;
    return NULL;
}

/* The facts behind the help, as one more comment. */
static void put_facts(const char *lead, const struct conf_key *key)
{
    struct buf before = out;
    out = (struct buf){0};
    if (is_bounded(key)) {
        put_bounds(key);
        buf_str(&out, key->kind == CONF_WORKERS ? STR(", or auto. ") : STR(". "));
    }
    if (key->kind == CONF_ENUM)
        buf_printf(&out, "%s. ", key->choices);
    if (key->kind == CONF_CONTENT)
        buf_printf(&out, "Or %s_file: PATH, or %s_env: VARIABLE. ", key->name, key->name);
    if (is_required(key))
        buf_str(&out, STR("Has to be given. "));
    if (key->flags & CONF_BOOT)
        buf_str(&out, STR("Needs a restart. "));
    struct buf facts = out;
    out = before;
    if (facts.n) {
        facts.n--;
        put_comment(lead, buf_cstr(&facts));
    }
    buf_free(&facts);
}

static void put_leaf(const char *lead, const char *first, const char *path,
                     const struct conf_key *key)
{
    const char *text = active_text(path);
    bool inside_comment = strchr(lead, '#') != NULL;
    if (!*lead)
        buf_char(&out, '\n');
    put_comment(lead, key->help);
    put_facts(lead, key);
    buf_printf(&out, "%s%s%s: ", first, text || inside_comment ? "" : "#", key->name);
    put_yaml_value(key, text ? text : key->dflt);
    buf_char(&out, '\n');
}

static bool is_shown_active(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(active); i++)
        if (strncmp(active[i].path, path, strlen(path)) == 0)
            return true;
    return false;
}

static void put_yaml_section(const struct conf_section *s, const char *lead,
                             const char *first, const char *path);

static void put_nested(const char *lead, const struct conf_key *key, const char *path)
{
    bool is_list = key->kind == CONF_LIST, is_top = !strchr(path, '.');
    bool as_comment = is_list && !strchr(lead, '#') && !is_shown_active(path);
    char below[64], head[64];
    snprintf(below, sizeof(below), "%s%s%s", lead, as_comment ? "#" : "",
             is_list ? "    " : "  ");
    snprintf(head, sizeof(head), "%s%s  - ", lead, as_comment ? "#" : "");
    if (is_top)
        buf_char(&out, '\n');
    put_comment(lead, key->help);
    buf_printf(&out, "%s%s%s:\n", lead, as_comment ? "#" : "", key->name);
    put_yaml_section(key->sub, below, is_list ? head : below, path);
}

/* first: what stands before the first key, when that begins a row. */
static void put_yaml_section(const struct conf_section *s, const char *lead,
                             const char *first, const char *path)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct conf_key *key = &s->keys[i];
        char below[256];
        snprintf(below, sizeof(below), "%s%s%s%s", path, *path ? "." : "", key->name,
                 key->kind == CONF_LIST ? "[]" : "");
        if (key->sub)
            put_nested(lead, key, below);
        else
            put_leaf(lead, i ? lead : first, below, key);
    }
}

int main(int argc, char **argv)
{
    bool is_man = argc == 2 && strcmp(argv[1], "man") == 0;
    if (!is_man && (argc != 2 || strcmp(argv[1], "yaml") != 0))
        return 2;
    if (is_man) {
        put_mdoc_section(&conf_main_section, "");
    } else {
        put_yaml_section(&conf_main_section, "", "", "");
        buf_str(&out, STR(second_endpoint));
    }
    fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
    return 0;
}
