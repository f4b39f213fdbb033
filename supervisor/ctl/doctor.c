#include "supervisor/ctl/doctor.h"

#include "common/fd.h"
#include "supervisor/ctl/verbs.h"

#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#define STEP_MS 5000
#define LINE_MAX_BYTES 1024
#define NAME_COLUMNS 10
#define TOKEN_MAX 8192

const struct check doctor_checks[] = {
    {"url", doctor_prove_url},
    {"running", doctor_prove_running},
    {"reach", doctor_prove_reach},
    {"tls", doctor_prove_tls},
    {"server", doctor_prove_server},
    {"bus", doctor_prove_bus},
    {"handshake", doctor_prove_handshake},
    {"token", doctor_prove_token},
    {"hold", doctor_prove_hold},
};
const size_t doctor_checks_n = ARRAY_LEN(doctor_checks);

static const struct {
    const char *mark, *json;
} proofs[] = {
    [PROOF_NONE] = {"–", "unknown"},
    [PROOF_GOOD] = {"✓", "good"},
    [PROOF_BAD] = {"✗", "bad"},
};

static void say(struct buf *b, const char *fmt, va_list ap)
{
    char text[LINE_MAX_BYTES];

    vsnprintf(text, sizeof(text), fmt, ap);
    buf_clear(b);
    buf_str(b, str_of(text));
}

#define SAY(b)                                                                           \
    do {                                                                                 \
        va_list ap;                                                                      \
        va_start(ap, fmt);                                                               \
        say(b, fmt, ap);                                                                 \
        va_end(ap);                                                                      \
    } while (0)

void finding_good(struct finding *f, const char *fmt, ...)
{
    f->proof = PROOF_GOOD;
    SAY(&f->said);
}

void finding_none(struct finding *f, const char *fmt, ...)
{
    f->proof = PROOF_NONE;
    SAY(&f->said);
}

void finding_bad(struct finding *f, enum doctor_cause cause, const char *fmt, ...)
{
    f->proof = PROOF_BAD;
    f->cause = cause;
    SAY(&f->said);
}

void finding_fix(struct finding *f, const char *fmt, ...)
{
    SAY(&f->fix);
}

void finding_fini(struct finding *f)
{
    buf_free(&f->said);
    buf_free(&f->fix);
}

/* ---- telling ---- */

static void put_check(struct doctor *d, const char *mark, const char *name,
                      const struct buf *said)
{
    struct buf line = {0};

    buf_escape(&line, buf_view(said), LINE_MAX_BYTES);
    fprintf(d->ctl->out, "%s %-*s %s\n", mark, NAME_COLUMNS, name, buf_cstr(&line));
    fflush(d->ctl->out); /* the next one may take its time */
    buf_free(&line);
}

static void put_end(struct doctor *d, const char *head, const struct buf *text)
{
    struct buf line = {0};

    buf_escape(&line, buf_view(text), LINE_MAX_BYTES);
    fprintf(d->ctl->out, "%s %s\n", head, buf_cstr(&line));
    buf_free(&line);
}

static void put_member(struct buf *out, const char *name, const struct buf *text)
{
    struct buf clean = {0};

    buf_escape(&clean, buf_view(text), LINE_MAX_BYTES);
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, buf_view(&clean));
    buf_free(&clean);
}

static void put_json(struct doctor *d, const struct finding *f,
                     const struct finding *verdict, bool healthy)
{
    struct buf out = {0};

    buf_printf(&out, "{\"ok\":%s,\"cause\":%d", healthy ? "true" : "false",
               (int)verdict->cause);
    put_member(&out, "verdict", &verdict->said);
    put_member(&out, "fix", &verdict->fix);
    buf_printf(&out, ",\"checks\":[");
    for (size_t i = 0; i < doctor_checks_n; i++) {
        buf_printf(&out, "%s{\"check\":\"%s\",\"result\":\"%s\"", i ? "," : "",
                   doctor_checks[i].name, proofs[f[i].proof].json);
        put_member(&out, "said", &f[i].said);
        buf_char(&out, '}');
    }
    buf_printf(&out, "]}");
    ctl_put_json(d->ctl->out, buf_view(&out));
    buf_free(&out);
}

