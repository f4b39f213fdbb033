// floors: ctl
/* Whole runs of helioctl against a supervisor that does as the script says: what it was
 * told, what was printed, the exit status. The supervisor is a child on a real socket;
 * its pipe tells what arrived. */
#include "supervisor/ctl/ctl.h"

#include "common/fd.h"
#include "common/scan.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGV 20
#define ROWS 4

static char dir[] = "/tmp/heliod-ctl.XXXXXX";
static char socket_path[64];

/* What the supervisor does with every question. */
struct script {
    const char *rows[ROWS];
    enum msg_status status;
    uint64_t count;
    const char *text;
    enum {
        ANSWER,
        HANG_UP,
        ANSWER_AND_HANG_UP,
        KEEP_SILENT,
        REFUSE_AT_ONCE,
        SPEAK_NONSENSE,
        OTHER_ID
    } mode;
};
struct fake {
    struct script script;
    struct event_base *base;
    struct chan chan;
    int heard; /* the pipe */
};

static void reply(struct fake *f, uint32_t id)
{
    const struct script *s = &f->script;

    if (s->mode == OTHER_ID) {
        CHAN_SEND(&f->chan, ROW, struct msg_id, STR("{\"room\":\"stale\"}"), -1,
                  .id = id + 7);
        CHAN_SEND(&f->chan, END, struct msg_end, STR("stale"), -1, .id = id + 7,
                  .status = 1);
    }
    for (size_t i = 0; i < ROWS && s->rows[i]; i++)
        CHAN_SEND(&f->chan, ROW, struct msg_id, str_of(s->rows[i]), -1, .id = id);
    if (s->mode == HANG_UP)
        chan_close(&f->chan);
    else if (s->mode == SPEAK_NONSENSE)
        CHAN_SEND(&f->chan, HELLO, struct msg_hello, STR_NONE, -1, .slot = 1);
    else if (s->mode != KEEP_SILENT)
        CHAN_SEND(&f->chan, END, struct msg_end, str_of(s->text), -1, .id = id,
                  .status = s->status, .count = s->count);
    if (s->mode == ANSWER_AND_HANG_UP)
        chan_close(&f->chan);
}

static void heard(struct fake *f, const char *name, uint32_t id, struct str more)
{
    dprintf(f->heard, "%s" STR_FMT "\n", name, STR_ARG(more));
    reply(f, id);
}

static void heard_number(struct fake *f, const char *name, uint32_t id, uint32_t number)
{
    char more[16];

    snprintf(more, sizeof(more), " %u", number);
    heard(f, name, id, str_of(more));
}

static void on_reload(void *ctx, const struct msg_id *m, struct str tail, int *fd UNUSED)
{
    heard(ctx, "RELOAD", m->id, tail);
}
static void on_query(void *ctx, const struct msg_query *m, struct str tail,
                     int *fd UNUSED)
{
    struct buf b = {0};

    buf_printf(&b, " %u %u " STR_FMT, m->what, m->limit, STR_ARG(tail));
    heard(ctx, "QUERY", m->id, buf_view(&b));
    buf_free(&b);
}
static void on_kick(void *ctx, const struct msg_id *m, struct str tail, int *fd UNUSED)
{
    heard(ctx, "KICK ", m->id, tail);
}
static void on_send(void *ctx, const struct msg_id *m, struct str tail, int *fd UNUSED)
{
    heard(ctx, "SEND ", m->id, tail);
}
static void on_drain(void *ctx, const struct msg_slot *m, struct str tail UNUSED,
                     int *fd UNUSED)
{
    heard_number(ctx, "DRAIN", m->id, m->slot);
}
static void on_stop(void *ctx, const struct msg_flag_id *m, struct str tail UNUSED,
                    int *fd UNUSED)
{
    heard_number(ctx, "STOP", m->id, m->on);
}
static void on_level(void *ctx, const struct msg_level *m, struct str tail UNUSED,
                     int *fd UNUSED)
{
    heard_number(ctx, "LEVEL", m->id, m->level);
}
static void on_gone(void *ctx, const char *why UNUSED)
{
    struct fake *f = ctx;
    event_base_loopbreak(f->base);
}

