#include "supervisor/ctl/verbs.h"

#include "common/fd.h"
#include "common/json.h"
#include "common/log.h"
#include "common/scan.h"
#include "common/uuid.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/show.h"

#include <unistd.h>

#define SLOT_MAX 255

/* Conditions by their word on the command line and their name in the filter. */
static const struct {
    const char *word, *member;
} conditions[] = {
    {"user", "user"},       {"room", "room"}, {"endpoint", "endpoint"},
    {"address", "address"}, {"client", "id"},
};

static void put_filter(struct buf *b, const struct args *args)
{
    buf_char(b, '{');
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        const char *value = args_get(args, conditions[i].word);
        if (!value)
            continue;
        buf_printf(b, "%s\"%s\":", b->n > 1 ? "," : "", conditions[i].member);
        buf_json(b, str_of(value));
    }
    buf_char(b, '}');
}

/* What travels must be JSON and fit a message. */
static int check_tail(struct buf *tail, struct err *e)
{
    if (tail->n > MSG_TAIL_MAX)
        return err_set(e, "too long: %zu bytes, at most %d fit", tail->n, MSG_TAIL_MAX);
    if (scan_text(buf_view(tail), NULL, 0) == SCAN_BAD)
        return err_set(e, "not valid UTF-8");
    return 0;
}

static void ignore_row(void *ctx UNUSED, struct str row UNUSED) {}

/* A command that is answered by its END alone. */
static int order(struct ctl *ctl, const struct command *cmd, void *fixed, struct str tail)
{
    struct err e = {0};
    uint64_t count = 0;
    enum msg_status status =
        ctl_ask(ctl, cmd->message, fixed, tail, ignore_row, NULL, &count, &e);

    if (status != END_OK)
        return ctl_fail(ctl, status, "%s", e.text);
    show_done(cmd->show, ctl->out, ctl->opt.json, count);
    return END_OK;
}

static int ask_rows(struct ctl *ctl, const struct command *cmd, struct str filter,
                    uint64_t limit)
{
    struct err e = {0};
    struct shown s;
    uint64_t count = 0;
    /* A sum over workers is right only when each of them tells all. */
    bool cut_there = cmd->show->form != SHOW_TALLY;
    struct msg_query q = {.what = cmd->show->what,
                          .limit = cut_there ? (uint32_t)limit : 0};

    show_init(&s, cmd->show, ctl->out, ctl->opt.json, limit);
    enum msg_status status =
        ctl_ask(ctl, cmd->message, &q, filter, show_row, &s, &count, &e);
    if (status == END_OK || status == END_PARTIAL)
        show_finish(&s);
    show_fini(&s);
    return status == END_OK ? END_OK : ctl_fail(ctl, status, "%s", e.text);
}

VERB(rows)
{
    const char *text = args_get(args, "limit");
    struct buf filter = {0};
    struct err e = {0};
    uint64_t limit = 0;
    int status;

    put_filter(&filter, args);
    if (text && (!str_to_u64(str_of(text), UINT32_MAX, &limit) || limit == 0))
        status =
            ctl_fail(ctl, END_USAGE, "limit wants a whole number from 1 to %u, not %s",
                     UINT32_MAX, log_esc(str_of(text)));
    else if (check_tail(&filter, &e) < 0)
        status = ctl_fail(ctl, END_USAGE, "the conditions are %s", e.text);
    else
        status = ask_rows(ctl, cmd, buf_view(&filter), limit);
    buf_free(&filter);
    return status;
}

/* DATA as it stands, or all of standard input for "-". */
static int read_data(const char *arg, struct buf *data, struct err *e)
{
    if (!str_is(str_of(arg), "-")) {
        buf_str(data, str_of(arg));
        return 0;
    }
    while (data->n <= MSG_TAIL_MAX) {
        ssize_t n = read(STDIN_FILENO, buf_reserve(data, 65536), 65536);
        if (n < 0 && errno != EINTR)
            return err_errno(e, "cannot read standard input");
        if (n == 0)
            return 0;
        data->n += (size_t)MAX(n, 0);
    }
    return err_set(e, "DATA is longer than %d bytes", MSG_TAIL_MAX);
}

static int put_data(struct buf *b, const char *arg, struct err *e)
{
    struct buf data = {0};
    int rc = arg ? read_data(arg, &data, e) : 0;

    if (rc == 0 && arg && scan_text(buf_view(&data), NULL, 0) == SCAN_BAD) {
        rc = err_set(e, "DATA is not JSON: %s (a text needs quotes, as in '\"hello\"')",
                     log_esc(buf_view(&data)));
    } else if (rc == 0 && arg) {
        buf_printf(b, ",\"data\":");
        buf_str(b, buf_view(&data));
    }
    buf_free(&data);
    return rc;
}

