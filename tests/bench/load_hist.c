#include "load_hist.h"

#include <stddef.h>

/* Below 32 the value itself; then the leading bit's place and the five bits behind it. */
static size_t bucket_of(uint64_t v)
{
    if (v < 32)
        return v;
    unsigned shift = 58 - (unsigned)__builtin_clzll(v);
    return 32 * (shift + 1) + ((v >> shift) & 31);
}

static uint64_t largest_in(size_t bucket)
{
    if (bucket < 32)
        return bucket;
    unsigned shift = (unsigned)(bucket / 32) - 1;
    return ((bucket % 32 + 33) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t ns)
{
    h->count++;
    h->sum += ns;
    if (ns > h->max)
        h->max = ns;
    h->bucket[bucket_of(ns)]++;
}

uint64_t hist_at(const struct hist *h, double fraction)
{
    uint64_t want = (uint64_t)((double)h->count * fraction), seen = 0;
    if (!h->count)
        return 0;
    for (size_t i = 0; i < sizeof h->bucket / sizeof *h->bucket; i++) {
        seen += h->bucket[i];
        if (seen > want || seen == h->count)
            return largest_in(i) < h->max ? largest_in(i) : h->max;
    }
    return h->max;
}

double hist_mean(const struct hist *h)
{
    return h->count ? (double)h->sum / (double)h->count : 0;
}
