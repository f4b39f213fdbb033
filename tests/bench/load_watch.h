/* load_watch: what the watched processes and the watched core have spent and hold, read
 * from /proc at the edges of the measured window. Owns nothing. Never watches by name. */
#ifndef BENCH_LOAD_WATCH_H
#define BENCH_LOAD_WATCH_H

#include <stdint.h>
#include <stdio.h>

#define WATCH_MAX 32

struct watch_sample {
    double cpu, user, system; /* seconds */
    uint64_t private_bytes;
};
struct watch {
    const char *label; /* several processes may share one */
    int pid;
    struct watch_sample before, after;
};
struct watch_core {
    int number; /* -1: none */
    double before, after, stolen_before, stolen_after;
};

int watch_add(const char *label_and_pid); /* LABEL:PID; -1: not that */
void watch_set_core(int number);
void watch_begin(void);
void watch_end(void);
void watch_remember_memory(void); /* the baseline that memory has grown from */
void watch_report(FILE *out);     /* `"processes":[…],"core":{…}` */

#endif
