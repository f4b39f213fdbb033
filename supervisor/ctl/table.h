/* table: columns of text under headings, aligned for a terminal.
 * Owns the text of its cells. Never prints a cell as it came: each is escaped. */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include "common/buf.h"

#define TABLE_COLUMNS 16
#define TABLE_CELL_MAX 128 /* bytes; longer ones are cut with "…" */

struct table {
    size_t columns;
    bool right[TABLE_COLUMNS]; /* numbers */
    struct buf text;           /* all cells, one behind the other */
    size_t *ends;              /* where each ends */
    size_t n, cap;
};

void table_init(struct table *t, size_t columns);
void table_fini(struct table *t);
/* Row by row, column by column, headings first. */
void table_cell(struct table *t, struct str s);
void table_printf(struct table *t, const char *fmt, ...) PRINTF(2, 3);
/* At most `rows` rows, headings included; 0: all. */
void table_print(const struct table *t, size_t rows, FILE *out);

/* Columns that valid UTF-8 takes on a terminal. */
size_t table_width(struct str s);

#endif
