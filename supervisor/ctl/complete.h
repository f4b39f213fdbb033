/* complete: what may stand next on the command line, for the shell.
 * Owns nothing; all it knows comes from the tables of commands and options. Never asks
 * the broker. (etc/helioctl.bash asks `helioctl --complete WORD…`.) */
#ifndef CTL_COMPLETE_H
#define CTL_COMPLETE_H

#include "common/base.h"

/* words: all behind the program's name; the last is the one being typed, "" when it is
 * not begun. One candidate a line. */
int complete_print(char *const *words, size_t n, FILE *out);

#endif
