/* help: the tables of commands, options and exit statuses, for people and for the check
 * of helioctl(8). Owns the table of exit statuses. Says nothing that is not in a table.
 */
#ifndef CTL_HELP_H
#define CTL_HELP_H

#include "common/base.h"

int help_print_all(FILE *out);
/* The commands that begin with the words; returns how many. */
size_t help_print(char *const *words, size_t n, FILE *out);
/* Rows {"command","help","example"}; without words {"option","help"} and {"exit","help"}
 * too. */
int help_print_json(char *const *words, size_t n, FILE *out);

#endif
