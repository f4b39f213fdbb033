#include "supervisor/ctl/top.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/show.h"
#include "supervisor/ctl/verbs.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define PERIOD_MS 1000
#define LINES_UNKNOWN 24
/* The alternate screen leaves what the terminal showed before as it was; without wrapping
 * a narrow one shows the first columns. */
#define SCREEN_OPEN "\033[?1049h\033[?25l\033[?7l"
#define SCREEN_CLEAR "\033[H\033[2J"
#define SCREEN_CLOSE "\033[?7h\033[?25h\033[?1049l"

static const char *const rate_counters[TOP_RATES] = {
    [TOP_MESSAGES_IN] = "messages_in", [TOP_MESSAGES_OUT] = "messages_out",
    [TOP_BYTES_IN] = "bytes_in",       [TOP_BYTES_OUT] = "bytes_out",
    [TOP_WRITES] = "writes",
};
static const char *const headings[] = {"SLOT",      "WORKER", "PID",     "STATE",
                                       "UP",        "CONNS",  "SOCKETS", "MSG-IN/s",
                                       "MSG-OUT/s", "B-IN/s", "B-OUT/s", "WRITES/s"};

/* One run of `top`. */
struct top {
    struct ctl *ctl;
    struct top_sample *before, *now;
    bool screen; /* both ends are a terminal: redraw in place, q leaves */
    struct termios saved;
    struct event key, interrupt, terminate;
};

/* ---- samples ---- */

void top_add_worker(void *ctx, struct str text)
{
    struct top_sample *sample = ctx;
    struct json_object *row = json_read(text, NULL);

    if (row && sample->seats_n < TOP_SEATS) {
        struct top_seat *seat = &sample->seats[sample->seats_n++];
        *seat = (struct top_seat){
            .slot = json_get_int(row, "slot", -1),
            .worker = json_get_int(row, "worker", 0),
            .pid = json_get_int(row, "pid", 0),
            .uptime_ms = json_get_int(row, "uptime_ms", 0),
            .connections = json_get_int(row, "connections", 0),
            .websockets = json_get_int(row, "websockets", 0),
        };
        struct str state = json_get_str(row, "state");
        snprintf(seat->state, sizeof(seat->state), STR_FMT, STR_ARG(state));
    }
    json_object_put(row);
}

static void add_slots(struct top_sample *sample, enum top_rate rate,
                      struct json_object *slots)
{
    size_t n =
        json_object_is_type(slots, json_type_array) ? json_object_array_length(slots) : 0;

    for (size_t i = 0; i < MIN(n, (size_t)TOP_SLOTS); i++)
        sample->counts[i][rate] =
            (uint64_t)json_object_get_int64(json_object_array_get_idx(slots, i));
}

void top_add_counter(void *ctx, struct str text)
{
    struct json_object *row = json_read(text, NULL);

    for (size_t i = 0; i < TOP_RATES; i++) {
        if (str_is(json_get_str(row, "name"), rate_counters[i]))
            add_slots(ctx, (enum top_rate)i, json_get(row, "slots"));
    }
    json_object_put(row);
}

double top_rate(const struct top_sample *before, const struct top_sample *now,
                int64_t slot, enum top_rate rate)
{
    if (before->at_us == 0 || now->at_us <= before->at_us || slot < 0 ||
        slot >= TOP_SLOTS)
        return -1;
    uint64_t was = before->counts[slot][rate], is = now->counts[slot][rate];
    if (is < was)
        return -1;
    return (double)(is - was) * 1e6 / (double)(now->at_us - before->at_us);
}

void top_format(struct buf *b, double rate)
{
    static const char units[] = "kMGT";
    size_t unit = 0;

    if (rate < 0) {
        buf_char(b, '-');
    } else if (rate < 999.5) {
        buf_printf(b, "%.0f", rate);
    } else {
        for (rate /= 1000; rate >= 999.95 && unit + 2 < sizeof(units); unit++)
            rate /= 1000;
        buf_printf(b, "%.1f%c", rate, units[unit]);
    }
}

static enum msg_status ask(struct top *top, enum msg_what what, client_row_fn row,
                           struct err *e)
{
    struct msg_query q = {.what = what};
    uint64_t count;

