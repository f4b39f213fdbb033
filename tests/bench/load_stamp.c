#include "load_stamp.h"

#include <string.h>

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static char filling[STAMP_MAX_PAYLOAD + 64];

static uint64_t mixed(uint64_t v)
{
    v ^= v >> 31;
    v *= 0x7fb5d329728ea185u;
    v ^= v >> 27;
    v *= 0x81dadef4bc2dd44du;
    return v ^ v >> 33;
}

static uint64_t check_of(struct stamp s, size_t size)
{
    uint64_t known = (uint64_t)s.sender << 32 | s.seq;
    return mixed(known ^ mixed(size)) & 0xfffffffffu;
}

static void put(char *to, int n, uint64_t v)
{
    while (n--) {
        to[n] = digits[v & 63];
        v >>= 6;
    }
}

static const char *filling_of(struct stamp s)
{
    if (!filling[0])
        for (size_t i = 0; i < sizeof filling; i++)
            filling[i] = digits[mixed(i + 1) & 63];
    return filling +
           ((s.seq * 7 + s.sender) & 63); /* no message is filled as its neighbour */
}

static int value_of(char c)
{
    static signed char of[256];
    if (!of['B'])
        for (int i = 0; i < 64; i++)
            of[(unsigned char)digits[i]] = (signed char)(i ? i : 64);
    return of[(unsigned char)c] & 63;
}

static uint32_t get(const char *from, int n)
{
    uint32_t v = 0;
    while (n--)
        v = v << 6 | (uint32_t)value_of(*from++);
    return v;
}

void stamp_write(char *to, size_t size, struct stamp s)
{
    to[0] = '~';
    put(to + 1, 4, s.sender);
    put(to + 5, 5, s.seq);
    put(to + 10, 6, check_of(s, size));
    memcpy(to + STAMP_BYTES, filling_of(s), size - STAMP_BYTES);
}

bool stamp_read(const char *p, size_t size, struct stamp *s)
{
    char whole[STAMP_BYTES];
    if (size < STAMP_BYTES || *p != '~')
        return false;
    *s = (struct stamp){get(p + 1, 4), get(p + 5, 5)};
    stamp_write(whole, STAMP_BYTES, *s);
    put(whole + 10, 6, check_of(*s, size));
    return !memcmp(p, whole, STAMP_BYTES) &&
           !memcmp(p + STAMP_BYTES, filling_of(*s), size - STAMP_BYTES);
}

enum order_verdict order_take(struct order *o, uint32_t seq)
{
    if (seq >= o->next) {
        uint32_t ahead = seq - o->next + 1;
        o->seen = ahead < 64 ? o->seen << ahead | 1 : 1;
        o->next = seq + 1;
        o->unique++;
        return ORDER_GOOD;
    }
    uint32_t back = o->next - 1 - seq;
    if (back >= 64 || o->seen >> back & 1)
        return ORDER_TWICE; /* or too late to tell */
    o->seen |= (uint64_t)1 << back;
    o->unique++;
    return ORDER_LATE;
}
