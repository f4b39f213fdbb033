/* heliod: the command line, and the way into the background. */
#include "common/fd.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/conf_yaml.h"
#include "supervisor/spawn.h"
#include "supervisor/supervisor.h"
#include "supervisor/trial.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum deed { DEED_RUN, DEED_CHECK, DEED_PRINT_SOCKET, DEED_VERSION, DEED_HELP };
enum exit_status { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command_line {
    enum deed deed;
    bool is_foreground;
    const char *conf_file, *worker;
};

static const char usage[] =
    "usage: heliod [-n] [-c FILE] [--worker PATH]\n"
    "       heliod -t [-c FILE]\n"
    "       heliod --print-socket [-c FILE]\n"
    "  -n, --foreground   stay in the foreground\n"
    "  -c, --config FILE  configuration (default " HELIOD_CONF_FILE ")\n"
    "  -t, --test         check the configuration and exit\n"
    "      --print-socket print the path of the control socket and exit\n"
    "      --worker PATH  the heliod-worker program\n"
    "  -V, --version      print the version and exit\n"
    "  -h, --help         print this and exit\n";

static int parse(int argc, char **argv, struct command_line *out)
{
    enum { OPT_PRINT_SOCKET = 256, OPT_WORKER };
    static const struct option options[] = {
        {"foreground", no_argument, NULL, 'n'},
        {"config", required_argument, NULL, 'c'},
        {"test", no_argument, NULL, 't'},
        {"print-socket", no_argument, NULL, OPT_PRINT_SOCKET},
        {"worker", required_argument, NULL, OPT_WORKER},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *out = (struct command_line){.conf_file = HELIOD_CONF_FILE};
    for (int c; (c = getopt_long(argc, argv, "nc:tVh", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            out->is_foreground = true;
            break;
        case 'c':
            out->conf_file = optarg;
            break;
        case OPT_WORKER:
            out->worker = optarg;
            break;
        case 't':
            out->deed = DEED_CHECK;
            break;
        case OPT_PRINT_SOCKET:
            out->deed = DEED_PRINT_SOCKET;
            break;
        case 'V':
            out->deed = DEED_VERSION;
            break;
        case 'h':
            out->deed = DEED_HELP;
            break;
        default:
            return -1; /* getopt has said why */
        }
    }
    if (optind == argc)
        return 0;
    fprintf(stderr, "heliod: unexpected argument `%s`\n", argv[optind]);
    return -1;
}

/* A daemon changes its directory. Not realpath: a reload follows a symbolic link to where
 * it points by then. */
static char *absolute(const char *path)
{
    char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
    struct buf full = {0};
    if (cwd)
        buf_printf(&full, "%s/%s", cwd, path);
    else
        buf_str(&full, str_of(path));
    char *copy = mem_strdup(buf_cstr(&full));
    buf_free(&full);
    free(cwd);
    return copy;
}

static int complain(const char *why)
{
    fprintf(stderr, "heliod: %s\n", why);
    return EXIT_FAILED;
}

/* Without "heliod:" in front: editors find file:line at the beginning of a line. */
static int complain_of_file(const char *why)
{
    fprintf(stderr, "%s\n", why);
    return EXIT_FAILED;
}

/* ── the background: the starter waits until the daemon is ready or says why not ── */

static int await_report(int fd, pid_t daemon)
{
    char text[1100];
    size_t n = 0;
    ssize_t got;
    int status = 0;
    while (n < sizeof text - 1 && (got = read(fd, text + n, sizeof text - 1 - n)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        n += got > 0 ? (size_t)got : 0;
        if (n && text[0] == '\006')
            return EXIT_OK;
    }
    text[n] = '\0';
    waitpid(daemon, &status, 0);
    if (n)
        return complain(text);
    return complain(WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
                                        : "it ended while starting");
}

static int leave_terminal(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (setsid() < 0 || null < 0 || chdir("/") < 0)
        return -1;
    if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return -1;
    if (null > STDERR_FILENO)
        fd_close(&null);
    return 0;
}

static int run_daemon(struct supervisor_options *options, struct conf *conf, int report)
{
    struct err e = {0};
    options->is_daemon = true;
    options->report_fd = report;
    int rc = leave_terminal() < 0 ? err_errno(&e, "going into the background") : 0;
    if (rc == 0)
        rc = supervisor_run(options, conf, &e);
    if (rc != 0 && e.text[0])
        (void)!write(report, e.text, strlen(e.text));
    return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

static int start_daemon(struct supervisor_options *options, struct conf *conf)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return complain("pipe failed");
    pid_t pid = fork();
    if (pid < 0)
        return complain("fork failed");
    if (pid == 0) {
        close(report[0]);
        return run_daemon(options, conf, report[1]);
    }
    close(report[1]);
    conf_unref(conf);
    int rc = await_report(report[0], pid);
    close(report[0]);
    return rc;
}

static int run_here(struct supervisor_options *options, struct conf *conf)
{
    struct err e = {0};
    int rc = supervisor_run(options, conf, &e);
    return rc != 0 && e.text[0] ? complain(e.text) : rc;
}

static char *worker_of(const struct command_line *line)
{
    return line->worker ? absolute(line->worker) : spawn_find_worker();
}

static int check(const struct command_line *line, const struct conf *conf)
{
    struct err e = {0};
    char *worker = worker_of(line);
    int rc = trial_run(conf, worker, &e);
    free(worker);
    if (rc < 0)
        return complain_of_file(e.text);
    printf("%s: configuration ok\n", line->conf_file);
    return EXIT_OK;
}

static int run(const struct command_line *line, const char *conf_file, struct conf *conf)
{
    char *worker = worker_of(line);
    struct supervisor_options options = {
        .conf_file = conf_file, .worker = worker, .report_fd = -1};
    signal(SIGPIPE, SIG_IGN); /* the starter may be gone, a log pipe too */
    umask(022);
    int rc =
        line->is_foreground ? run_here(&options, conf) : start_daemon(&options, conf);
    free(worker);
    return rc;
}

static int do_with_conf(const struct command_line *line)
{
    struct conf *conf = NULL;
    struct err e = {0};
    char *file =
        line->deed == DEED_RUN ? absolute(line->conf_file) : mem_strdup(line->conf_file);
    int rc = EXIT_OK;
    if (conf_yaml_load(file, &conf, &e) < 0)
        rc = complain_of_file(e.text);
    else if (line->deed == DEED_CHECK)
        rc = check(line, conf);
    else if (line->deed == DEED_PRINT_SOCKET)
        printf(STR_FMT "/heliod.sock\n", STR_ARG(conf->main.run_dir));
    else
        rc = run(line, file, conf_ref(conf));
    conf_unref(conf);
    free(file);
    return rc;
}

/* 0, 1 and 2 must stand for something, or a socket of ours would become somebody's
 * stdout. */
static void open_standard_fds(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    fd_close(&fd);
}

int main(int argc, char **argv)
{
    struct command_line line;
    open_standard_fds();
    log_init("heliod", NULL, NULL);
    if (parse(argc, argv, &line) < 0) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (line.deed == DEED_HELP)
        fputs(usage, stdout);
    else if (line.deed == DEED_VERSION)
        puts("heliod " HELIOD_VERSION);
    else
        return do_with_conf(&line);
    return EXIT_OK;
}
