/* events_auth: from `authenticate` to `connected` (PROTOCOL A3, A7, A10, A12). */
#include "worker/protocols/events_client.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define ROOM "events"

/* ---- refusals: the error event first, then the Close, nothing after it ---- */

static void turn_away(struct conn *c, const char *message, unsigned code,
                      const char *reason)
{
    if (message)
        events_error(c, message);
    session_close(c, code, reason);
    events_pending_end(c);
}

static void refused(struct conn *c)
{
    COUNT(c->net->counters, auth_refused);
    turn_away(c, "Authentication failed", 4003, "Authentication failed");
}

static void threw(struct conn *c)
{
    COUNT(c->net->counters, auth_errors);
    turn_away(c, "Authentication error", 4003, "Authentication failed");
}

static void not_encrypted(struct conn *c, const char *message)
{
    COUNT(c->net->counters, encryption_refused);
    turn_away(c, message, 4004, "Encryption required");
}

/* ---- the last step: reachable, confirmed, connected ---- */

static void say_connected(struct conn *c, struct events_pending *p)
{
    char id[UUID_TEXT + 1];
    struct buf b = {0};
    events_id(c, id);
    buf_printf(&b, "{\"event\":\"connected\",\"data\":{\"id\":\"%s\"", id);
    if (p->has_user) {
        buf_str(&b, STR(",\"userId\":"));
        buf_json(&b, buf_view(&p->user));
    }
    buf_str(&b, STR(",\"time\":\""));
    clock_format(&b, clock_wall_ms());
    buf_char(&b, '"');
    if (events_of(c)->seal) {
        buf_str(&b, STR(",\"serverPublicKey\":"));
        buf_json(&b, buf_view(&p->server_key));
        buf_str(&b, STR(",\"salt\":"));
        buf_json(&b, buf_view(&p->salt));
    }
    buf_str(&b, STR("}}"));
    session_reply_text(
        c, buf_view(&b)); /* in clear: it holds what is needed to read the rest */
    buf_free(&b);
}

static void on_confirmed(struct hub_wait *w)
{
    struct events_pending *p = container_of(w, struct events_pending, wait);
    struct conn *c = p->c;
    struct events_client *k = events_of(c);
    p->waits = false;
    if (events_is_over(c))
        return;
    say_connected(c, p);
    k->state = EVENTS_AUTHENTICATED;
    c->st.flags &= ~(uint32_t)CONN_MUTED;
    if (k->seal)
        c->st.flags |= CONN_ENCRYPTED;
    free(k->origin);
    k->origin = NULL;
    COUNT(c->net->counters, auth_accepted);
    events_pending_done(c);
    conn_due(c, net_now(c->net));
    events_tell_connected(c);
}

static void join_defaults(struct conn *c)
{
    const struct conf_strs *rooms = &events_conf(c)->default_rooms;
    for (size_t i = 0; i < rooms->n; i++)
        hub_join(endpoint_of(c)->services->hub, c, rooms->v[i]);
}

static void reachable(struct conn *c)
{
    struct events_client *k = events_of(c);
    struct events_pending *p = k->pending;
    struct hub *hub = endpoint_of(c)->services->hub;
    k->empty_user = p->has_user && p->user.n == 0;
    k->metadata = p->metadata;
    p->metadata = NULL;
    c->st.flags |= CONN_MUTED;
    hub_register(hub, c, p->has_user ? buf_view(&p->user) : STR_NONE);
    join_defaults(c);
    if (p->rooms.n)
        events_join_array(c, buf_view(&p->rooms));
    conn_pause(c); /* what comes behind counts as authenticated, once we are */
    p->waits = true;
    hub_await(hub, &p->wait, on_confirmed);
}

/* ---- what a hook said ---- */

/* The answer as JSON, NULL when it is not. *no: the back end refuses (PROTOCOL A10). */
static struct json_object *read_answer(int status, struct str body, bool *no)
{
    struct err e = {0};
    struct json_object *answer = status == 200 ? json_read(body, &e) : NULL;
    bool is_null = status == 200 && !answer && !e.text[0];
    bool is_false = json_object_is_type(answer, json_type_boolean) &&
                    !json_object_get_boolean(answer);
    *no = is_null || (answer && is_false) || status == 401 || status == 403;
    return answer;
}