    return ctl_ask(top->ctl, MSG_CTL_QUERY, &q, STR("{}"), row, top->now, &count, e);
}

/* The counters first: a worker's row is never older than they are. */
static enum msg_status take_sample(struct top *top, struct err *e)
{
    struct top_sample *old = top->before;

    top->before = top->now;
    top->now = old;
    memset(top->now, 0, sizeof(*top->now));
    enum msg_status status = ask(top, QUERY_COUNTERS, top_add_counter, e);
    top->now->at_us = clock_now_us();
    return status == END_OK ? ask(top, QUERY_WORKERS, top_add_worker, e) : status;
}

/* ---- drawing ---- */

/* A slot's rates are shown once, with the worker that is listed first: the one in the
 * seat. */
static bool is_in_seat(const struct top_sample *sample, const struct top_seat *seat)
{
    const struct top_seat *first = sample->seats;

    while (first->slot != seat->slot)
        first++;
    return first == seat;
}

static void add_seat(struct table *t, const struct top *top, const struct top_seat *seat)
{
    bool rates = is_in_seat(top->now, seat);
    struct buf text = {0};

    table_printf(t, "%" PRId64, seat->slot);
    table_printf(t, "%" PRId64, seat->worker);
    table_printf(t, "%" PRId64, seat->pid);
    table_cell(t, str_of(seat->state));
    show_duration(&text, seat->uptime_ms);
    table_cell(t, buf_view(&text));
    table_printf(t, "%" PRId64, seat->connections);
    table_printf(t, "%" PRId64, seat->websockets);
    for (size_t i = 0; i < TOP_RATES; i++) {
        buf_clear(&text);
        top_format(&text, rates ? top_rate(top->before, top->now, seat->slot, i) : -1);
        table_cell(t, buf_view(&text));
    }
    buf_free(&text);
}

/* Every slot once, however many workers it has. */
static double sum_of(const struct top *top, enum top_rate rate)
{
    double sum = 0;

    for (int64_t slot = 0; slot < TOP_SLOTS; slot++) {
        double one = top_rate(top->before, top->now, slot, rate);
        if (one < 0)
            return -1;
        sum += one;
    }
    return sum;
}

static void add_sums(struct table *t, const struct top *top)
{
    struct buf text = {0};
    int64_t connections = 0, websockets = 0;

    for (size_t i = 0; i < top->now->seats_n; i++) {
        connections += top->now->seats[i].connections;
        websockets += top->now->seats[i].websockets;
    }
    table_cell(t, STR("all"));
    for (int i = 0; i < 4; i++)
        table_cell(t, STR(" "));
    table_printf(t, "%" PRId64, connections);
    table_printf(t, "%" PRId64, websockets);
    for (size_t i = 0; i < TOP_RATES; i++) {
        buf_clear(&text);
        top_format(&text, sum_of(top, (enum top_rate)i));
        table_cell(t, buf_view(&text));
    }
    buf_free(&text);
}

static size_t screen_lines(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 4)
        return LINES_UNKNOWN;
    return size.ws_row - 1u;
}

static void draw_table(const struct top *top)
{
    struct table t;

    table_init(&t, ARRAY_LEN(headings));
    for (size_t i = 0; i < ARRAY_LEN(headings); i++) {
        t.right[i] = i != 3;
        table_cell(&t, str_of(headings[i]));
    }
    add_sums(&t, top);
    for (size_t i = 0; i < top->now->seats_n; i++)
        add_seat(&t, top, &top->now->seats[i]);
    table_print(&t, top->screen ? screen_lines() : 0, top->ctl->out);
    table_fini(&t);
}