/* {"to":{"room":…}|{"user":…}|{"client":…}|{"broadcast":true},"event":…,"data":…} */
static int put_message(struct buf *b, const struct args *args, struct err *e)
{
    static const char *const kinds[] = {"room", "user", "client"};

    buf_printf(b, "{\"to\":{");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const char *target = args_get(args, kinds[i]);
        if (!target)
            continue;
        buf_printf(b, "\"%s\":", kinds[i]);
        buf_json(b, str_of(target));
    }
    if (args_get(args, "all"))
        buf_printf(b, "\"broadcast\":true");
    buf_printf(b, "},\"event\":");
    buf_json(b, str_of(args_get(args, "EVENT")));
    if (put_data(b, args_get(args, "DATA"), e) < 0)
        return -1;
    buf_char(b, '}');
    return check_tail(b, e) < 0 ? err_add(e, "the message is") : 0;
}

VERB(send)
{
    struct buf tail = {0};
    struct err e = {0};
    int status;

    if (put_message(&tail, args, &e) < 0)
        status = ctl_fail(ctl, END_USAGE, "%s", e.text);
    else
        status = order(ctl, cmd, &(struct msg_id){0}, buf_view(&tail));
    buf_free(&tail);
    return status;
}

/* The object with an id in front. */
static void put_with_id(struct buf *b, struct str object)
{
    struct scan_value name, value;
    struct uuid uuid;
    char text[UUID_TEXT + 1];
    bool is_empty = !scan_next_member(object, &(size_t){0}, &name, &value);

    uuid_make(&uuid);
    uuid_text(&uuid, text);
    buf_printf(b, "{\"id\":\"%s\"%s", text, is_empty ? "" : ",");
    buf_put(b, object.p + 1, object.n - 1);
}

/* A notification without an id is given one here: should the broker ask a second worker
 * because the first one died, nobody gets it twice. */
static int put_notification(struct buf *b, const char *arg, struct err *e)
{
    struct scan_member id = {.name = "id"};
    struct buf data = {0};
    int rc = read_data(arg, &data, e);

    if (rc == 0 && scan_text(buf_view(&data), &id, 1) != SCAN_OBJECT)
        rc =
            err_set(e, "NOTIFICATION is not a JSON object: %s", log_esc(buf_view(&data)));
    else if (rc == 0 && id.value.type == SCAN_BAD)
        put_with_id(b, scan_value_of(buf_view(&data)).raw);
    else if (rc == 0)
        buf_str(b, scan_value_of(buf_view(&data)).raw);
    buf_free(&data);
    return rc;
}

static int put_notice(struct buf *b, const struct args *args, struct err *e)
{
    if (args_get(args, "--broadcast")) {
        buf_str(b, STR("{\"broadcast\":true"));
    } else {
        buf_str(b, STR("{\"user\":"));
        buf_json(b, str_of(args_get(args, "USER")));
    }
    buf_str(b, STR(",\"notification\":"));
    if (put_notification(b, args_get(args, "NOTIFICATION"), e) < 0)
        return -1;
    buf_char(b, '}');
    return check_tail(b, e) < 0 ? err_add(e, "user and notification are") : 0;
}

/* {"ids":{<user>:<id>}} */
static void print_id(void *ctx, struct str row)
{
    struct ctl *ctl = ctx;
    struct scan_member ids = {.name = "ids"};
    struct scan_value user, id = {0};
    struct buf json = {0}, scratch = {0}, clean = {0};

    if (scan_text(row, &ids, 1) != SCAN_OBJECT || ids.value.type != SCAN_OBJECT ||
        !scan_next_member(ids.value.raw, &(size_t){0}, &user, &id))
        return;
    buf_printf(&json, "{\"ok\":true,\"id\":" STR_FMT "}", STR_ARG(id.raw));
    buf_escape(&clean, scan_string(&id, &scratch), 1024);
    if (ctl->opt.json)
        ctl_put_json(ctl->out, buf_view(&json));
    else
        fprintf(ctl->out, "%s\n", buf_cstr(&clean));
    buf_free(&json);
    buf_free(&scratch);
    buf_free(&clean);
}