static int tell(struct doctor *d, const struct finding *f, const struct finding *bad)
{
    struct finding verdict = {0};
    bool healthy = !bad && d->is_open;

    if (healthy)
        finding_good(&verdict, "healthy: a WebSocket opens there and answers");
    else if (!bad)
        finding_none(&verdict, "undecided: nothing wrong was found, but not everything "
                               "could be examined");
    const struct finding *told = bad ? bad : &verdict;
    if (d->ctl->opt.json)
        put_json(d, f, told, healthy);
    else
        put_end(d, "\nverdict:", &told->said);
    if (!d->ctl->opt.json && told->fix.n)
        put_end(d, "fix:    ", &told->fix);
    buf_free(&verdict.said);
    return healthy ? END_OK : DOCTOR_EXIT + (bad ? (int)bad->cause : DOCTOR_UNDECIDED);
}

/* ---- examining ---- */

/* One cause, one fix: what lies behind the first bad finding is not examined, unless it
 * goes on. The verdict is the first. */
static const struct finding *examine(struct doctor *d, struct finding *f)
{
    const struct finding *bad = NULL;
    bool is_over = false;

    for (size_t i = 0; i < doctor_checks_n; i++) {
        if (is_over)
            finding_none(&f[i], "not examined");
        else
            doctor_checks[i].prove(d, &f[i]);
        if (f[i].proof == PROOF_BAD) {
            is_over = !f[i].goes_on;
            bad = bad ? bad : &f[i];
        }
        if (!d->ctl->opt.json)
            put_check(d, proofs[f[i].proof].mark, doctor_checks[i].name, &f[i].said);
    }
    return bad;
}

/* "-": from standard input, where no list of processes shows it. */
static int take_token(struct ctl *ctl, struct buf *token, struct err *e)
{
    const char *given = ctl->opt.token;

    if (given && str_is(str_of(given), "-")) {
        ssize_t n;
        do {
            n = read(STDIN_FILENO, buf_reserve(token, TOKEN_MAX), TOKEN_MAX);
            token->n += (size_t)MAX(n, 0);
        } while (n > 0 && token->n <= TOKEN_MAX);
        while (token->n > 0 && strchr(" \t\r\n", token->p[token->n - 1]))
            token->n--;
        ctl->opt.token = buf_cstr(token);
    }
    struct str text = str_of(ctl->opt.token);
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7f)
            return err_set(e, "the token holds a blank or a character outside ASCII");
    }
    if (given && (text.n == 0 || text.n > TOKEN_MAX))
        return err_set(e, "the token is empty or longer than %d bytes", TOKEN_MAX);
    return 0;
}

static int check_origin(const char *origin, struct err *e)
{
    struct str text = str_of(origin);

    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7f)
            return err_set(e, "--origin wants an origin such as https://example.com");
    }
    return 0;
}

VERB(doctor)
{
    struct doctor d = {.ctl = ctl, .text = args_get(args, "URL"), .wire.fd = -1};
    struct finding f[ARRAY_LEN(doctor_checks)] = {0};
    struct buf token = {0};
    struct err e = {0};
    int status;

    (void)cmd;
    d.step_ms = MIN((int64_t)ctl->opt.timeout_s * 1000, STEP_MS);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL's writes know no MSG_NOSIGNAL */
    d.trust = doctor_trust_new(ctl->opt.ca, &e);
    if (!d.trust || check_origin(ctl->opt.origin, &e) < 0 ||
        take_token(ctl, &token, &e) < 0)
        status = ctl_fail(ctl, END_USAGE, "%s", e.text);
    else
        status = tell(&d, f, examine(&d, f));
    for (size_t i = 0; i < ARRAY_LEN(f); i++)
        finding_fini(&f[i]);
    if (d.is_open)
        doctor_frame_bye(&d.wire);
    doctor_wire_close(&d.wire);
    doctor_trust_free(d.trust);
    doctor_url_fini(&d.url);
    if (token.p)
        explicit_bzero(token.p, token.cap);
    buf_free(&token);
    return status;
}
