/* load_options: what bench_load is asked to do; a table of options. Owns the tokens it
 * has read. Never opens a connection. */
#ifndef BENCH_LOAD_OPTIONS_H
#define BENCH_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum mode {
    MODE_ECHO,
    MODE_FANOUT,
    MODE_ROOMS, /* up to here messages are said */
    MODE_CONNECT,
    MODE_IDLE,
    MODE_STORM,
    MODES
};
extern const char *const mode_names[MODES];

struct options {
    enum mode mode;
    uint32_t conns, size, window, room_size, inflight, prime, sources;
    double rate, warmup, duration, settle, drain, timeout;
    const char *feed, *path;
    char **tokens;
    uint32_t tokens_n;
};
extern struct options o;

/* Also fills in the party's ports and dialect and what is watched; ends the program when
 * something cannot be understood. */
void options_take(int argc, char **argv);
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