VERB(notify)
{
    struct buf tail = {0};
    struct err e = {0};
    uint64_t count;
    enum msg_status status = END_USAGE;

    if (put_notice(&tail, args, &e) == 0)
        status = ctl_ask(ctl, cmd->message, &(struct msg_id){0}, buf_view(&tail),
                         print_id, ctl, &count, &e);
    buf_free(&tail);
    return status == END_OK ? END_OK : ctl_fail(ctl, status, "%s", e.text);
}

/* 30s, 5m, 1h; the broker says how much is too much. */
static int read_ttl(const char *text, uint64_t *seconds, struct err *e)
{
    static const struct {
        char unit;
        unsigned seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
    struct str number = str_of(text);

    for (size_t i = 0; number.n > 0 && i < ARRAY_LEN(units); i++) {
        if (number.p[number.n - 1] != units[i].unit)
            continue;
        number.n--;
        if (str_to_u64(number, 1000000, seconds) && *seconds > 0) {
            *seconds *= units[i].seconds;
            return 0;
        }
        number.n++;
    }
    return err_set(e, "--ttl wants a time such as 30s, 5m or 1h, not %s",
                   log_esc(str_of(text)));
}

static int put_ticket_order(struct buf *b, const struct args *args, struct err *e)
{
    const char *endpoint = args_get(args, "--endpoint"), *ttl = args_get(args, "--ttl");
    uint64_t seconds;

    if (!endpoint)
        return err_set(e, "ticket wants --endpoint PATH, as in heliod.yaml");
    buf_str(b, STR("{\"user\":"));
    buf_json(b, str_of(args_get(args, "USER")));
    buf_str(b, STR(",\"endpoint\":"));
    buf_json(b, str_of(endpoint));
    if (ttl && read_ttl(ttl, &seconds, e) < 0)
        return -1;
    if (ttl)
        buf_printf(b, ",\"ttl\":%" PRIu64, seconds);
    buf_char(b, '}');
    return check_tail(b, e) < 0 ? err_add(e, "user and endpoint are") : 0;
}

static void print_ticket(void *ctx, struct str row)
{
    struct ctl *ctl = ctx;
    struct err e = {0};
    struct buf json = {0}, clean = {0};
    struct json_object *o = json_read(row, &e);
    struct str ticket = json_get_str(o, "ticket");

    buf_str(&json, STR("{\"ok\":true,\"ticket\":"));
    buf_json(&json, ticket);
    buf_char(&json, '}');
    buf_escape(&clean, ticket, 1024);
    if (ctl->opt.json)
        ctl_put_json(ctl->out, buf_view(&json));
    else
        fprintf(ctl->out, "%s\n", buf_cstr(&clean));
    json_object_put(o);
    buf_free(&json);
    buf_free(&clean);
}

VERB(ticket)
{
    struct buf tail = {0};
    struct err e = {0};
    uint64_t count;
    enum msg_status status = END_USAGE;

    if (put_ticket_order(&tail, args, &e) == 0)
        status = ctl_ask(ctl, cmd->message, &(struct msg_id){0}, buf_view(&tail),
                         print_ticket, ctl, &count, &e);
    buf_free(&tail);
    return status == END_OK ? END_OK : ctl_fail(ctl, status, "%s", e.text);
}

VERB(kick)
{
    struct buf filter = {0};
    struct err e = {0};
    int status;

    put_filter(&filter, args);
    if (check_tail(&filter, &e) < 0)
        status = ctl_fail(ctl, END_USAGE, "the conditions are %s", e.text);
    else
        status = order(ctl, cmd, &(struct msg_id){0}, buf_view(&filter));
    buf_free(&filter);
    return status;
}

VERB(plain)
{
    (void)args;
    return order(ctl, cmd, &(struct msg_id){0}, STR_NONE);
}

VERB(drain)
{
    const char *text = args_get(args, "SLOT");
    uint64_t slot;

    if (!str_to_u64(str_of(text), SLOT_MAX, &slot))
        return ctl_fail(ctl, END_USAGE, "SLOT is a number from 0 to %d, not %s", SLOT_MAX,
                        log_esc(str_of(text)));
    return order(ctl, cmd, &(struct msg_slot){.slot = (uint32_t)slot}, STR_NONE);
}

VERB(stop)
{
    bool now = args_get(args, "now") != NULL;

    return order(ctl, cmd, &(struct msg_flag_id){.on = now}, STR_NONE);
}

VERB(level)
{
    for (size_t i = 0; i < args->n; i++) {
        enum log_level level;
        if (log_level_parse(args->v[i].key, &level))
            return order(ctl, cmd, &(struct msg_level){.level = level}, STR_NONE);
    }
    BUG_ON(true); /* the pattern lists the levels */
    return END_USAGE;
}
