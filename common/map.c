#include "common/map.h"

#include "common/mem.h"
#include "common/uuid.h"

#define MAP_FLOOR 8

/* ---- SipHash-1-3 (Aumasson and Bernstein 2012, with one compression and three final
 * rounds) ---- */

static uint64_t rotl(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static uint64_t load_le(const char *p, size_t n)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static uint64_t siphash(const uint64_t key[2], struct str s)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    size_t whole = s.n & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t m = load_le(s.p + i, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)s.n << 56;
    if (s.n > whole)
        last |= load_le(s.p + whole, s.n - whole);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint32_t hash_of(struct str key)
{
    static uint64_t secret[2];
    if (UNLIKELY(!secret[0]))
        random_bytes(secret, sizeof(secret));
    uint32_t h = (uint32_t)siphash(secret, key);
    return h ? h : 1; /* 0 means free */
}

/* ---- slots: linear probing; removal shifts back what stands behind, so there are no
 * graves ---- */

void map_init(struct map *m, struct str (*key_of)(const void *item))
{
    *m = (struct map){.key_of = key_of};
}

void map_fini(struct map *m)
{
    free(m->slots);
    map_init(m, m->key_of);
}

/* The slot of the key, or the free one where it belongs. cap > 0. */
static struct map_slot *seek(const struct map *m, uint32_t hash, struct str key)
{
    size_t mask = m->cap - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct map_slot *s = &m->slots[i];
        if (!s->hash || (s->hash == hash && str_eq(m->key_of(s->item), key)))
            return s;
    }
}

static void resize(struct map *m, size_t cap)
{
    struct map_slot *old = m->slots;
    size_t old_cap = m->cap, mask = cap - 1;
    m->slots = mem_new(cap * sizeof(*m->slots));
    m->cap = cap;
    for (size_t i = 0; i < old_cap; i++) {
        if (!old[i].hash)
            continue;
        size_t at = old[i].hash & mask;
        while (m->slots[at].hash)
            at = (at + 1) & mask;
        m->slots[at] = old[i];
    }
    free(old);
}

void *map_get(const struct map *m, struct str key)
{
    return m->n ? seek(m, hash_of(key), key)->item : NULL;
}

void *map_put(struct map *m, void *item)
{
    if ((m->n + 1) * 4 > m->cap * 3)
        resize(m, m->cap ? m->cap * 2 : MAP_FLOOR);
    struct str key = m->key_of(item);
    uint32_t hash = hash_of(key);
    struct map_slot *s = seek(m, hash, key);
    void *replaced = s->item;
    m->n += s->hash == 0;
    *s = (struct map_slot){hash, item};
    return replaced;
}

static void shift_back(struct map *m, size_t hole)
{
    size_t mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i].hash; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* it would come to stand before its home */
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (struct map_slot){0};
}

void *map_remove(struct map *m, struct str key)
{
    if (m->n == 0)
        return NULL;
    struct map_slot *s = seek(m, hash_of(key), key);
    void *removed = s->item;
    if (!s->hash)
        return NULL;
    shift_back(m, (size_t)(s - m->slots));
    m->n--;
    if (m->cap > MAP_FLOOR && m->n * 4 < m->cap)
        resize(m, m->cap / 2);
    return removed;
}

void *map_next(const struct map *m, size_t *i)
{
    while (*i < m->cap) {
        struct map_slot *s = &m->slots[(*i)++];
        if (s->hash)
            return s->item;
    }
    return NULL;
}