static void put_user(const struct events_pending *p, struct buf *body)
{
    if (!p->has_user)
        return;
    buf_str(body, STR(",\"userId\":"));
    buf_json(body, buf_view(&p->user));
}

/* ---- encryption ---- */

static void with_key(struct conn *c, struct seal *seal)
{
    events_of(c)->seal = seal;
    reachable(c);
}

static void on_handshake(void *ctx, int status, struct str body, const char *why)
{
    struct events_pending *p = ctx;
    struct conn *c = p->c;
    struct err e = {0};
    struct seal *seal = NULL;
    bool no;
    p->call = NULL;
    if (events_is_over(c))
        return;
    struct json_object *answer = read_answer(status, body, &no);
    struct str server_key = json_get_str(answer, "serverPublicKey");
    struct str salt = json_get_str(answer, "salt"),
               key = json_get_str(answer, "sessionKey");
    if (server_key.p && salt.p && key.p && (seal = seal_of_key(key, &e))) {
        buf_str(&p->server_key, server_key);
        buf_str(&p->salt, salt);
        with_key(c, seal);
    } else if (no) {
        not_encrypted(c, "Encryption handshake failed");
    } else {
        log_debug("handshake hook %s status=%d: %s", conn_esc(c), status,
                  why ? why : "not a handshake answer");
        threw(c);
    }
    json_object_put(answer);
}

static void ask_handshake(struct conn *c)
{
    struct events_pending *p = events_of(c)->pending;
    struct buf body = {0};
    events_hook_body(c, "handshake", &body);
    put_user(p, &body);
    buf_str(&body, STR(",\"data\":"));
    buf_str(&body, buf_view(&p->text));
    buf_char(&body, '}');
    events_hook_ask(p, p->set->c->hooks.handshake, buf_view(&body), on_handshake);
    buf_free(&body);
}

static void agree(struct conn *c)
{
    struct events_pending *p = events_of(c)->pending;
    struct scan_member wanted[] = {{.name = "publicKey"}};
    struct buf scratch = {0};
    struct err e = {0};
    if (scan_value_of(buf_view(&p->text)).type == SCAN_OBJECT)
        scan_object(buf_view(&p->text), wanted, 1);
    if (!scan_is_truthy(&wanted[0].value)) {
        not_encrypted(c, "Encryption handshake failed");
        return;
    }
    struct seal *seal = NULL;
    if (wanted[0].value.type == SCAN_STRING)
        seal = seal_agree(scan_string(&wanted[0].value, &scratch), &p->server_key,
                          &p->salt, &e);
    buf_free(&scratch);
    if (seal)
        with_key(c, seal);
    else
        threw(c);
}

static void accepted(struct conn *c)
{
    const struct conf_endpoint *conf = events_of(c)->pending->set->c;
    if (!conf->require_encryption)
        reachable(c);
    else if (conf->encryption == ENCRYPTION_BUILTIN)
        agree(c);
    else if (conf->encryption == ENCRYPTION_HOOK && conf->hooks.handshake.n)
        ask_handshake(c);
    else
        not_encrypted(c, NULL);
}

/* ---- credentials ---- */

static void take_user(struct events_pending *p, struct json_object *answer)
{
    struct json_object *user = json_get(answer, "userId");
    if (!user)
        return;
    bool is_text = json_object_is_type(user, json_type_string);
    buf_clear(&p->user);
    p->has_user = true;
    buf_str(&p->user, is_text ? json_get_str(answer, "userId")
                              : str_of(json_object_get_string(user))); /* 5 becomes "5" */
}

