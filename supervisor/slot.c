#include "supervisor/slot.h"

#define MAGIC 0x544f4c53u /* "SLOT" */

static const char *const slot_names[SLOT_STATES_N] = {
    "empty", "starting", "running", "backoff", "throttled",
};
static const char *const child_names[CHILD_STATES_N] = {
    "free", "starting", "running", "retiring", "stopping",
};

const char *slot_state_name(uint32_t state)
{
    return state < SLOT_STATES_N ? slot_names[state] : "?";
}

const char *child_state_name(uint32_t state)
{
    return state < CHILD_STATES_N ? child_names[state] : "?";
}

static void clear_slot(struct slot *s)
{
    *s = (struct slot){.child = CHILD_NONE, .successor = CHILD_NONE, .counters_fd = -1};
}

static void clear_child(struct child *c)
{
    *c = (struct child){.chan_fd = -1, .counters_fd = -1};
}

void slot_table_init(struct slot_table *t)
{
    t->slots_n = 0;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        clear_slot(&t->slots[i]);
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        clear_child(&t->children[i]);
}

void slot_table_resize(struct slot_table *t, unsigned n, int64_t now_ms)
{
    BUG_ON(n > SLOTS_MAX);
    for (unsigned i = 0; i < n; i++) {
        struct slot *s = &t->slots[i];
        if (s->state != SLOT_EMPTY)
            continue;
        s->state = SLOT_BACKOFF;
        s->failures = 0;
        s->due_ms = now_ms;
    }
    t->slots_n = n;
}

static uint32_t free_child(const struct slot_table *t)
{
    for (uint32_t i = 0; i < CHILDREN_MAX; i++)
        if (t->children[i].state == CHILD_FREE)
            return i;
    return CHILD_NONE;
}

uint32_t slot_seat(struct slot_table *t, unsigned slot, int64_t now_ms)
{
    struct slot *s = &t->slots[slot];
    uint32_t index = free_child(t);
    bool is_replacing = s->child != CHILD_NONE;
    if (index == CHILD_NONE || s->state == SLOT_EMPTY || s->successor != CHILD_NONE)
        return CHILD_NONE;
    if (is_replacing && s->state != SLOT_RUNNING)
        return CHILD_NONE;
    struct child *c = &t->children[index];
    clear_child(c);
    c->state = CHILD_STARTING;
    c->slot = slot;
    c->worker = ++s->lives;
    c->started_ms = now_ms;
    if (is_replacing) {
        s->successor = index;
        return index;
    }
    s->child = index;
    if (s->state !=
        SLOT_THROTTLED) /* stays throttled until READY: its listeners are lent */
        s->state = SLOT_STARTING;
    return index;
}

uint32_t slot_ready(struct slot_table *t, uint32_t child, int64_t now_ms)
{
    struct child *c = &t->children[child];
    struct slot *s = &t->slots[c->slot];
    uint32_t old = CHILD_NONE;
    BUG_ON(c->state != CHILD_STARTING);
    c->state = CHILD_RUNNING;
    c->ready_ms = now_ms;
    if (s->successor == child) {
        old = s->child;
        t->children[old].state = CHILD_RETIRING;
        s->child = child;
        s->successor = CHILD_NONE;
    }
    s->state = SLOT_RUNNING;
    return old;
}

uint32_t slot_retire(struct slot_table *t, unsigned slot)
{
    struct slot *s = &t->slots[slot];
    uint32_t child = s->child;
    if (child != CHILD_NONE)
        t->children[child].state = CHILD_RETIRING;
    if (s->successor != CHILD_NONE)
        t->children[s->successor].state = CHILD_STOPPING;
    s->child = s->successor = CHILD_NONE;
    s->state = SLOT_EMPTY;
    return child;
}

int64_t slot_backoff_ms(unsigned failures)
{
    if (failures == 0)
        return 0;
    if (failures > 16)
        return SLOT_BACKOFF_MAX_MS;
    return MIN((int64_t)SLOT_BACKOFF_MIN_MS << (failures - 1),
               (int64_t)SLOT_BACKOFF_MAX_MS);
}

