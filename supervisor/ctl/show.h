/* show: what comes back from the broker, as a table or (--json) one object per row.
 * Owns the columns and, while an answer comes in, what it takes to align, sum and cut it.
 * Never shows a cell unescaped. */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include "common/map.h"
#include "common/msg.h"
#include "supervisor/ctl/table.h"

enum cell {
    CELL_TEXT,
    CELL_NUMBER,
    CELL_AGO, /* milliseconds */
};
struct column {
    const char *head, *member;
    enum cell kind;
};

enum show_form {
    SHOW_NOTHING, /* no rows: a sentence at the end */
    SHOW_LIST,    /* a line each */
    SHOW_CARD,    /* a line per member */
    SHOW_TALLY,   /* rows of the same name are summed, the largest first */
};
/* How the answer to one command is printed. */
struct show {
    enum show_form form;
    enum msg_what what;           /* to ask for */
    const struct column *columns; /* SHOW_TALLY: name, sum, slots, perhaps endpoint */
    size_t columns_n;
    const char *done;  /* SHOW_NOTHING: what was achieved; "%" stands for the count */
    const char *count; /* SHOW_NOTHING: the count's name in JSON, NULL: none */
};
extern const struct show show_status, show_workers, show_connections, show_rooms,
    show_users, show_config, show_counters, show_memory, show_sent, show_kicked,
    show_reloaded, show_drained, show_stopped, show_levelled, show_nothing;

/* One answer under way. */
struct shown {
    const struct show *show;
    FILE *out;
    bool json;
    uint64_t limit, rows; /* limit 0: none */
    struct table table;
    struct map tallies;
};

void show_init(struct shown *s, const struct show *show, FILE *out, bool json,
               uint64_t limit);
void show_row(void *shown, struct str row); /* a client_row_fn */
/* Prints what is left to print. */
void show_finish(struct shown *s);
void show_fini(struct shown *s);
/* The end of a command without rows. */
void show_done(const struct show *show, FILE *out, bool json, uint64_t count);

/* 90061000 → "1d1h"; 1500 → "1.5s" */
void show_duration(struct buf *b, int64_t ms);

#endif
