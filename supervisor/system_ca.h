/* system_ca: the system's certificates for https hooks that name none of their own: read
 * here, because workers open no file. Owns nothing. */
#ifndef SUPERVISOR_SYSTEM_CA_H
#define SUPERVISOR_SYSTEM_CA_H

#include "common/conf.h"

/* Fills hooks.ca of each endpoint that has an https hook and no ca. -1: the bundle cannot
 * be read. */
int system_ca_fill(struct conf *c, struct err *e) NODISCARD;

#endif
