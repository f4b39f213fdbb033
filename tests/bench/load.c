/* bench_load: clients of a WebSocket server by the thousand, one thread of them. Every
 * message is accounted for. Prints one JSON object; exit 1: it could not be set up, 2: a
 * message was lost, duplicated, reordered, corrupted or misrouted, or a connection
 * failed.
 *
 *   echo     each connection has `window` messages under way
 *   fanout   one sender, every connection listens; `window` under way, or `rate` a second
 *   rooms    everybody in rooms of `room-size` speaks to the others of the room
 *   connect  opens all, `inflight` at a time; each is greeted as its dialect wants it
 *   idle     opens all and holds them; the growth of the watched processes' memory
 *   storm    opens all, resets all, opens all at once; that again is what is measured
 */
#define _GNU_SOURCE
#include "load_conn.h"
#include "load_feed.h"
#include "load_flow.h"
#include "load_options.h"
#include "load_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SECOND 1000000000u

static struct {
    struct conn *conns; /* o.conns listeners, then a publisher */
    uint32_t total, opened, ready, failed, dropped;
    bool holding; /* all are open: nobody may go */
    int epoll, timer;
    const char *why;
    struct hist entries; /* connect() until ready */
    double seconds, own_cpu;
} run;

/* ---- what the connections tell ---- */

static void open_next(void)
{
    struct conn *c = &run.conns[run.opened++];
    conn_open(c, o.mode == MODE_ROOMS ? c->at.member : c->at.i);
}

static void on_ready(struct conn *c)
{
    run.ready++;
    hist_add(&run.entries, conn_now_ns() - c->began_ns);
}

static void on_failed(struct conn *c, const char *why)
{
    (void)c;
    run.why = why;
    if (run.holding)
        run.dropped++;
    else
        run.failed++;
}

static void on_message(struct conn *c, const char *p, size_t n)
{
    if (o.mode <= MODE_ROOMS)
        flow_message(c, p, n);
}

static void on_read(struct conn *c)
{
    (void)c;
    flow_refill();
}

/* ---- the loop ---- */