/* The seat is empty against our will: when does it get its next worker? */
static void plan_next(struct slot *s, bool healthy, bool planned, int64_t now_ms,
                      struct slot_loss *loss)
{
    if (healthy || planned)
        s->failures = 0;
    else
        s->failures++;
    if (!planned)
        s->restarts++;
    loss->delay_ms = slot_backoff_ms(s->failures);
    s->due_ms = now_ms + loss->delay_ms;
    bool was_throttled = s->state == SLOT_THROTTLED;
    s->state = s->failures >= SLOT_THROTTLE_AT ? SLOT_THROTTLED : SLOT_BACKOFF;
    loss->throttled = s->state == SLOT_THROTTLED && !was_throttled;
}

struct slot_loss slot_died(struct slot_table *t, uint32_t child, bool planned,
                           int64_t now_ms)
{
    struct child *c = &t->children[child];
    struct slot *s = &t->slots[c->slot];
    struct slot_loss loss = {.was_serving = c->ready_ms != 0 && !planned};
    bool healthy = c->ready_ms && now_ms - c->ready_ms >= SLOT_HEALTHY_MS;
    if (s->child == child) {
        loss.was_seated = true;
        s->child = CHILD_NONE;
        plan_next(s, healthy, planned, now_ms, &loss);
        if (s->successor != CHILD_NONE) { /* its replacement is on the way already */
            s->child = s->successor;
            s->successor = CHILD_NONE;
            s->state = SLOT_STARTING;
            loss.throttled = false;
        }
    } else if (s->successor == child) {
        loss.was_successor = true;
        s->successor = CHILD_NONE;
    }
    clear_child(c);
    return loss;
}

bool slot_is_due(const struct slot_table *t, unsigned slot, int64_t now_ms)
{
    const struct slot *s = &t->slots[slot];
    return (s->state == SLOT_BACKOFF || s->state == SLOT_THROTTLED) &&
           s->child == CHILD_NONE && s->due_ms <= now_ms;
}

int64_t slot_next_due(const struct slot_table *t)
{
    int64_t next = INT64_MAX;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (slot_is_due(t, i, INT64_MAX))
            next = MIN(next, t->slots[i].due_ms);
    return next;
}

uint32_t slot_child_by_pid(const struct slot_table *t, pid_t pid)
{
    CHILDREN_EACH(i, t)
    if (t->children[i].pid == pid)
        return i;
    return CHILD_NONE;
}

unsigned slot_count(const struct slot_table *t, enum slot_state state)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        n += t->slots[i].state == (uint32_t)state;
    return n;
}

/* ── wire: magic, version, slots_n; per slot in use its index and fields; -1; children
 * likewise; -1. Every field travels as a 64-bit little-endian number. ── */

static void put(struct buf *out, int64_t v)
{
    uint64_t u = (uint64_t)v;
    char *p = buf_reserve(out, 8);
    for (int i = 0; i < 8; i++)
        p[i] = (char)(u >> (8 * i));
    out->n += 8;
}

static bool take(struct str *in, int64_t *v)
{
    if (in->n < 8)
        return false;
    uint64_t u = 0;
    for (int i = 7; i >= 0; i--)
        u = u << 8 | (uint8_t)in->p[i];
    *v = (int64_t)u;
    *in = (struct str){in->p + 8, in->n - 8};
    return true;
}

static bool slot_is_used(const struct slot *s)
{
    return s->state != SLOT_EMPTY || s->lives || s->counters_fd >= 0;
}

static void put_slot(struct buf *out, const struct slot *s)
{
#define FIELD(type, name) put(out, (int64_t)s->name);
    SLOT_FIELDS(FIELD)
#undef FIELD
}

static void put_child(struct buf *out, const struct child *c)
{
#define FIELD(type, name) put(out, (int64_t)c->name);
    CHILD_FIELDS(FIELD)
#undef FIELD
    buf_put(out, c->server_id, sizeof c->server_id);
}

