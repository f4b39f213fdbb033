#include "supervisor/ctl/table.h"

#include "common/mem.h"

#include <stdarg.h>
#include <wchar.h>

void table_init(struct table *t, size_t columns)
{
    BUG_ON(columns == 0 || columns > TABLE_COLUMNS);
    *t = (struct table){.columns = columns};
}

void table_fini(struct table *t)
{
    buf_free(&t->text);
    free(t->ends);
    t->ends = NULL;
}

void table_cell(struct table *t, struct str s)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 256;
        t->ends = mem_resize(t->ends, t->cap * sizeof(*t->ends));
    }
    if (s.n == 0)
        s = STR("-");
    buf_escape(&t->text, s, TABLE_CELL_MAX);
    t->ends[t->n++] = t->text.n;
}

void table_printf(struct table *t, const char *fmt, ...)
{
    char text[TABLE_CELL_MAX];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    table_cell(t, (struct str){text, MIN((size_t)MAX(n, 0), sizeof(text) - 1)});
}

size_t table_width(struct str s)
{
    mbstate_t state = {0};
    size_t width = 0;

    while (s.n > 0) {
        wchar_t wc;
        size_t n = mbrtowc(&wc, s.p, s.n, &state);
        if (n == 0 || n > s.n)
            return width +
                   s.n; /* not UTF-8, or a locale without it: bytes are the best guess */
        int columns = wcwidth(wc);
        width += columns < 0 ? 1 : (size_t)columns;
        s = (struct str){s.p + n, s.n - n};
    }
    return width;
}

static struct str cell_of(const struct table *t, size_t i)
{
    size_t from = i ? t->ends[i - 1] : 0;
    return (struct str){t->text.p + from, t->ends[i] - from};
}

static void put_blanks(size_t n, FILE *out)
{
    if (n > 0)
        fprintf(out, "%*s", (int)n, "");
}

static void put_row(const struct table *t, size_t first, const size_t *widths, FILE *out)
{
    for (size_t c = 0; c < t->columns; c++) {
        struct str cell = cell_of(t, first + c);
        size_t pad = widths[c] - table_width(cell);

        put_blanks(c ? 2 : 0, out);
        if (t->right[c])
            put_blanks(pad, out);
        fwrite(cell.p, 1, cell.n, out);
        if (!t->right[c] && c + 1 < t->columns)
            put_blanks(pad, out);
    }
    putc('\n', out);
}

void table_print(const struct table *t, size_t rows, FILE *out)
{
    size_t widths[TABLE_COLUMNS] = {0};
    size_t n = rows ? MIN(t->n, rows * t->columns) : t->n;

    for (size_t i = 0; i < n; i++) {
        size_t *width = &widths[i % t->columns];
        *width = MAX(*width, table_width(cell_of(t, i)));
    }
    for (size_t i = 0; i + t->columns <= n; i += t->columns)
        put_row(t, i, widths, out);
}