static const struct msg_handlers handlers = {
    .CTL_RELOAD = on_reload,
    .CTL_QUERY = on_query,
    .CTL_KICK = on_kick,
    .CTL_SEND = on_send,
    .CTL_DRAIN = on_drain,
    .CTL_STOP = on_stop,
    .CTL_LOG_LEVEL = on_level,
    .gone = on_gone,
};

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    unlink(path);
    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

NORETURN static void be_supervisor(const struct script *script, int listening,
                                   int pipe_fd)
{
    struct fake f = {.script = *script, .base = event_base_new(), .heard = pipe_fd};
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

    if (chan_open(&f.chan, f.base, fd, MSG_C2S, &handlers, &f, NULL) < 0)
        _exit(1);
    if (script->mode == REFUSE_AT_ONCE) {
        CHAN_SEND(&f.chan, END, struct msg_end, str_of(script->text), -1, .id = 0,
                  .status = script->status);
        chan_close(&f.chan);
    }
    event_base_dispatch(f.base);
    _exit(0);
}

struct result {
    int status;
    char *out, *err;
    char heard[4096];
};

static void result_free(struct result *r)
{
    free(r->out);
    free(r->err);
}

/* The words of a line; 'text in quotes' is one word. */
static int split(char *text, char **argv)
{
    int n = 0;

    argv[n++] = "helioctl";
    for (char *p = text; *p;) {
        char end = *p == '\'' ? '\'' : ' ';
        argv[n++] = end == '\'' ? ++p : p;
        p = strchr(p, end);
        if (!p)
            break;
        *p++ = '\0';
        while (*p == ' ')
            p++;
    }
    return n;
}

static void run_line(const char *line, struct result *r)
{
    char text[512], *argv[ARGV];
    size_t size;
    FILE *out = open_memstream(&r->out, &size), *err = open_memstream(&r->err, &size);

    snprintf(text, sizeof(text), "%s", line);
    int argc = split(text, argv);
    r->status = ctl_run(argc, argv, out, err);
    fclose(out);
    fclose(err);
}

