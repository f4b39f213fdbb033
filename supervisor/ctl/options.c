#include "supervisor/ctl/options.h"

#include "common/log.h"
#include "common/mem.h"

#define TIMEOUT_MAX_S 86400
#define COUNT_MAX 1000000000
#define HOLD_MAX_S 86400

enum {
    CONFIG,
    SOCKET,
    JSON,
    TIMEOUT,
    COUNT,
    ORIGIN,
    TOKEN,
    HOLD,
    CA,
    HELP,
    VERSION,
    COMPLETE
};

const struct option_row option_rows[] = {
    [CONFIG] = {'c', "config", "FILE",
                "Talk to the broker that was started with this configuration file."},
    [SOCKET] =
        {'s', "socket", "SOCKET",
         "Talk to the broker at this control socket; default /run/heliod/heliod.sock."},
    [JSON] = {'j', "json", NULL,
              "Print JSON: one object per row, or one with the member ok."},
    [TIMEOUT] =
        {0, "timeout", "SECONDS",
         "How long the broker may keep silent before it is given up; default 30."},
    [COUNT] = {0, "count", "N", "top: leave after N samples."},
    [ORIGIN] = {0, "origin", "ORIGIN", "doctor: the origin of the page that connects."},
    [TOKEN] = {0, "token", "TOKEN",
               "doctor: authenticate with this token; - reads it from standard input."},
    [HOLD] = {0, "hold", "SECONDS",
              "doctor: keep the connection open and idle for so long."},
    [CA] = {0, "ca", "FILE",
            "doctor: trust the certificates of this PEM file as well as the machine's."},
    [HELP] = {'h', "help", NULL, "The same as the command help."},
    [VERSION] = {'V', "version", NULL, "The same as the command version."},
    [COMPLETE] = {0, "complete", NULL, NULL},
};
const size_t option_rows_n = ARRAY_LEN(option_rows);

const struct option_row *option_find(struct str word)
{
    for (size_t i = 0; i < option_rows_n; i++) {
        const struct option_row *row = &option_rows[i];
        if (word.n == 2 && word.p[0] == '-' && row->letter && word.p[1] == row->letter)
            return row;
        if (word.n > 2 && word.p[0] == '-' && word.p[1] == '-' &&
            str_is((struct str){word.p + 2, word.n - 2}, row->name))
            return row;
    }
    return NULL;
}

static int set_number(const struct option_row *row, const char *text, uint64_t max,
                      uint64_t *out, struct err *e)
{
    if (!str_to_u64(str_of(text), max, out) || *out == 0)
        return err_set(e, "--%s wants a whole number from 1 to %" PRIu64 ", not %s",
                       row->name, max, log_esc(str_of(text)));
    return 0;
}

static int set_option(struct options *o, const struct option_row *row, const char *value,
                      struct err *e)
{
    switch (row - option_rows) {
    case CONFIG:
        o->config = value;
        return 0;
    case SOCKET:
        o->socket = value;
        return 0;
    case JSON:
        o->json = true;
        return 0;
    case TIMEOUT:
        return set_number(row, value, TIMEOUT_MAX_S, &o->timeout_s, e);
    case COUNT:
        return set_number(row, value, COUNT_MAX, &o->count, e);
    case ORIGIN:
        o->origin = value;
        return 0;
    case TOKEN:
        o->token = value;
        return 0;
    case HOLD:
        return set_number(row, value, HOLD_MAX_S, &o->hold_s, e);
    case CA:
        o->ca = value;
        return 0;
    case HELP:
        o->help = true;
        return 0;
    case VERSION:
        o->version = true;
        return 0;
    default:
        o->complete = true;
        return 0;
    }
}

/* Takes argv[*i], and its value behind '=' or in argv[*i + 1]. 1: it is a word, not an
 * option. */
static int take_option(struct options *o, int argc, char **argv, int *i, struct err *e)
{
    struct str value, word = str_split(str_of(argv[*i]), '=', &value);
    const struct option_row *row = option_find(word);

    if (!row && o->words_n == 0 && word.n > 1 && word.p[0] == '-')
        return err_set(e, "unknown option %s", log_esc(word));
    if (!row)
        return 1;
    if (!row->value && value.p)
        return err_set(e, "--%s takes no value", row->name);
    if (!row->value || value.p)
        return set_option(o, row, value.p, e);
    if (*i + 1 == argc)
        return err_set(e, "--%s wants a value: %s", row->name, row->value);
    return set_option(o, row, argv[++*i], e);
}

int options_parse(struct options *o, int argc, char **argv, struct err *e)
{
    bool over = false;

    *o = (struct options){.timeout_s = OPTIONS_TIMEOUT_S};
    o->words = mem_new(sizeof(char *) * ((size_t)argc + 1));
    for (int i = 1; i < argc; i++) {
        int taken = over || o->complete ? 1 : 0;
        if (!taken && str_is(str_of(argv[i]), "--")) {
            over = true;
            continue;
        }
        if (!taken)
            taken = take_option(o, argc, argv, &i, e);
        if (taken < 0)
            return -1;
        if (taken == 1)
            o->words[o->words_n++] = argv[i];
    }
    if (o->config && o->socket)
        return err_set(e, "-c and -s exclude one another");
    return 0;
}

void options_fini(struct options *o)
{
    free(o->words);
    o->words = NULL;
}
