#define _GNU_SOURCE
#include "load_options.h"

#include "load_conn.h"
#include "load_stamp.h"
#include "load_watch.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const mode_names[MODES] = {"echo",    "fanout", "rooms",
                                       "connect", "idle",   "storm"};

struct options o = {
    .conns = 100,
    .size = 128,
    .window = 1,
    .room_size = 2,
    .inflight = 100,
    .sources = 1,
    .warmup = 0.4,
    .duration = 1.6,
    .settle = 0.2,
    .drain = 5,
    .timeout = 60,
};

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench_load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---- those that are more than a value ---- */

static void take_ports(const char *ports)
{
    for (char *end; *ports && party.to_n < 4; ports = *end ? end + 1 : end) {
        struct sockaddr_in a = {.sin_family = AF_INET};
        a.sin_port = htons((uint16_t)strtoul(ports, &end, 10));
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        party.to[party.to_n++] = a;
    }
}

static void take_dialect(const char *name)
{
    char known[256];
    dialect_list(known, sizeof known);
    party.dialect = dialect_find(name);
    if (!party.dialect)
        die("no dialect %s; there are %s", name, known);
}

static void take_tokens(const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        die("%s: cannot be read", path);
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0;) {
        line[strcspn(line, "\n")] = 0;
        o.tokens = realloc(o.tokens, (o.tokens_n + 1) * sizeof *o.tokens);
        o.tokens[o.tokens_n++] = strdup(line);
    }
    free(line);
    fclose(f);
}

static void take_pid(const char *label_and_pid)
{
    if (watch_add(label_and_pid))
        die("--pid wants LABEL:PID, %d at most", WATCH_MAX);
}

static void take_core(const char *number)
{
    watch_set_core(atoi(number));
}

/* ---- the table ---- */

static const struct row {
    const char *name, *what;
    uint32_t *number, least, most; /* one of these four */
    double *real;
    const char **text;
    void (*take)(const char *value);
} rows[] = {
    {"port", "ports of 127.0.0.1, by comma; members of a room go to one after the other",
     .take = take_ports},
    {"dialect", "how the server is spoken to", .take = take_dialect},
    {"path", "instead of the dialect's", .text = &o.path},
    {"conns", "connections that listen", &o.conns, 1, 1000000},
    {"size", "bytes of a payload", &o.size, STAMP_BYTES, STAMP_MAX_PAYLOAD},
    {"window", "messages of a sender under way", &o.window, 1, 1024},
    {"rate", "messages a second of each sender, instead of a window", .real = &o.rate},
    {"room-size", "rooms: connections in each", &o.room_size, 2, 1000},
    {"inflight", "connections being opened at once", &o.inflight, 1, 1000000},
    {"feed", "fanout: redis:PATH-OR-PORT:ROOM or post:PORT:PATH", .text = &o.feed},
    {"tokens", "file; a line is a connection's token", .take = take_tokens},
    {"prime", "idle: so many come and go first", &o.prime, 0, 1000000},
    {"sources", "addresses 127.0.0.x to come from", &o.sources, 1, 200},
    {"settle", "seconds of rest when all are open", .real = &o.settle},
    {"warmup", "seconds before the measured window", .real = &o.warmup},
    {"duration", "seconds of the measured window", .real = &o.duration},
    {"drain", "seconds without a message after which the rest is lost", .real = &o.drain},
    {"timeout", "seconds in which all have to be open", .real = &o.timeout},
    {"pid", "LABEL:PID of a process to watch; again for more", .take = take_pid},
    {"core", "the processor to watch", .take = take_core},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void usage(void)
{
    fputs("usage: bench_load echo|fanout|rooms|connect|idle|storm --port PORT --dialect "
          "NAME "
          "[--OPTION VALUE]…\n",
          stderr);
    for (int i = 0; i < ROWS; i++)
        fprintf(stderr, "  --%-10s %s\n", rows[i].name, rows[i].what);
    exit(1);
}

static uint32_t number(const struct row *row, const char *text)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (*end || end == text || v < row->least || v > row->most)
        die("--%s %s: not a number from %u to %u", row->name, text, row->least,
            row->most);
    return (uint32_t)v;
}

static double real(const struct row *row, const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (*end || end == text || !(v >= 0 && v <= 1e6))
        die("--%s %s: not a number from 0 to 1000000", row->name, text);
    return v;
}

static void take(const char *option, const char *value)
{
    const struct row *row = rows;
    while (row < rows + ROWS &&
           (strncmp(option, "--", 2) || strcmp(option + 2, row->name)))
        row++;
    if (row == rows + ROWS || !value)
        usage();
    if (row->number)
        *row->number = number(row, value);
    else if (row->real)
        *row->real = real(row, value);
    else if (row->text)
        *row->text = value;
    else
        row->take(value);
}

static void check(void)
{
    if (!party.to_n || !party.dialect)
        usage();
    if (o.mode == MODE_ROOMS && o.conns % o.room_size)
        die("%u connections do not fill rooms of %u", o.conns, o.room_size);
    if (o.mode <= MODE_ROOMS && !party.dialect->before)
        die("nothing is said in %s", party.dialect->name);
    if (o.mode == MODE_FANOUT && !o.feed && !party.dialect->pub_path)
        die("no client publishes in %s: --feed", party.dialect->name);
    if (o.feed && o.mode != MODE_FANOUT)
        die("--feed is for fanout");
    if (party.dialect->says_id && (o.mode != MODE_ROOMS || o.room_size != 2))
        die("%s is for rooms of 2", party.dialect->name);
}

void options_take(int argc, char **argv)
{
    while (o.mode < MODES && argc > 1 && strcmp(mode_names[o.mode], argv[1]))
        o.mode++;
    if (argc < 2 || o.mode == MODES)
        usage();
    for (int i = 2; i < argc; i += 2)
        take(argv[i], argv[i + 1]);
    party.path = o.path;
    party.sources = o.sources;
    check();
}
