/* conf_origin: which line of the file each key, block and row was first set in. Used by
 * the conf rooms only. Owns its paths. Absent in workers. */
#ifndef COMMON_CONF_ORIGIN_H
#define COMMON_CONF_ORIGIN_H

#include "common/str.h"

struct conf_origins;

struct conf_origins *conf_origins_new(void);
void conf_origins_free(struct conf_origins *o);
/* Notes the line of a key (later ones replace it), and of every block and row around it
 * that has none yet. */
void conf_origins_note(struct conf_origins *o, const char *path, int line);
/* The line, or -1: never set. o NULL: -1. */
int conf_origins_line(const struct conf_origins *o, struct str path);

#endif