static void arm_timer(uint64_t at_ns)
{
    struct itimerspec t = {
        .it_value = {(time_t)(at_ns / SECOND), (long)(at_ns % SECOND)}};
    timerfd_settime(run.timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void on_timer(void)
{
    uint64_t times;
    if (read(run.timer, &times, sizeof times) == sizeof times)
        arm_timer(flow_say_due());
}

static void turn(uint64_t until_ns)
{
    struct epoll_event events[512];
    uint64_t now = conn_now_ns();
    int wait_ms = now >= until_ns ? 0 : (int)((until_ns - now + 999999) / 1000000);
    int n = epoll_wait(run.epoll, events, 512, wait_ms);
    for (int i = 0; i < n; i++) {
        void *what = events[i].data.ptr;
        if (what == &feed_mark)
            feed_event(events[i].events);
        else if (what == &run.timer)
            on_timer();
        else if (((struct conn *)what)->phase != CONN_NONE)
            conn_event(what, events[i].events);
    }
}

static uint64_t after(double seconds)
{
    return conn_now_ns() + (uint64_t)(seconds * 1e9);
}

static void pass(double seconds)
{
    for (uint64_t end = after(seconds); conn_now_ns() < end;)
        turn(end);
}

static void open_all(uint32_t inflight)
{
    uint64_t end = after(o.timeout);
    run.opened = run.ready = 0;
    while (run.ready + run.failed < run.total) {
        /* A few at a time: who is under way already is heard in between. */
        for (int few = 0; few < 64 && run.opened < run.total &&
                          run.opened - run.ready - run.failed < inflight;
             few++)
            open_next();
        turn(run.opened < run.total && run.opened - run.ready - run.failed < inflight
                 ? 0
                 : conn_now_ns() + SECOND / 10);
        if (run.failed && o.mode <= MODE_ROOMS)
            die("a connection failed: %s", run.why);
        if (conn_now_ns() > end)
            die("only %u of %u connections were ready after %.0f s (%s)", run.ready,
                run.total, o.timeout, run.why ? run.why : "no failure");
    }
}

static void close_all(void)
{
    for (uint32_t i = 0; i < run.total; i++)
        conn_close(&run.conns[i], true);
}

/* ---- what is measured ---- */

static double own_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t begin(void)
{
    watch_begin();
    run.own_cpu = own_seconds();
    return conn_now_ns();
}

static void end(uint64_t began)
{
    run.seconds = (double)(conn_now_ns() - began) / 1e9;
    run.own_cpu = own_seconds() - run.own_cpu;
    watch_end();
}

static void drain(void)
{
    uint64_t heard = flow_heard(), last = conn_now_ns();
    while (!flow_is_complete() && conn_now_ns() - last < (uint64_t)(o.drain * 1e9)) {
        turn(conn_now_ns() + SECOND / 20);
        if (flow_heard() != heard) {
            heard = flow_heard();
            last = conn_now_ns();
        }
    }
    pass(0.05); /* what should not come has a chance to */
}

static void run_flow(void)
{
    struct flow_plan plan = {.conns = o.conns,
                             .size = o.size,
                             .window = o.window,
                             .rate = o.rate,
                             .feed = o.feed != NULL};
    plan.room_size = o.mode == MODE_ECHO ? 1 : o.mode == MODE_ROOMS ? o.room_size : 0;
    open_all(o.inflight);
    run.holding = true;
    pass(o.settle);
    flow_init(&plan, run.conns);
    flow_start();
    if (o.rate > 0)
        arm_timer(conn_now_ns());
    pass(o.warmup);
    uint64_t began = begin();
    flow_measure(true);
    pass(o.duration);
    flow_measure(false);
    end(began);
    flow_stop();
    drain();
}

static void run_connect(void)
{
    uint64_t began = begin();
    open_all(o.inflight);
    end(began);
    run.holding = true;
    pass(o.settle);
}

/* What is touched once by anybody is no connection's. */
static void prime(void)
{
    uint32_t all = run.total;
    run.total = o.prime < all ? o.prime : all;
    open_all(o.inflight);
    pass(0.1);
    close_all();
    pass(1);
    run.total = all;
    run.failed = 0;
    memset(&run.entries, 0, sizeof run.entries);
}

static void run_idle(void)
{
    prime();
    watch_remember_memory();
    uint64_t began = begin();
    open_all(o.inflight);
    run.holding = true;
    pass(o.settle);
    end(began);
}

static void run_storm(void)
{
    open_all(o.inflight);
    pass(o.settle);
    watch_remember_memory();
    memset(&run.entries, 0, sizeof run.entries);
    uint64_t began = begin();
    close_all();
    open_all(run.total);
    end(began);
    run.holding = true;
    pass(o.settle);
}

/* ---- the report ---- */

static void report_latencies(const char *name, const struct hist *h)
{
    printf("\"%s\":{\"count\":%llu,\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
           "\"p999\":%.1f,\"max\":%.1f},",
           name, (unsigned long long)h->count, hist_mean(h) / 1e3,
           (double)hist_at(h, 0.5) / 1e3, (double)hist_at(h, 0.9) / 1e3,
           (double)hist_at(h, 0.99) / 1e3, (double)hist_at(h, 0.999) / 1e3,
           (double)h->max / 1e3);
}

static void report(const struct flow_account *a)
{
    uint64_t ops = o.mode <= MODE_ROOMS ? flow_deliveries() : run.ready;
    printf(
        "{\"mode\":\"%s\",\"dialect\":\"%s\",\"connections\":%u,\"size\":%u,"
        "\"window\":%u,\"rate\":%g,\"seconds\":%.4f,\"ops\":%llu,\"ops_per_second\":%.1f,"
        "\"generator_busy\":%.3f,",
        mode_names[o.mode], party.dialect->name, o.conns, o.size, o.window, o.rate,
        run.seconds, (unsigned long long)ops, (double)ops / run.seconds,
        run.own_cpu / run.seconds);
    if (o.mode <= MODE_ROOMS)
        report_latencies("latency_us", flow_latencies());
    report_latencies("entry_us", &run.entries);
    watch_report(stdout);
    printf(",\"errors\":{\"lost\":%llu,\"duplicated\":%llu,\"reordered\":%llu,"
           "\"corrupted\":%llu,\"misrouted\":%llu,\"failed\":%u,\"dropped\":%u},",
           (unsigned long long)a->lost, (unsigned long long)a->duplicated,
           (unsigned long long)a->reordered, (unsigned long long)a->corrupted,
           (unsigned long long)a->misrouted, run.failed, run.dropped);
    printf("\"sent\":%llu,\"why\":\"%s\"}\n", (unsigned long long)a->sent,
           feed_failure() ? feed_failure()
           : run.why      ? run.why
                          : "");
}

static bool is_clean(const struct flow_account *a)
{
    return !(a->lost | a->duplicated | a->reordered | a->corrupted | a->misrouted) &&
           !run.failed && !run.dropped && !feed_failure();
}

/* ---- beginning ---- */

static void place_conns(void)
{
    bool publisher = o.mode == MODE_FANOUT && !o.feed;
    uint32_t size = o.mode == MODE_ROOMS ? o.room_size : o.conns + 1;
    run.total = o.conns + publisher;
    run.conns = calloc(run.total, sizeof *run.conns);
    for (uint32_t i = 0; i < run.total; i++) {
        const char *token = o.tokens_n ? o.tokens[i % o.tokens_n] : "";
        run.conns[i].at = (struct place){i, i / size, i % size, token, NULL};
        run.conns[i].fd = -1;
    }
    if (publisher)
        run.conns[o.conns].publisher = true;
}

static void prepare(void)
{
    struct rlimit files;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &run.timer};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < o.conns + 64)
        die("%u connections do not fit into %lu descriptors", o.conns,
            (unsigned long)files.rlim_max);
    run.epoll = party.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    epoll_ctl(run.epoll, EPOLL_CTL_ADD, run.timer, &e);
    party.on = (struct conn_listener){on_ready, on_message, on_failed, on_read};
    place_conns();
    const char *failure = o.feed ? feed_open(o.feed, run.epoll) : NULL;
    if (failure)
        die("the feed: %s", failure);
}

int main(int argc, char **argv)
{
    static void (*const runs[MODES])(void) = {run_flow,    run_flow, run_flow,
                                              run_connect, run_idle, run_storm};
    options_take(argc, argv);
    prepare();
    runs[o.mode]();
    struct flow_account account =
        o.mode <= MODE_ROOMS ? flow_settle() : (struct flow_account){0};
    report(&account);
    close_all();
    return is_clean(&account) ? 0 : 2;
}