static void run_against(const struct script *script, const char *line, struct result *r)
{
    int pipe_fds[2], listening = listen_at(socket_path);
    char with_socket[512];

    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        be_supervisor(script, listening, pipe_fds[1]);
    close(listening);
    close(pipe_fds[1]);
    snprintf(with_socket, sizeof(with_socket), "-s %s %s", socket_path, line);
    run_line(with_socket, r);
    ssize_t n, total = 0;
    while ((n = read(pipe_fds[0], r->heard + total,
                     sizeof(r->heard) - 1 - (size_t)total)) > 0)
        total += n;
    r->heard[total] = '\0';
    close(pipe_fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- what is asked ---- */

static const struct {
    const char *line, *heard;
} asked[] = {
    {"status", "QUERY 0 0 {}"},
    {"show workers", "QUERY 1 0 {}"},
    {"show workers limit 3", "QUERY 1 3 {}"},
    {"show connections", "QUERY 2 0 {}"},
    {"show connections limit 5 client c address ::1 endpoint /ws room r user u",
     "QUERY 2 5 "
     "{\"user\":\"u\",\"room\":\"r\",\"endpoint\":\"/ws\",\"address\":\"::1\",\"id\":"
     "\"c\"}"},
    {"show connections user 'a\"b\nc'", "QUERY 2 0 {\"user\":\"a\\\"b\\nc\"}"},
    {"show rooms user u limit 2", "QUERY 3 0 {\"user\":\"u\"}"},
    {"show users", "QUERY 4 0 {}"},
    {"show config", "QUERY 5 0 {}"},
    {"show counters", "QUERY 6 0 {}"},
    {"show memory", "QUERY 7 0 {}"},
    {"kick user u address 10.0.0.1", "KICK {\"user\":\"u\",\"address\":\"10.0.0.1\"}"},
    {"send room r ev", "SEND {\"to\":{\"room\":\"r\"},\"event\":\"ev\"}"},
    {"send user u ev null",
     "SEND {\"to\":{\"user\":\"u\"},\"event\":\"ev\",\"data\":null}"},
    {"send client c 'e v' '{\"a\": [1.0]}'",
     "SEND {\"to\":{\"client\":\"c\"},\"event\":\"e v\",\"data\":{\"a\": [1.0]}}"},
    {"send all ev -1", "SEND {\"to\":{\"broadcast\":true},\"event\":\"ev\",\"data\":-1}"},
    {"reload", "RELOAD"},
    {"drain 7", "DRAIN 7"},
    {"stop", "STOP 0"},
    {"stop now", "STOP 1"},
    {"log-level error", "LEVEL 0"},
    {"log-level debug", "LEVEL 3"},
};

static void asks_what_it_is_told(void **state)
{
    static const struct script done = {.text = ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        char wanted[512];
        struct result r;

        run_against(&done, asked[i].line, &r);
        snprintf(wanted, sizeof(wanted), "%s\n", asked[i].heard);
        assert_string_equal(r.heard, wanted);
        assert_string_equal(r.err, "");
        assert_int_equal(r.status, 0);
        result_free(&r);
    }
}

/* ---- what is told ---- */

static const struct {
    const char *line;
    struct script script;
    int status;
    const char *out, *err;
} told[] = {
    {"reload", {.count = 4, .text = ""}, 0, "ok, generation 4\n", ""},
    {"--json reload",
     {.count = 4, .text = ""},
     0,
     "{\"ok\":true,\"generation\":4}\n",
     ""},
    {"reload",
     {.status = END_FAILED, .text = "/etc/h.yaml:3: unknown key `portt`"},
     1,
     "",
     "helioctl: /etc/h.yaml:3: unknown key `portt`\n"},
    {"--json reload",
     {.status = END_FAILED, .text = "a: \"b\"\nsecond\n"},
     1,
     "{\"ok\":false,\"error\":\"a: \\\"b\\\"\\nsecond\"}\n",
     ""},
    {"kick user u", {.count = 2, .text = ""}, 0, "connections closed: 2\n", ""},
    {"send all e",
     {.status = END_UNAVAILABLE, .text = "the bus is down"},
     3,
     "",
     "helioctl: the bus is down\n"},
    {"reload",
     {.status = END_FAILED, .text = "first\nsecond \033[2J"},
     1,
     "",
     "helioctl: first\nhelioctl: second \\x1b[2J\n"},
    {"show users",
     {.rows = {"{\"user\":\"u\",\"connections\":1,\"slot\":0}"},
      .status = END_PARTIAL,
      .text = "slot 1 did not answer"},
     5,
     "USER  CONNECTIONS  SLOTS\nu               1  0\n",
     "helioctl: slot 1 did not answer\n"},
    {"show users",
     {.rows = {"{\"user\":\"u\"}"}, .status = END_FAILED, .text = "no"},
     1,
     "",
     "helioctl: no\n"},
    {"show users",
     {.mode = HANG_UP, .rows = {"{\"user\":\"u\"}"}},
     3,
     "",
     "helioctl: connection to the broker lost: the peer closed it\n"},
    {"--json show connections",
     {.mode = HANG_UP, .rows = {"{\"id\":\"u\"}"}},
     3,
     "{\"id\":\"u\"}\n{\"ok\":false,\"error\":\"connection to the broker lost: the peer "
     "closed it\"}\n",
     ""},
    {"--timeout 1 status",
     {.mode = KEEP_SILENT},
     3,
     "",
     "helioctl: the broker did not answer within 1 s\n"},
    {"status",
     {.mode = REFUSE_AT_ONCE, .status = END_DENIED, .text = "uid 7 may not"},
     4,
     "",
     "helioctl: uid 7 may not\n"},
    {"show rooms",
     {.mode = OTHER_ID,
      .rows = {"{\"room\":\"r\",\"members\":1,\"slot\":0}"},
      .text = ""},
     0,
     "ROOM  MEMBERS  SLOTS  ENDPOINT\nr           1  0      -\n",
     ""},
};

static void tells_what_it_hears(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        struct result r;

        run_against(&told[i].script, told[i].line, &r);
        assert_string_equal(r.out, told[i].out);
        assert_string_equal(r.err, told[i].err);
        assert_int_equal(r.status, told[i].status);
        result_free(&r);
    }
}

static void takes_the_answer_of_a_broker_that_leaves(void **state)
{
    static const struct script leaves = {.mode = ANSWER_AND_HANG_UP, .text = ""};
    struct result r;

    (void)state;
    run_against(&leaves, "stop", &r);
    assert_string_equal(r.out, "ok, the broker is stopping\n");
    assert_int_equal(r.status, END_OK);
    result_free(&r);
}

static void drops_a_broker_that_speaks_nonsense(void **state)
{
    static const struct script nonsense = {.mode = SPEAK_NONSENSE};
    struct result r;

    (void)state;
    run_against(&nonsense, "status", &r);
    assert_int_equal(r.status, END_UNAVAILABLE);
    assert_non_null(strstr(r.err, "HELLO"));
    result_free(&r);
}

/* ---- what never reaches a broker ---- */

static const struct {
    const char *line;
    int status;
    const char *out, *err;
} alone[] = {
    {"version", 0, "helioctl " HELIOD_VERSION "\n", ""},
    {"-V", 0, "helioctl " HELIOD_VERSION "\n", ""},
    {"version --json", 0, "{\"ok\":true,\"version\":\"" HELIOD_VERSION "\"}\n", ""},
    {"send all ev hello", 2, "",
     "helioctl: DATA is not JSON: hello (a text needs quotes, as in '\"hello\"')\n"},
    {"send all ev 01", 2, "",
     "helioctl: DATA is not JSON: 01 (a text needs quotes, as in '\"hello\"')\n"},
    {"send all \xff", 2, "", "helioctl: the message is: not valid UTF-8\n"},
    {"kick user \xff", 2, "", "helioctl: the conditions are not valid UTF-8\n"},
    {"show users limit 0", 2, "",
     "helioctl: limit wants a whole number from 1 to 4294967295, not 0\n"},
    {"drain 256", 2, "", "helioctl: SLOT is a number from 0 to 255, not 256\n"},
    {"drain -1", 2, "", "helioctl: SLOT is a number from 0 to 255, not -1\n"},
    {"--count 2 status", 2, "", "helioctl: --count goes with top only\n"},
    {"shwo", 2, "",
     "helioctl: unknown command \"shwo\"; did you mean \"show\"? (see helioctl help)\n"},
    {"help nonsense", 2, "", "helioctl: no command begins with nonsense\n"},
    {"help drain", 0,
     "usage: helioctl drain SLOT\n"
     "      Replace the worker of a slot: a successor starts, the old one leaves\n"
     "      with its last client.\n"
     "      Example: helioctl drain 0\n",
     ""},
    {"token 'a\nb'", 2, "",
     "helioctl: a\\nb cannot stand in a tokens file: UTF-8 of at most 256 bytes, no "
     "control characters, no blanks around it, no # in front\n"},
    {"-s /nonexistent/x.sock status", 3, "",
     "helioctl: no broker at /nonexistent/x.sock: there is no such socket (is heliod "
     "running? -s or -c name another)\n"},
    {"--json -s /nonexistent/x.sock status", 3,
     "{\"ok\":false,\"error\":\"no broker at /nonexistent/x.sock: there is no such "
     "socket "
     "(is heliod running? -s or -c name another)\"}\n",
     ""},
};

static void says_what_needs_no_broker(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(alone); i++) {
        struct result r;

        run_line(alone[i].line, &r);
        assert_string_equal(r.out, alone[i].out);
        assert_string_equal(r.err, alone[i].err);
        assert_int_equal(r.status, alone[i].status);
        result_free(&r);
    }
}

