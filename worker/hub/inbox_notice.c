#include "worker/hub/inbox_notice.h"

#include "common/mem.h"
#include "common/strict.h"
#include "common/utf8.h"
#include "common/uuid.h"
#include "worker/hub/inbox.h"

/* ---- whom ---- */

static int check_user(const struct scan_value *v, const char *what, struct str name,
                      struct err *e)
{
    if (v->type != SCAN_STRING)
        return err_set(e, "%s is not a text", what);
    if (name.n == 0)
        return err_set(e, "%s is an empty text", what);
    if (name.n > INBOX_USER_MAX)
        return err_set(e, "%s is longer than %d bytes", what, INBOX_USER_MAX);
    return 0;
}

static bool is_among(const struct notice *n, struct str name)
{
    for (size_t i = 0; i < n->users_n; i++)
        if (str_eq(n->users[i], name))
            return true;
    return false;
}

/* The names lie in one buffer, which has room for all of them: views of it stay. */
static int add_user(struct notice *n, const struct scan_value *v, const char *what,
                    struct err *e)
{
    struct buf scratch = {0};
    struct str name = v->type == SCAN_STRING ? scan_string(v, &scratch) : STR_NONE;
    int rc = check_user(v, what, name, e);
    if (rc == 0 && !is_among(n, name)) {
        n->users[n->users_n++] = (struct str){n->names.p + n->names.n, name.n};
        buf_str(&n->names, name);
    }
    buf_free(&scratch);
    return rc;
}

static size_t count_elements(struct str array)
{
    struct scan_value v;
    size_t pos = 0, n = 0;
    while (scan_next(array, &pos, &v))
        n++;
    return n;
}

static int add_users(struct notice *n, const struct scan_value *list, struct err *e)
{
    struct scan_value v;
    size_t pos = 0;
    if (list->type != SCAN_ARRAY)
        return err_set(e, "`users` is not a list of texts");
    size_t many = count_elements(list->raw);
    if (many == 0 || many > NOTICE_USERS_MAX)
        return err_set(e, "`users` holds %zu names; it takes 1 to %d", many,
                       NOTICE_USERS_MAX);
    n->users = mem_new(many * sizeof(*n->users));
    buf_reserve(&n->names, list->raw.n);
    while (scan_next(list->raw, &pos, &v))
        if (add_user(n, &v, "an element of `users`", e) != 0)
            return -1;
    return 0;
}

static int read_users(struct notice *n, const struct scan_value *user,
                      const struct scan_value *users, const struct scan_value *broadcast,
                      struct err *e)
{
    int given = (user->type != SCAN_BAD) + (users->type != SCAN_BAD) +
                (broadcast->type != SCAN_BAD);
    if (given != 1)
        return err_set(e, "it must have exactly one of `user`, `users`, `broadcast`");
    if (broadcast->type != SCAN_BAD)
        return broadcast->type == SCAN_TRUE ? 0 : err_set(e, "`broadcast` is not true");
    if (users->type != SCAN_BAD)
        return add_users(n, users, e);
    n->users = NEW(struct str);
    buf_reserve(&n->names, user->raw.n);
    return add_user(n, user, "`user`", e);
}

/* ---- what ---- */

static size_t count_characters(struct str utf8)
{
    size_t n = 0;
    for (size_t i = 0; i < utf8.n; i++)
        n += ((uint8_t)utf8.p[i] & 0xC0) != 0x80;
    return n;
}

static int check_id(struct str id, const char *what, struct err *e)
{
    size_t characters = count_characters(id);
    if (!utf8_ok(id.p, id.n))
        return err_set(e, "%s is not UTF-8", what);
    if (characters == 0 || characters > INBOX_ID_MAX)
        return err_set(e, "%s has %zu characters; it takes 1 to %d", what, characters,
                       INBOX_ID_MAX);
    return 0;
}

static void make_id(struct buf *out)
{
    struct uuid id;
    char text[UUID_TEXT + 1];
    uuid_make(&id);
    uuid_text(&id, text);
    buf_str(out, str_of(text));
}

static int read_id(struct notice *n, const struct scan_value *v, struct str own_id,
                   struct err *e)
{
    struct buf scratch = {0};
    if (v->type == SCAN_STRING)
        buf_str(&n->id, scan_string(v, &scratch));
    buf_free(&scratch);
    if (v->type == SCAN_STRING)
        return check_id(buf_view(&n->id), "`notification.id`", e);
    if (v->type != SCAN_BAD)
        return err_set(e, "`notification.id` is not a text");
    if (own_id.p)
        buf_str(&n->id, own_id);
    else
        make_id(&n->id);
    return check_id(buf_view(&n->id), "`id`", e);
}

static void take_member(struct notice *n, const struct scan_value *name,
                        const struct scan_value *value)
{
    if (scan_string_is(name, "read") || scan_string_is(name, "created_at") ||
        scan_string_is(name, "id"))
        return; /* the inbox says that */
    buf_char(&n->members, ',');
    buf_str(&n->members, name->raw);
    buf_char(&n->members, ':');
    buf_str(&n->members, value->raw);
}

/* In an answer of the inbox it stands deeper than here, and has to be JSON there, too. */
static bool is_flat_enough(struct str object)
{
    struct buf b = {0};
    buf_str(&b, STR("[["));
    buf_str(&b, object);
    buf_str(&b, STR("]]"));
    bool is_good = scan_text(buf_view(&b), NULL, 0) == SCAN_ARRAY;
    buf_free(&b);
    return is_good;
}

static int read_notification(struct notice *n, const struct scan_value *v,
                             struct str own_id, struct err *e)
{
    struct scan_member id = {.name = "id"};
    struct scan_value name, value;
    size_t pos = 0;
    if (v->type != SCAN_OBJECT)
        return err_set(e, "`notification` is not an object");
    scan_object(v->raw, &id, 1);
    if (read_id(n, &id.value, own_id, e) != 0)
        return -1;
    while (scan_next_member(v->raw, &pos, &name, &value))
        take_member(n, &name, &value);
    if (n->members.n > NOTICE_MAX)
        return err_set(e, "`notification` is longer than %d bytes", NOTICE_MAX);
    if (!is_flat_enough(v->raw))
        return err_set(e, "`notification` is nested too deeply");
    return 0;
}

int notice_read(struct notice *n, struct str text, struct str own_id, struct err *e)
{
    enum { USER, USERS, BROADCAST, NOTIFICATION, MEMBERS };
    struct scan_member m[MEMBERS] = {
        {"user"}, {"users"}, {"broadcast"}, {"notification"}};
    struct str object;
    *n = (struct notice){0};
    if (strict_read(text, m, MEMBERS, &object, e) == 0 &&
        read_users(n, &m[USER].value, &m[USERS].value, &m[BROADCAST].value, e) == 0 &&
        read_notification(n, &m[NOTIFICATION].value, own_id, e) == 0)
        return 0;
    notice_fini(n);
    return -1;
}

void notice_fini(struct notice *n)
{
    free(n->users);
    buf_free(&n->names);
    buf_free(&n->id);
    buf_free(&n->members);
    *n = (struct notice){0};
}
