/* verbs: what each command of the table does: checks its words, makes its message, prints
 * its answer. Owns nothing. Never asks the broker before the words are right. */
#ifndef CTL_VERBS_H
#define CTL_VERBS_H

#include "supervisor/ctl/command.h"

#define VERB(name)                                                                       \
    int verb_##name(struct ctl *ctl, const struct command *cmd, const struct args *args)

/* questions and orders to the broker: verbs.c */
VERB(rows);
VERB(send);
VERB(notify);
VERB(ticket);
VERB(kick);
VERB(plain);
VERB(drain);
VERB(stop);
VERB(level);
/* without a broker: local.c */
VERB(check);
VERB(token);
VERB(version);
VERB(help);
/* doctor.c */
VERB(doctor);
/* top.c */
VERB(top);

#endif
