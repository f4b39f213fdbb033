#include "supervisor/ctl/help.h"

#include "supervisor/ctl/command.h"
#include "supervisor/ctl/doctor.h"

#define INDENT 6
#define WIDTH 78

static const struct {
    int status; /* enum msg_status, or of `doctor` */
    const char *help;
} exits[] = {
    {END_OK, "Done."},
    {END_FAILED, "The broker refused or failed: the reason is printed."},
    {END_USAGE, "The command line is wrong."},
    {END_UNAVAILABLE, "No broker answers: not running, connection lost, or time-out."},
    {END_DENIED, "Permission denied."},
    {END_PARTIAL, "Done in part: not every worker answered."},
    {DOCTOR_EXIT + DOCTOR_UNDECIDED,
     "doctor: not healthy for another reason, or not all could be examined."},
    {DOCTOR_EXIT + DOCTOR_NOT_RUNNING, "doctor: the server is not running."},
    {DOCTOR_EXIT + DOCTOR_URL, "doctor: the URL is wrong."},
    {DOCTOR_EXIT + DOCTOR_ORIGIN, "doctor: the origin is refused."},
    {DOCTOR_EXIT + DOCTOR_PATH,
     "doctor: the path or the form of the handshake is refused."},
    {DOCTOR_EXIT + DOCTOR_PORT, "doctor: the port is in use by something else."},
    {DOCTOR_EXIT + DOCTOR_REACH,
     "doctor: a name that does not resolve, a firewall, or a loopback address."},
    {DOCTOR_EXIT + DOCTOR_TLS,
     "doctor: ws and wss are mixed up, or the certificate is not good."},
    {DOCTOR_EXIT + DOCTOR_AUTH, "doctor: the token is refused."},
    {DOCTOR_EXIT + DOCTOR_LIVENESS, "doctor: the connection did not live on."},
    {DOCTOR_EXIT + DOCTOR_BUS, "doctor: the bus is down."},
};

/* One paragraph, indented, broken at blanks. */
static void put_paragraph(FILE *out, const char *text)
{
    struct str rest = str_of(text);
    size_t column = WIDTH;

    while (rest.n > 0) {
        struct str word = str_split(rest, ' ', &rest);
        if (column + 1 + word.n > WIDTH) {
            fprintf(out, "%s%*s", column == WIDTH && word.p == text ? "" : "\n", INDENT,
                    "");
            column = INDENT;
        } else {
            putc(' ', out);
            column++;
        }
        fwrite(word.p, 1, word.n, out);
        column += word.n;
    }
    putc('\n', out);
}

static void option_name(const struct option_row *row, struct buf *b)
{
    if (row->letter)
        buf_printf(b, "-%c, ", row->letter);
    buf_printf(b, "--%s%s%s", row->name, row->value ? " " : "",
               row->value ? row->value : "");
}

int help_print_all(FILE *out)
{
    fprintf(out, "usage: " CTL_PROGRAM " [options] command\n\nCommands:\n");
    for (size_t i = 0; i < commands_n; i++) {
        fprintf(out, "  %s\n", commands[i].pattern);
        put_paragraph(out, commands[i].help);
    }
    fprintf(out, "\nOptions:\n");
    for (size_t i = 0; i < option_rows_n; i++) {
        struct buf name = {0};
        option_name(&option_rows[i], &name);
        if (option_rows[i].help) {
            fprintf(out, "  %s\n", buf_cstr(&name));
            put_paragraph(out, option_rows[i].help);
        }
        buf_free(&name);
    }
    fprintf(out, "\nExit status:\n");
    for (size_t i = 0; i < ARRAY_LEN(exits); i++)
        fprintf(out, "  %-3d %s\n", exits[i].status, exits[i].help);
    return END_OK;
}

size_t help_print(char *const *words, size_t n, FILE *out)
{
    size_t found = 0;

    for (size_t i = 0; i < commands_n; i++) {
        if (!command_begins_with(&commands[i], words, n))
            continue;
        fprintf(out, "%susage: " CTL_PROGRAM " %s\n", found++ ? "\n" : "",
                commands[i].pattern);
        put_paragraph(out, commands[i].help);
        fprintf(out, "      Example: " CTL_PROGRAM " %s\n", commands[i].example);
    }
    return found;
}

/* {"<what>":"<name>","help":"…"} with one member more if there is one. */
static void put_object(FILE *out, const char *what, const char *name, const char *help,
                       const char *example)
{
    struct buf b = {0};

    buf_printf(&b, "{\"%s\":", what);
    buf_json(&b, str_of(name));
    buf_printf(&b, ",\"help\":");
    buf_json(&b, str_of(help));
    if (example) {
        buf_printf(&b, ",\"example\":");
        buf_json(&b, str_of(example));
    }
    buf_char(&b, '}');
    ctl_put_json(out, buf_view(&b));
    buf_free(&b);
}

int help_print_json(char *const *words, size_t n, FILE *out)
{
    for (size_t i = 0; i < commands_n; i++) {
        const struct command *cmd = &commands[i];
        if (command_begins_with(cmd, words, n))
            put_object(out, "command", cmd->pattern, cmd->help, cmd->example);
    }
    for (size_t i = 0; n == 0 && i < option_rows_n; i++) {
        struct buf name = {0};
        option_name(&option_rows[i], &name);
        if (option_rows[i].help)
            put_object(out, "option", buf_cstr(&name), option_rows[i].help, NULL);
        buf_free(&name);
    }
    for (size_t i = 0; n == 0 && i < ARRAY_LEN(exits); i++) {
        char status[12];
        snprintf(status, sizeof(status), "%d", exits[i].status);
        put_object(out, "exit", status, exits[i].help, NULL);
    }
    return END_OK;
}
