#include "common/uuid.h"

#include <sys/random.h>
#include <unistd.h>

#define POOL_BYTES 1024

/* Bytes are wiped as they are handed out. A child made by fork must not repeat its
 * parent's: owner tells. */
static struct {
    uint8_t b[POOL_BYTES];
    size_t left;
    pid_t owner;
} pool;

static void read_kernel(uint8_t *p, size_t n)
{
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        BUG_ON(got < 0 && errno != EINTR);
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        }
    }
}

void random_bytes(void *p, size_t n)
{
    int saved = errno;
    if (n > sizeof(pool.b) / 4) {
        read_kernel(p, n);
    } else if (n) {
        if (pool.left < n || pool.owner != getpid()) {
            read_kernel(pool.b, sizeof(pool.b));
            pool.left = sizeof(pool.b);
            pool.owner = getpid();
        }
        pool.left -= n;
        memcpy(p, pool.b + pool.left, n);
        explicit_bzero(pool.b + pool.left, n);
    }
    errno = saved;
}

void uuid_make(struct uuid *u)
{
    random_bytes(u->b, sizeof(u->b));
    u->b[6] = (uint8_t)((u->b[6] & 0x0f) | 0x40); /* RFC 9562 §5.4: version 4 */
    u->b[8] = (uint8_t)((u->b[8] & 0x3f) | 0x80); /* §4.1: variant 10 */
}

static bool has_dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_text(const struct uuid *u, char out[UUID_TEXT + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(u->b); i++) {
        if (has_dash_before(i))
            *out++ = '-';
        *out++ = digits[u->b[i] >> 4];
        *out++ = digits[u->b[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void uuid_put(struct buf *out, const struct uuid *u)
{
    char text[UUID_TEXT + 1];
    uuid_text(u, text);
    buf_put(out, text, UUID_TEXT);
}

bool uuid_parse(struct str s, struct uuid *out)
{
    struct uuid u;
    if (s.n != UUID_TEXT)
        return false;
    const char *p = s.p;
    for (size_t i = 0; i < sizeof(u.b); i++, p += 2) {
        if (has_dash_before(i) && *p++ != '-')
            return false;
        int high = hex_value(p[0]), low = hex_value(p[1]);
        if (high < 0 || low < 0)
            return false;
        u.b[i] = (uint8_t)(high << 4 | low);
    }
    *out = u;
    return true;
}