static void explains_a_left_over_socket(void **state)
{
    char line[128];
    struct result r;
    int fd = listen_at(socket_path);

    (void)state;
    close(fd);
    snprintf(line, sizeof(line), "-s %s status", socket_path);
    run_line(line, &r);
    assert_int_equal(r.status, END_UNAVAILABLE);
    assert_non_null(strstr(r.err, "nobody listens there any more"));
    result_free(&r);
}

static void refuses_an_endless_path(void **state)
{
    char line[256] = "-s /";
    struct result r;

    (void)state;
    memset(line + 4, 'x', 120);
    strcpy(line + 124, " status");
    run_line(line, &r);
    assert_int_equal(r.status, END_UNAVAILABLE);
    assert_non_null(strstr(r.err, "longer than a Unix socket's path may be (107 bytes)"));
    result_free(&r);
}

static void makes_tokens(void **state)
{
    struct scan_member members[] = {{.name = "token"}, {.name = "line"}};
    struct result a, b;

    (void)state;
    run_line("--json token alice", &a);
    run_line("token alice", &b);
    assert_int_equal(scan_text(str_trim(str_of(a.out)), members, 2), SCAN_OBJECT);
    assert_int_equal(members[0].value.raw.n, 64 + 2);
    assert_int_equal(members[1].value.raw.n, strlen("alice:sha256:") + 64 + 2);
    assert_int_equal(strncmp(b.out, "token  ", 7), 0);
    assert_non_null(strstr(b.out, "\nline   alice:sha256:"));
    assert_int_not_equal(memcmp(b.out + 7, members[0].value.raw.p + 1, 64), 0);
    result_free(&a);
    result_free(&b);
}

