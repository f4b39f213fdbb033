/* conf_yaml: a YAML document → struct conf: libyaml's only door. Reads the files and
 * environment variables that `<key>_file` and `<key>_env` name.
 * Owns nothing it does not return. Never guesses: anchors, aliases, tags, merge keys,
 * further documents, repeated and unknown keys, values of a wrong type are refused with
 * file and line. Never prints a secret. */
#ifndef SUPERVISOR_CONF_YAML_H
#define SUPERVISOR_CONF_YAML_H

#include "common/conf.h"

#define CONF_YAML_MAX (1 << 20) /* bytes of a configuration file */

/* A complete, checked configuration (refs 1, generation 0, file set), or -1 and one line:
 * `file:line: key: what`, `file:line: what` or `file: what`. Relative paths in the file
 * are relative to the file's own directory, so a daemon that changes its directory passes
 * an absolute path. */
int conf_yaml_load(const char *path, struct conf **out, struct err *e) NODISCARD;
/* The same from memory; file: what messages call it, and where relative paths begin. */
int conf_yaml_read(struct str text, const char *file, struct conf **out,
                   struct err *e) NODISCARD;

#endif