void slot_table_encode(const struct slot_table *t, struct buf *out)
{
    put(out, MAGIC);
    put(out, SLOT_TABLE_VERSION);
    put(out, t->slots_n);
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        if (!slot_is_used(&t->slots[i]))
            continue;
        put(out, i);
        put_slot(out, &t->slots[i]);
    }
    put(out, -1);
    CHILDREN_EACH(i, t)
    {
        put(out, i);
        put_child(out, &t->children[i]);
    }
    put(out, -1);
}

static bool take_slot(struct str *in, struct slot *s)
{
    int64_t v;
#define FIELD(type, name)                                                                \
    if (!take(in, &v) || (type)v != v)                                                   \
        return false;                                                                    \
    s->name = (type)v;
    SLOT_FIELDS(FIELD)
#undef FIELD
    return s->state < SLOT_STATES_N;
}

static bool take_child(struct str *in, struct child *c)
{
    int64_t v;
#define FIELD(type, name)                                                                \
    if (!take(in, &v) || (type)v != v)                                                   \
        return false;                                                                    \
    c->name = (type)v;
    CHILD_FIELDS(FIELD)
#undef FIELD
    if (in->n < sizeof c->server_id || in->p[sizeof c->server_id - 1] != '\0')
        return false;
    memcpy(c->server_id, in->p, sizeof c->server_id);
    *in = (struct str){in->p + sizeof c->server_id, in->n - sizeof c->server_id};
    return c->state > CHILD_FREE && c->state < CHILD_STATES_N && c->slot < SLOTS_MAX;
}

static bool take_head(struct str *in, struct slot_table *t)
{
    int64_t magic, version, n;
    if (!take(in, &magic) || !take(in, &version) || !take(in, &n) || magic != MAGIC ||
        version != SLOT_TABLE_VERSION || n < 0 || n > SLOTS_MAX)
        return false;
    t->slots_n = (uint32_t)n;
    return true;
}

static bool take_rows(struct str *in, struct slot_table *t)
{
    int64_t i;
    while (true) {
        if (!take(in, &i))
            return false;
        if (i == -1)
            break;
        if (i < 0 || i >= SLOTS_MAX || !take_slot(in, &t->slots[i]))
            return false;
    }
    while (true) {
        if (!take(in, &i))
            return false;
        if (i == -1)
            return in->n == 0;
        if (i < 0 || i >= CHILDREN_MAX || !take_child(in, &t->children[i]))
            return false;
    }
}

static bool seat_agrees(const struct slot_table *t, unsigned slot, uint32_t child)
{
    return child == CHILD_NONE ||
           (child < CHILDREN_MAX && t->children[child].slot == slot &&
            t->children[child].state != CHILD_FREE);
}

/* Who is RUNNING has a worker; a successor has somebody to succeed. */
static bool slot_agrees(const struct slot_table *t, unsigned slot)
{
    const struct slot *s = &t->slots[slot];
    bool needs_child = s->state == SLOT_STARTING || s->state == SLOT_RUNNING ||
                       s->successor != CHILD_NONE;
    if (needs_child && (s->child == CHILD_NONE || s->child == s->successor))
        return false;
    return seat_agrees(t, slot, s->child) && seat_agrees(t, slot, s->successor);
}

static bool is_consistent(const struct slot_table *t)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (!slot_agrees(t, i))
            return false;
    return true;
}

int slot_table_decode(struct slot_table *t, struct str bytes, struct err *e)
{
    struct slot_table *new = malloc(sizeof *new);
    BUG_ON(!new);
    slot_table_init(new);
    int rc = 0;
    if (!take_head(&bytes, new))
        rc = err_set(e, "not a slot table of version %d", SLOT_TABLE_VERSION);
    else if (!take_rows(&bytes, new) || !is_consistent(new))
        rc = err_set(e, "the slot table is damaged");
    else
        *t = *new;
    free(new);
    return rc;
}