static void draw_json(const struct top *top, const struct top_seat *seat)
{
    struct buf b = {0};

    buf_printf(&b, "{\"slot\":%" PRId64 ",\"worker\":%" PRId64, seat->slot, seat->worker);
    buf_printf(&b, ",\"pid\":%" PRId64 ",\"state\":", seat->pid);
    buf_json(&b, str_of(seat->state));
    buf_printf(&b, ",\"connections\":%" PRId64, seat->connections);
    buf_printf(&b, ",\"websockets\":%" PRId64, seat->websockets);
    for (size_t i = 0; i < TOP_RATES; i++) {
        double rate = is_in_seat(top->now, seat)
                          ? top_rate(top->before, top->now, seat->slot, i)
                          : -1;
        buf_printf(&b, ",\"%s_per_s\":", rate_counters[i]);
        if (rate < 0)
            buf_printf(&b, "null");
        else
            buf_printf(&b, "%.1f", rate);
    }
    buf_char(&b, '}');
    ctl_put_json(top->ctl->out, buf_view(&b));
    buf_free(&b);
}

static void draw(const struct top *top)
{
    if (top->screen)
        fputs(SCREEN_CLEAR, top->ctl->out);
    for (size_t i = 0; top->ctl->opt.json && i < top->now->seats_n; i++)
        draw_json(top, &top->now->seats[i]);
    if (!top->ctl->opt.json)
        draw_table(top);
    fflush(top->ctl->out);
}

/* ---- terminal and signals ---- */

static void on_key(evutil_socket_t fd, short what UNUSED, void *ctx)
{
    struct top *top = ctx;
    char keys[64];
    ssize_t n = read(fd, keys, sizeof(keys));

    top->ctl->client.stop = n <= 0 || memchr(keys, 'q', (size_t)n);
}

static void on_signal(evutil_socket_t signal UNUSED, short what UNUSED, void *ctx)
{
    struct top *top = ctx;

    top->ctl->client.stop = true;
}

/* Keys come one by one and unseen; Ctrl-C stays a signal. */
static void screen_open(struct top *top)
{
    struct termios keys;

    top->screen = !top->ctl->opt.json && !top->ctl->opt.count &&
                  top->ctl->out == stdout && isatty(STDOUT_FILENO) &&
                  tcgetattr(STDIN_FILENO, &top->saved) == 0;
    if (!top->screen)
        return;
    keys = top->saved;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    fputs(SCREEN_OPEN, top->ctl->out);
}

static void screen_close(struct top *top)
{
    if (!top->screen)
        return;
    fputs(SCREEN_CLOSE, top->ctl->out);
    fflush(top->ctl->out);
    tcsetattr(STDIN_FILENO, TCSANOW, &top->saved);
}

static void listen_to_operator(struct top *top)
{
    struct event_base *base = top->ctl->client.base;

    event_assign(&top->key, base, STDIN_FILENO, EV_READ | EV_PERSIST, on_key, top);
    evsignal_assign(&top->interrupt, base, SIGINT, on_signal, top);
    evsignal_assign(&top->terminate, base, SIGTERM, on_signal, top);
    event_add(&top->interrupt, NULL);
    event_add(&top->terminate, NULL);
    if (top->screen)
        event_add(&top->key, NULL);
}

static void ignore_operator(struct top *top)
{
    event_del(&top->key);
    event_del(&top->interrupt);
    event_del(&top->terminate);
}

/* The first sample only gives rates something to start from; on a terminal it is drawn
 * all the same. */
static enum msg_status watch(struct top *top, struct err *e)
{
    uint64_t drawn = 0, wanted = top->ctl->opt.count;
    struct client *client = &top->ctl->client;
    enum msg_status status = END_OK;

    if (top->screen)
        draw(top);
    while (status == END_OK && (!wanted || drawn < wanted)) {
        if (client_wait(client, PERIOD_MS, e) < 0)
            return END_UNAVAILABLE;
        status = client->stop ? END_OK : take_sample(top, e);
        if (client->stop)
            return END_OK;
        if (status == END_OK)
            draw(top);
        drawn++;
    }
    return status;
}

VERB(top)
{
    struct top top = {
        .ctl = ctl, .before = NEW(struct top_sample), .now = NEW(struct top_sample)};
    struct err e = {0};

    (void)cmd, (void)args;
    enum msg_status status = take_sample(&top, &e);
    if (status == END_OK) {
        screen_open(&top);
        listen_to_operator(&top);
        status = watch(&top, &e);
        ignore_operator(&top);
        screen_close(&top);
    }
    free(top.before);
    free(top.now);
    return status == END_OK ? END_OK : ctl_fail(ctl, status, "%s", e.text);
}
