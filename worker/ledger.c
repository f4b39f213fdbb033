#include "worker/ledger.h"

#include "worker/protocols/readers.h"

static size_t protocols_memory(const struct worker *w)
{
    size_t n = w->services.readers ? readers_memory(w->services.readers) : 0;
    LIST_EACH (node, &w->endpoints) {
        const struct endpoint *e = container_of(node, struct endpoint, link);
        if (e->protocol->state_bytes)
            n += e->env.connections * memory_block(e->protocol->state_bytes);
        if (e->protocol->memory)
            n += e->protocol->memory(e);
    }
    return n;
}

void ledger_write(const struct worker *w, struct buf *json)
{
    struct net_use net;
    struct memory_use heap;
    net_measure(&w->net, &net);
    memory_measure(&heap);
    size_t conns = w->net.conns_n * memory_block(sizeof(struct conn));
    size_t hub = hub_memory(w->hub), protocols = protocols_memory(w);
    size_t known =
        conns + net.queued + net.partial + net.lists + net.spare + hub + protocols;
    const struct {
        const char *name;
        int64_t n;
    } rows[] = {
        {"slot", w->slot},
        {"worker", w->number},
        {"connections", (int64_t)w->net.conns_n},
        {"connection_bytes", (int64_t)conns},
        {"queued", (int64_t)net.queued},
        {"partial", (int64_t)net.partial},
        {"lists", (int64_t)net.lists},
        {"recycled", (int64_t)net.spare},
        {"hub", (int64_t)hub},
        {"protocols", (int64_t)protocols},
        /* a shared frame counts for each who waits for it: that may be more than is
           there */
        {"unexplained", MAX((int64_t)heap.in_use - (int64_t)known, 0)},
        {"in_use", (int64_t)heap.in_use},
        {"free", (int64_t)heap.is_free},
        {"descriptors", (int64_t)heap.descriptors},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        buf_printf(json, "%c\"%s\":%" PRId64, i ? ',' : '{', rows[i].name, rows[i].n);
    buf_char(json, '}');
}
