/* command: the commands of helioctl (commands.def): which one is meant, or what is wrong.
 * Owns the table. Never runs anything. */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include "common/err.h"
#include "common/msg.h"
#include "supervisor/ctl/pattern.h"

struct ctl;
struct command;
struct show;

/* Does the command; returns the exit status. */
typedef int (*command_fn)(struct ctl *ctl, const struct command *cmd,
                          const struct args *args);

struct command {
    const char *pattern, *example, *help;
    uint32_t message; /* 0: needs no broker */
    command_fn verb;
    const struct show *show;
};
extern const struct command commands[];
extern const size_t commands_n;

/* The command that all the words fit; NULL: e says why none does, with the nearest known
 * word. */
const struct command *command_find(char *const *words, size_t n, struct args *args,
                                   struct err *e);
/* What may stand behind the words that fit (*used of them), without duplicates; returns
 * how many. */
size_t command_expected(char *const *words, size_t n, size_t *used, struct str *out,
                        size_t max);
/* Whether the pattern begins with these words (for help). */
bool command_begins_with(const struct command *cmd, char *const *words, size_t n);

#endif
