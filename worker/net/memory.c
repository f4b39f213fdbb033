#include "worker/net/memory.h"

#include <event2/event.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* ---- what libevent keeps for each descriptor: 16 bytes, from its first use until the
 * process ends. Among the connections in malloc's heap they would hold every page that a
 * storm has filled; and cost twice as much. ---- */

#define ITEM 16
#define ITEMS_MAX (1u << 20) /* more than these come from malloc */

static char *items, *items_end, *items_next;
static void *items_free; /* a chain through the items themselves */

static bool is_item(const void *p)
{
    return (const char *)p >= items && (const char *)p < items_end;
}

static void *take(size_t n)
{
    void *p = items_free;
    if (n > ITEM || (!p && items_next == items_end))
        return malloc(n);
    if (p) {
        memcpy(&items_free, p, sizeof(items_free));
        return p;
    }
    p = items_next;
    items_next += ITEM;
    return p;
}

static void give_back(void *p)
{
    if (!is_item(p)) {
        free(p);
        return;
    }
    memcpy(p, &items_free, sizeof(items_free));
    items_free = p;
}

static void *resize(void *p, size_t n)
{
    if (!is_item(p))
        return p ? realloc(p, n) : take(n);
    if (n <= ITEM)
        return p;
    void *q = malloc(n);
    if (q) {
        memcpy(q, p, ITEM);
        give_back(p);
    }
    return q;
}

/* Address space only; a page costs memory when it is first used. */
static void reserve_items(void)
{
    struct rlimit r;
    size_t n = ITEMS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0)
        n = MIN(n, r.rlim_cur + 256);
    void *p = mmap(NULL, n * ITEM, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return; /* malloc does it all */
    items = items_next = p;
    items_end = items + n * ITEM;
}

/* ---- malloc ---- */

#define LARGE (1024 * 1024) /* a mapping of its own, gone when it is freed … */
#define TOP_KEEP (1024 * 1024)

void memory_init(void)
{
    /* … always: by default malloc raises the limit with the first that is freed, and the
     * next large vector lies in the heap. */
    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, TOP_KEEP);
    mallopt(M_ARENA_MAX, 1);
    reserve_items();
    event_set_mem_functions(take, resize, give_back);
}

/* ---- giving back ---- */

#define LOOK_MS 3000
#define WORTH_IT (256 * 1024)

/* mallinfo2 and malloc_trim walk the free chunks: milliseconds when there are very many.
 */
void memory_look(struct memory *m, int64_t now_ms, size_t churn)
{
    m->kept -= MIN(m->kept, churn);
    if (now_ms - m->looked_ms < LOOK_MS)
        return;
    m->looked_ms = now_ms;
    struct mallinfo2 info = mallinfo2();
    m->kept = MIN(m->kept, info.fordblks);
    if (info.fordblks - m->kept < MAX(WORTH_IT, info.uordblks / 16))
        return;
    malloc_trim(0);
    m->kept = mallinfo2().fordblks;
}

void memory_measure(struct memory_use *out)
{
    struct mallinfo2 info = mallinfo2();
    *out = (struct memory_use){.in_use = info.uordblks + info.hblkhd,
                               .is_free = info.fordblks,
                               .descriptors = (size_t)(items_next - items)};
}
