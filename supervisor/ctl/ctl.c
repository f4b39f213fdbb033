#include "supervisor/ctl/ctl.h"

#include "common/log.h"
#include "common/scan.h"
#include "supervisor/ctl/command.h"
#include "supervisor/ctl/complete.h"
#include "supervisor/ctl/heliod.h"

#include <locale.h>
#include <stdarg.h>

#define LINE_MAX_BYTES 1024

/* The characters that a terminal does not just show: controls, and what hides or turns
 * text around. */
static bool is_steering(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0xad || cp == 0x61c ||
           (cp >= 0x200b && cp <= 0x200f) || (cp >= 0x2028 && cp <= 0x202e) ||
           (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff;
}

/* One character of valid UTF-8; returns its length. Beyond the BMP nothing steers: 0
 * stands for all of it. */
static size_t decode(const unsigned char *p, uint32_t *cp)
{
    *cp = 'x';
    if (p[0] < 0x80) {
        *cp = p[0];
        return 1;
    }
    if (p[0] < 0xe0) {
        *cp = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
        return 2;
    }
    if (p[0] < 0xf0) {
        *cp = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        return 3;
    }
    return 4;
}

void ctl_put_json(FILE *out, struct str json)
{
    if (scan_text(json, NULL, 0) == SCAN_BAD)
        json = STR("null"); /* never from a broker of ours */
    for (size_t i = 0, n; i < json.n; i += n) {
        uint32_t cp;
        n = decode((const unsigned char *)json.p + i, &cp);
        if (cp < 0x20)
            putc(' ', out); /* white space between tokens: nowhere else is it JSON */
        else if (is_steering(cp))
            fprintf(out, "\\u%04x", cp);
        else
            fwrite(json.p + i, 1, n, out);
    }
    putc('\n', out);
}

/* Line by line, so that a reason of several lines stays readable. */
static void put_clean(struct buf *b, struct str text, const char *prefix)
{
    for (bool more = false; text.n > 0; more = true) {
        buf_printf(b, "%s%s", more ? "\n" : "", prefix);
        buf_escape(b, str_split(text, '\n', &text), LINE_MAX_BYTES);
    }
}

static void fail_json(FILE *out, struct str text)
{
    struct buf b = {0}, clean = {0};

    put_clean(&clean, text, "");
    buf_printf(&b, "{\"ok\":false,\"error\":");
    buf_json(&b, buf_view(&clean));
    buf_char(&b, '}');
    ctl_put_json(out, buf_view(&b));
    buf_free(&b);
    buf_free(&clean);
}

static void fail_text(FILE *out, struct str text)
{
    struct buf b = {0};

    put_clean(&b, text, CTL_PROGRAM ": ");
    fprintf(out, "%s\n", buf_cstr(&b));
    buf_free(&b);
}

int ctl_fail(struct ctl *ctl, enum msg_status status, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES * 2];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    fflush(ctl->out); /* what was found before it failed comes first */
    if (ctl->opt.json)
        fail_json(ctl->out, str_of(line));
    else
        fail_text(ctl->err, str_of(line));
    return (int)status;
}

static enum msg_status open_client(struct ctl *ctl, struct err *e)
{
    struct buf path = {0};
    enum msg_status status = END_FAILED;

    if (ctl->opt.config && heliod_socket_of(ctl->opt.config, &path, e) < 0)
        goto out;
    if (!ctl->opt.config)
        buf_str(&path, str_of(ctl->opt.socket ? ctl->opt.socket : CLIENT_SOCKET));
    status =
        client_open(&ctl->client, buf_cstr(&path), (int64_t)ctl->opt.timeout_s * 1000, e);
out:
    buf_free(&path);
    return status;
}

enum msg_status ctl_ask(struct ctl *ctl, enum msg_type type, void *fixed, struct str tail,
                        client_row_fn row, void *ctx, uint64_t *count, struct err *e)
{
    enum msg_status status = ctl->client.base ? END_OK : open_client(ctl, e);

    if (status != END_OK)
        return status;
    return client_ask(&ctl->client, type, fixed, tail, row, ctx, count, e);
}

static int run_words(struct ctl *ctl, char *const *words, size_t n)
{
    struct err e = {0};
    struct args args;
    const struct command *cmd = command_find(words, n, &args, &e);

    if (!cmd)
        return ctl_fail(ctl, END_USAGE, "%s (see " CTL_PROGRAM " help)", e.text);
    if (ctl->opt.count && !str_is(str_of(cmd->pattern), "top"))
        return ctl_fail(ctl, END_USAGE, "--count goes with top only");
    if ((ctl->opt.origin || ctl->opt.token || ctl->opt.hold_s) &&
        !str_starts(str_of(cmd->pattern), STR("doctor ")))
        return ctl_fail(ctl, END_USAGE,
                        "--origin, --token and --hold go with doctor only");
    return cmd->verb(ctl, cmd, &args);
}

static int run(struct ctl *ctl, int argc, char **argv)
{
    struct err e = {0};

    if (options_parse(&ctl->opt, argc, argv, &e) < 0)
        return ctl_fail(ctl, END_USAGE, "%s", e.text);
    if (ctl->opt.complete)
        return complete_print(ctl->opt.words, ctl->opt.words_n, ctl->out);
    if (ctl->opt.version)
        return run_words(ctl, (char *[]){"version"}, 1);
    if (ctl->opt.help)
        return run_words(ctl, (char *[]){"help"}, 1);
    return run_words(ctl, ctl->opt.words, ctl->opt.words_n);
}

int ctl_run(int argc, char **argv, FILE *out, FILE *err)
{
    struct ctl ctl = {.out = out, .err = err};

    setlocale(LC_CTYPE, "C.UTF-8"); /* for the widths of characters */
    log_init(CTL_PROGRAM, NULL, NULL);
    int status = run(&ctl, argc, argv);
    client_close(&ctl.client);
    options_fini(&ctl.opt);
    if ((fflush(out) != 0 || ferror(out)) && status == END_OK)
        status =
            ctl_fail(&ctl, END_FAILED, "cannot write the output: %s", strerror(errno));
    return status;
}