/* ---- data from standard input ---- */

static int stdin_from(const char *bytes, size_t n)
{
    int saved = dup(STDIN_FILENO), fd = fd_sealed("stdin", (struct str){bytes, n}, NULL);

    assert_true(fd >= 0 && lseek(fd, 0, SEEK_SET) == 0);
    dup2(fd, STDIN_FILENO);
    close(fd);
    return saved;
}

static void back_to(int saved)
{
    dup2(saved, STDIN_FILENO);
    close(saved);
}

static void reads_data_from_stdin(void **state)
{
    static const struct script done = {.text = ""};
    struct result r;
    int saved = stdin_from("[1,\n2]\n", 7);

    (void)state;
    run_against(&done, "send all ev -", &r);
    back_to(saved);
    assert_string_equal(
        r.heard,
        "SEND {\"to\":{\"broadcast\":true},\"event\":\"ev\",\"data\":[1,\n2]\n}\n");
    assert_int_equal(r.status, 0);
    result_free(&r);
}

static void refuses_too_much_data(void **state)
{
    static const size_t sizes[] = {MSG_TAIL_MAX - 10, MSG_TAIL_MAX * 2};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char *big = malloc(sizes[i]);
        struct result r;
        memset(big, '1', sizes[i]);
        int saved = stdin_from(big, sizes[i]);
        run_line("send all ev -", &r);
        back_to(saved);
        assert_int_equal(r.status, END_USAGE);
        assert_non_null(strstr(r.err, "163840"));
        result_free(&r);
        free(big);
    }
}

/* ---- heliod's own program ---- */

static void put_program(const char *body)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/heliod", dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "#!/bin/sh\n%s\n", body);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static void checks_by_heliod(void **state)
{
    struct result r;

    (void)state;
    put_program("echo \"$@\"; echo warned >&2; exit 0");
    run_line("config check /a.yaml", &r);
    assert_string_equal(r.out, "-t -c /a.yaml\n");
    assert_string_equal(r.err, "warned\n");
    assert_int_equal(r.status, 0);
    result_free(&r);
    run_line("--json config check /a.yaml", &r);
    assert_string_equal(r.out, "{\"ok\":true,\"file\":\"/a.yaml\"}\n");
    result_free(&r);
    put_program("echo '/a.yaml:3: bad' >&2; exit 78");
    run_line("--json config check /a.yaml", &r);
    assert_string_equal(r.out, "{\"ok\":false,\"error\":\"/a.yaml:3: bad\"}\n");
    assert_int_equal(r.status, 78);
    result_free(&r);
    put_program("kill -9 $$");
    run_line("config check /a.yaml", &r);
    assert_string_equal(r.err, "helioctl: heliod was ended by signal 9 (Killed)\n");
    assert_int_equal(r.status, END_FAILED);
    result_free(&r);
}

