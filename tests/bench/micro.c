// floors: common net ws
/* bench_micro: what a byte costs on its way in: unmasking, UTF-8, JSON. CPU nanoseconds a
 * call, for texts of several kinds and sizes; the cases take turns, round after round,
 * because a machine has fast and slow moments. To compare two builds let their programs
 * take turns too, and take the least of each row.
 *
 *   bench_micro [ROUNDS]       least and median of the rounds, 200 unless said otherwise
 */
#include "common/buf.h"
#include "common/scan.h"
#include "common/utf8.h"
#include "worker/ws/wire.h"

#include <time.h>

#define ROUND_NS 20000 /* short, so that some rounds are undisturbed */

static const struct {
    const char *name, *piece;
} kinds[] = {
    {"letters", "Lorem ipsum dolor sit amet, consectetur adipiscing elit. "},
    {"lines", "a=rtpmap:96 VP8/90000\\r\\na=rtcp-fb:96 goog-remb\\r\\n"},
    {"umlauts", "Zwölf Boxkämpfer jagen Viktor quer über den großen Deich. "},
    {"cyrillic", "Съешь же ещё этих мягких булок. "},
    {"kanji", "いろはにほへと散りぬるを我が世誰ぞ常ならむ"},
    {"emoji", "Well done 👍🏽 and thanks 🙏 to all of you 🎉🎉🎉 here; "},
    {"records", "{\"id\":1234,\"name\":\"Ada\",\"on\":true,\"at\":[50.45,-30.5]},"},
    {"pretty", "{\n      \"id\": 1234,\n      \"name\": \"Ada\",\n      \"on\": true\n"
               "    },\n    "},
};

static const size_t sizes[] = {16, 132, 1024, 16384};

struct text {
    struct str json;
    char *work; /* what is unmasked */
};

/* A message of about n bytes: what `data` holds is of the kind; pieces that fit whole,
 * then letters. */
static struct str make_text(const char *piece, size_t n)
{
    struct buf b = {0};
    bool is_list = *piece == '{' && n >= 100;
    size_t size = strlen(piece);
    buf_printf(&b, n < 100 ? "{\"d\":" : "{\"event\":\"chat\",\"data\":");
    buf_char(&b, is_list ? '[' : '"');
    while (b.n + size + 4 < n)
        buf_put(&b, piece, size);
    if (is_list)
        buf_char(&b, '"');
    while (b.n + 2 + is_list < n)
        buf_char(&b, 'x');
    buf_printf(&b, is_list ? "\"]}" : "\"}");
    BUG_ON(scan_text(buf_view(&b), NULL, 0) != SCAN_OBJECT);
    return buf_view(&b);
}

/* ---- what is measured ---- */

static void unmask(struct text *t)
{
    static const uint8_t mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    wire_unmask(t->work, t->json.n, mask, 0);
}

static void validate(struct text *t)
{
    BUG_ON(!utf8_ok(t->json.p, t->json.n));
}

static void scan(struct text *t)
{
    struct scan_member m[] = {{"event"}, {"data"}, {"id"}};
    BUG_ON(scan_text(t->json, m, ARRAY_LEN(m)) != SCAN_OBJECT);
}

/* As a client's text goes: session, then a protocol. */
static void whole_way(struct text *t)
{
    unmask(t);
    validate(t);
    scan(t);
}

static const struct {
    const char *name;
    void (*run)(struct text *t);
} works[] = {{"unmask", unmask}, {"utf8", validate}, {"scan", scan}, {"all", whole_way}};

/* ---- measuring ---- */

struct row {
    double *ns; /* of each round */
    unsigned calls;
};

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static double measure(void (*run)(struct text *), struct text *t, unsigned calls)
{
    int64_t from = cpu_ns();
    for (unsigned i = 0; i < calls; i++) {
        run(t);
        __asm__ volatile("" ::: "memory"); /* each call is one */
    }
    return (double)(cpu_ns() - from) / calls;
}

static unsigned calls_of_a_round(void (*run)(struct text *), struct text *t)
{
    measure(run, t, 1000);
    double ns = measure(run, t, 1000);
    return (unsigned)MAX(ROUND_NS / MAX(ns, 0.1), 1);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define KINDS ARRAY_LEN(kinds)
#define SIZES ARRAY_LEN(sizes)
#define WORKS ARRAY_LEN(works)

static void print_row(struct row *r, unsigned rounds, const char *work, const char *kind,
                      size_t size)
{
    qsort(r->ns, rounds, sizeof(*r->ns), by_size);
    printf("%-7s %-9s %6zu %10.1f %10.1f\n", work, kind, size, r->ns[0],
           r->ns[rounds / 2]);
}

int main(int argc, char **argv)
{
    static struct text texts[KINDS][SIZES];
    static struct row rows[KINDS][SIZES][WORKS];
    unsigned rounds = argc > 1 ? (unsigned)MAX(atoi(argv[1]), 1) : 200;
    for (size_t k = 0; k < KINDS; k++)
        for (size_t s = 0; s < SIZES; s++) {
            struct text *t = &texts[k][s];
            t->json = make_text(kinds[k].piece, sizes[s]);
            t->work = strndup(t->json.p, t->json.n);
            for (size_t w = 0; w < WORKS; w++) {
                rows[k][s][w].ns = calloc(rounds, sizeof(double));
                BUG_ON(!t->work || !rows[k][s][w].ns);
                rows[k][s][w].calls = calls_of_a_round(works[w].run, t);
            }
        }
    for (unsigned i = 0; i < rounds; i++)
        for (size_t k = 0; k < KINDS; k++)
            for (size_t s = 0; s < SIZES; s++)
                for (size_t w = 0; w < WORKS; w++) {
                    struct row *r = &rows[k][s][w];
                    r->ns[i] = measure(works[w].run, &texts[k][s], r->calls);
                }
    printf("%-7s %-9s %6s %10s %10s\n", "", "", "bytes", "least ns", "median ns");
    for (size_t k = 0; k < KINDS; k++)
        for (size_t s = 0; s < SIZES; s++)
            for (size_t w = 0; w < WORKS; w++)
                print_row(&rows[k][s][w], rounds, works[w].name, kinds[k].name, sizes[s]);
    return 0;
}