static void take_answer(struct events_pending *p, struct json_object *answer)
{
    struct json_object *metadata = json_get(answer, "metadata"),
                       *rooms = json_get(answer, "rooms");
    take_user(p, answer);
    if (metadata)
        p->metadata = mem_strdup(json_object_to_json_string_ext(
            metadata, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    if (json_object_is_type(rooms, json_type_array))
        buf_str(&p->rooms,
                str_of(json_object_to_json_string_ext(
                    rooms, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)));
}

/* PROTOCOL A10, row `authenticate`. */
static void on_answer(void *ctx, int status, struct str body, const char *why)
{
    struct events_pending *p = ctx;
    struct conn *c = p->c;
    bool no;
    p->call = NULL;
    if (events_is_over(c))
        return;
    struct json_object *answer = read_answer(status, body, &no);
    if (answer && json_object_is_type(answer, json_type_object)) {
        take_answer(p, answer);
        accepted(c);
    } else if (no || status == 204) {
        refused(c);
    } else {
        log_debug("authenticate hook %s status=%d: %s", conn_esc(c), status,
                  why ? why : "not an object");
        threw(c);
    }
    json_object_put(answer);
}

static void ask_hook(struct conn *c)
{
    struct events_pending *p = events_of(c)->pending;
    const char *origin = events_of(c)->origin;
    struct buf body = {0};
    events_hook_body(c, "authenticate", &body);
    buf_str(&body, STR(",\"endpoint\":"));
    buf_json(&body, p->set->c->path);
    buf_str(&body, STR(",\"remoteAddress\":\""));
    conn_address(c, &body, false);
    buf_str(&body, STR("\",\"origin\":"));
    if (origin)
        buf_json(&body, str_of(origin));
    else
        buf_str(&body, STR("null"));
    put_user(p, &body);
    buf_str(&body, STR(",\"data\":"));
    buf_str(&body, buf_view(&p->text));
    buf_char(&body, '}');
    events_hook_ask(p, p->set->c->hooks.authenticate, buf_view(&body), on_answer);
    buf_free(&body);
}

/* The token of the credentials {type, token, publicKey?}; p NULL: none. */
static struct str token_of(struct str data, struct buf *scratch)
{
    struct scan_member wanted[] = {{.name = "token"}};
    if (scan_value_of(data).type != SCAN_OBJECT)
        return STR_NONE;
    scan_object(data, wanted, 1);
    return wanted[0].value.type == SCAN_STRING ? scan_string(&wanted[0].value, scratch)
                                               : STR_NONE;
}

/* A method that needs nobody else. false: the client has been turned away. */
static bool check_here(struct conn *c, struct events_pending *p)
{
    struct buf scratch = {0};
    struct err why = {0};
    struct auth_identity who = {0};
    struct str token = token_of(buf_view(&p->text), &scratch);
    enum auth_verdict v =
        auth_check(p->set->auth, token, clock_wall_ms() / 1000, &who, &why);
    if (scratch.p)
        explicit_bzero(scratch.p, scratch.cap);
    buf_free(&scratch);
    buf_str(&p->user, buf_view(&who.user));
    p->has_user = who.has_user;
    events_of(c)->expires_s = who.expires_s;
    auth_identity_fini(&who);
    if (v == AUTH_ACCEPTED)
        return true;
    log_debug("refused %s: %s", conn_esc(c), why.text);
    refused(c);
    return false;
}

void events_authenticate(struct conn *c, const struct events_message *m)
{
    struct events_client *k = events_of(c);
    struct events_pending *p = events_pending_new(c);
    bool none = m->data.type == SCAN_BAD || m->data.type == SCAN_NULL;
    k->state = EVENTS_AUTHENTICATING;
    k->phase_ms = net_now(c->net);
    buf_str(&p->text, none ? STR("{}") : m->data.raw);
    wheel_set(&c->net->wheel, &c->timer,
              0); /* the initial timer is over; a later one counts */
    conn_due(c,
             k->phase_ms + MIN(3 * events_conf(c)->auth_timeout, c->net->ping_after_ms));
    if (p->set->auth && !check_here(c, p))
        return;
    if (p->set->c->hooks.authenticate.n)
        ask_hook(c);
    else
        accepted(c);
}