static void asks_heliod_for_the_socket(void **state)
{
    struct result r;

    (void)state;
    put_program("[ \"$*\" = '--print-socket -c /a.yaml' ] && echo /nonexistent/y.sock");
    run_line("-c /a.yaml status", &r);
    assert_non_null(strstr(r.err, "no broker at /nonexistent/y.sock"));
    assert_int_equal(r.status, END_UNAVAILABLE);
    result_free(&r);
    put_program("echo '/a.yaml:3: bad' >&2; exit 1");
    run_line("-c /a.yaml status", &r);
    assert_string_equal(r.err, "helioctl: /a.yaml:3: bad\n");
    assert_int_equal(r.status, END_FAILED);
    result_free(&r);
}

/* ---- top ---- */

static void samples_without_a_terminal(void **state)
{
    static const struct script rows = {
        .rows = {"{\"slot\":0,\"worker\":1,\"pid\":42,\"state\":\"running\",\"uptime_"
                 "ms\":5000,"
                 "\"connections\":3,\"websockets\":2}",
                 "{\"name\":\"messages_in\",\"slots\":[10]}"},
        .text = "",
    };
    struct result r;

    (void)state;
    run_against(&rows, "top --count 1", &r);
    assert_int_equal(r.status, 0);
    assert_string_equal(r.heard,
                        "QUERY 6 0 {}\nQUERY 1 0 {}\nQUERY 6 0 {}\nQUERY 1 0 {}\n");
    assert_non_null(strstr(r.out, "SLOT"));
    assert_non_null(strstr(r.out, "42"));
    assert_null(strchr(r.out, '\033'));
    result_free(&r);
    run_against(&rows, "--json top --count 1", &r);
    assert_non_null(strstr(r.out, "\"messages_in_per_s\":0.0"));
    result_free(&r);
}

static void leaves_top_when_the_broker_is_lost(void **state)
{
    static const struct script scripts[] = {
        {.mode = HANG_UP},
        {.mode = ANSWER_AND_HANG_UP, .text = ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct result r;
        run_against(&scripts[i], "top", &r);
        assert_int_equal(r.status, END_UNAVAILABLE);
        assert_string_equal(
            r.err, "helioctl: connection to the broker lost: the peer closed it\n");
        result_free(&r);
    }
}

static int set_up(void **state)
{
    char path[512];

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(socket_path, sizeof(socket_path), "%s/s", dir);
    snprintf(path, sizeof(path), "%s:%s", dir, getenv("PATH"));
    return setenv("PATH", path, 1);
}

static int tear_down(void **state)
{
    char path[64];

    (void)state;
    unlink(socket_path);
    snprintf(path, sizeof(path), "%s/heliod", dir);
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_what_it_is_told),
        cmocka_unit_test(tells_what_it_hears),
        cmocka_unit_test(takes_the_answer_of_a_broker_that_leaves),
        cmocka_unit_test(drops_a_broker_that_speaks_nonsense),
        cmocka_unit_test(says_what_needs_no_broker),
        cmocka_unit_test(explains_a_left_over_socket),
        cmocka_unit_test(refuses_an_endless_path),
        cmocka_unit_test(makes_tokens),
        cmocka_unit_test(reads_data_from_stdin),
        cmocka_unit_test(refuses_too_much_data),
        cmocka_unit_test(checks_by_heliod),
        cmocka_unit_test(asks_heliod_for_the_socket),
        cmocka_unit_test(samples_without_a_terminal),
        cmocka_unit_test(leaves_top_when_the_broker_is_lost),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
