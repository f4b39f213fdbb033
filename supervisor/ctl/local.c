#include "common/digest.h"
#include "common/log.h"
#include "common/scan.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/heliod.h"
#include "supervisor/ctl/help.h"
#include "supervisor/ctl/verbs.h"

#include <sys/random.h>

#define TOKEN_BYTES 32
#define USER_MAX 256 /* as the static method takes them */

static void put_check_json(FILE *out, const char *file)
{
    struct buf b = {0};

    buf_printf(&b, "{\"ok\":true,\"file\":");
    buf_json(&b, str_of(file));
    buf_char(&b, '}');
    ctl_put_json(out, buf_view(&b));
    buf_free(&b);
}

static void tell_check(struct ctl *ctl, const char *file, int status, struct buf *out,
                       struct buf *err)
{
    if (!ctl->opt.json) {
        fwrite(out->p, 1, out->n, ctl->out);
        fwrite(err->p, 1, err->n, ctl->err);
    } else if (status == 0) {
        put_check_json(ctl->out, file);
    } else {
        ctl_fail(ctl, status, "%s", buf_cstr(err->n ? err : out));
    }
}

VERB(check)
{
    const char *file = args_get(args, "FILE");
    struct buf out = {0}, err = {0};
    struct err e = {0};
    int status = END_FAILED;

    (void)cmd;
    if (heliod_check(file, &out, &err, &status, &e) < 0)
        ctl_fail(ctl, END_FAILED, "%s", e.text);
    else
        tell_check(ctl, file, status, &out, &err);
    buf_free(&out);
    buf_free(&err);
    return status;
}

static bool is_utf8(struct str s)
{
    struct buf json = {0};

    buf_json(&json, s);
    bool good = scan_text(buf_view(&json), NULL, 0) == SCAN_STRING;
    buf_free(&json);
    return good;
}

/* A user that can stand in a line of the tokens file. */
static bool is_user(struct str user)
{
    for (size_t i = 0; i < user.n; i++) {
        unsigned char c = (unsigned char)user.p[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return user.n > 0 && is_utf8(user) && user.n <= USER_MAX && user.p[0] != '#' &&
           str_eq(user, str_trim(user));
}

static void put_token(struct ctl *ctl, struct str user, struct str token)
{
    uint8_t digest[DIGEST_SHA256];
    struct buf line = {0};

    digest_sha256(token, digest);
    buf_printf(&line, STR_FMT ":sha256:", STR_ARG(user));
    buf_hex(&line, digest, sizeof(digest));
    if (ctl->opt.json) {
        struct buf json = {0};
        buf_printf(&json,
                   "{\"ok\":true,\"token\":\"" STR_FMT "\",\"line\":", STR_ARG(token));
        buf_json(&json, buf_view(&line));
        buf_char(&json, '}');
        ctl_put_json(ctl->out, buf_view(&json));
        buf_free(&json);
    } else {
        fprintf(ctl->out, "token  " STR_FMT "\nline   %s\n", STR_ARG(token),
                buf_cstr(&line));
    }
    buf_free(&line);
}

VERB(token)
{
    struct str user = str_of(args_get(args, "USER"));
    unsigned char secret[TOKEN_BYTES];
    struct buf token = {0};

    (void)cmd;
    if (!is_user(user))
        return ctl_fail(
            ctl, END_USAGE,
            "%s cannot stand in a tokens file: UTF-8 of at most %d bytes, no control "
            "characters, no blanks around it, no # in front",
            log_esc(user), USER_MAX);
    if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
        return ctl_fail(ctl, END_FAILED, "no random bytes: %s", strerror(errno));
    buf_hex(&token, secret, sizeof(secret));
    put_token(ctl, user, buf_view(&token));
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(token.p, token.n);
    buf_free(&token);
    return END_OK;
}

VERB(version)
{
    (void)cmd, (void)args;
    fprintf(ctl->out,
            ctl->opt.json ? "{\"ok\":true,\"version\":\"%s\"}\n" : CTL_PROGRAM " %s\n",
            HELIOD_VERSION);
    return END_OK;
}

VERB(help)
{
    char *words[PATTERN_ARGS];
    size_t n = 0;

    (void)cmd;
    for (size_t i = 0; i < args->n; i++) {
        if (str_is(args->v[i].key, "COMMAND"))
            words[n++] = (char *)args->v[i].value;
    }
    if (ctl->opt.json)
        return help_print_json(words, n, ctl->out);
    if (n == 0)
        return help_print_all(ctl->out);
    if (help_print(words, n, ctl->out) == 0)
        return ctl_fail(ctl, END_USAGE, "no command begins with %s",
                        log_esc(str_of(words[0])));
    return END_OK;
}
