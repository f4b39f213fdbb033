#include "worker/hub/netstring.h"

bool netstring_take(struct str *from, struct str *out)
{
    uint64_t n;
    struct str behind;
    struct str digits = str_split(*from, ':', &behind);
    if (!behind.p || !str_to_u64(digits, behind.n, &n) || n >= behind.n ||
        behind.p[n] != ',')
        return false;
    *out = (struct str){behind.p, n};
    *from = (struct str){behind.p + n + 1, behind.n - n - 1};
    return true;
}
