/* bench_cores: how far apart two processors are: the nanoseconds that a cache line takes
 * there and back. Virtual processors are moved about, now beside each other, now to the
 * ends of the machine, and a message between processes on them then costs two or three
 * times as much: figures of one kind must not be compared with those of the other.
 *
 *   bench_cores A B        prints the least of many short looks
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 10, LOOKS = 60, BOUNCES = 50 };

static _Alignas(128) atomic_int ball;
static int far_core;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void stay_on(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set)) {
        perror("bench_cores");
        exit(1);
    }
}

static void *throw_back(void *arg)
{
    stay_on(far_core);
    for (int i = 0; i < LOOKS * BOUNCES; i++) {
        while (atomic_load(&ball) != 1)
            ;
        atomic_store(&ball, 0);
    }
    return arg;
}

/* A look during which either side was interrupted is longer than others. */
static double shortest_look(void)
{
    pthread_t other;
    double least = 1e18;
    if (pthread_create(&other, NULL, throw_back, NULL))
        exit(1);
    for (int look = 0; look < LOOKS; look++) {
        double began = now_ns();
        for (int i = 0; i < BOUNCES; i++) {
            atomic_store(&ball, 1);
            while (atomic_load(&ball) != 0)
                ;
        }
        double each = (now_ns() - began) / BOUNCES;
        least = each < least ? each : least;
    }
    pthread_join(other, NULL);
    return least;
}

int main(int argc, char **argv)
{
    double least = 1e18;
    if (argc != 3 || atoi(argv[1]) == atoi(argv[2])) {
        fputs("usage: bench_cores CORE OTHER-CORE\n", stderr);
        return 1;
    }
    stay_on(atoi(argv[1]));
    far_core = atoi(argv[2]);
    for (int i = 0; i < ROUNDS; i++) {
        double each = shortest_look();
        least = each < least ? each : least;
    }
    printf("%.0f\n", least);
}
