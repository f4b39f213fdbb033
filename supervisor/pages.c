#include "supervisor/pages.h"
#include "common/fd.h"
#include "supervisor/supervisor.h"

static void fold(struct supervisor *s, unsigned slot, const struct counters *page)
{
    for (size_t i = 0; i < counter_rows_n; i++) {
        const struct counter_row *row = &counter_rows[i];
        uint64_t *past = (uint64_t *)((char *)&s->pages.past[slot] + row->offset);
        if (!row->is_gauge)
            *past += counters_read(page, row);
    }
}

static void retire(struct supervisor *s, unsigned slot, struct counters *page, int *fd)
{
    if (!page)
        return;
    fold(s, slot, page);
    counters_unmap(page);
    fd_close(fd);
}

void pages_sum(const struct supervisor *s, const struct counter_row *row,
               uint64_t sums[SLOTS_MAX])
{
    for (unsigned slot = 0; slot < SLOTS_MAX; slot++) {
        sums[slot] = counters_read(&s->pages.past[slot], row);
        if (s->pages.of_slot[slot])
            sums[slot] += counters_read(s->pages.of_slot[slot], row);
    }
    CREW_EACH(m, s)
    {
        unsigned slot = member_child(m)->slot;
        if (m->page != s->pages.of_slot[slot])
            sums[slot] += counters_read(m->page, row);
    }
}

static_assert(SLOTS_MAX * sizeof(struct counters) <= MSG_TAIL_MAX,
              "all slots' counters go into one message");

void pages_put_sums(const struct supervisor *s, struct buf *out)
{
    uint64_t sums[SLOTS_MAX];
    size_t n = s->slots.slots_n * sizeof(struct counters);
    char *of_slot = buf_reserve(out, n);
    for (size_t i = 0; i < counter_rows_n; i++) {
        pages_sum(s, &counter_rows[i], sums);
        for (unsigned slot = 0; slot < s->slots.slots_n; slot++)
            memcpy(of_slot + slot * sizeof(struct counters) + counter_rows[i].offset,
                   &sums[slot], sizeof(sums[slot]));
    }
    out->n += n;
}

/* A successor gets a page of its own: a page has one writer. */
int pages_take(struct member *m, bool is_successor, struct err *e)
{
    struct supervisor *s = m->s;
    struct child *c = member_child(m);
    struct slot *slot = &s->slots.slots[c->slot];
    if (!is_successor && s->pages.of_slot[c->slot]) {
        m->page = s->pages.of_slot[c->slot];
        c->counters_fd = slot->counters_fd;
        return 0;
    }
    c->counters_fd = counters_create(&m->page, e);
    if (c->counters_fd < 0)
        return -1;
    if (!is_successor) {
        s->pages.of_slot[c->slot] = m->page;
        slot->counters_fd = c->counters_fd;
    }
    return 0;
}

void pages_drop(struct member *m)
{
    struct child *c = member_child(m);
    if (m->page != m->s->pages.of_slot[c->slot])
        retire(m->s, c->slot, m->page, &c->counters_fd);
    else if (m->page)
        counters_zero_gauges(m->page);
    m->page = NULL;
}

void pages_hand_over(struct supervisor *s, unsigned slot, const struct member *successor)
{
    s->pages.of_slot[slot] = successor->page;
    s->slots.slots[slot].counters_fd = member_child(successor)->counters_fd;
}

void pages_inherit(struct supervisor *s, unsigned slot, const struct member *heir)
{
    retire(s, slot, s->pages.of_slot[slot], &s->slots.slots[slot].counters_fd);
    pages_hand_over(s, slot, heir);
}

void pages_give_up(struct supervisor *s, unsigned slot, bool has_worker)
{
    if (!has_worker)
        retire(s, slot, s->pages.of_slot[slot], &s->slots.slots[slot].counters_fd);
    s->pages.of_slot[slot] = NULL;
    s->slots.slots[slot].counters_fd = -1;
}

void pages_fini(struct supervisor *s)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        pages_give_up(s, i, false);
}
