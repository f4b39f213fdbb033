/* load_dialect: how a kind of server is entered, spoken to and heard; a table. In its
 * texts {i} is the connection's number, {room} and {member} its place, {token} its token,
 * {peer} the id of the other one in a room of two; a line is a message. Owns the texts
 * it fills in. Never knows what is measured. */
#ifndef BENCH_LOAD_DIALECT_H
#define BENCH_LOAD_DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GREETINGS 2

struct greeting {
    const char *say, *await; /* say NULL: none */
};
struct dialect {
    const char *name;
    const char *path, *pub_path; /* pub_path NULL: no client publishes */
    struct greeting hello[GREETINGS], pub_hello[GREETINGS];
    const char *before, *after;           /* around a payload that is said */
    const char *heard_before;             /* and around one that is heard */
    const char *heard_after;              /* begins with this; is it, unless open_end */
    const char *chatter;                  /* what else may come begins so */
    bool open_end, hears_itself, says_id; /* says_id: {peer} is needed */
};

const struct dialect *dialect_find(const char *name);
void dialect_list(char *to, size_t cap);

struct place {
    uint32_t i, room, member;
    const char *token, *peer;
};
char *dialect_fill(const char *text, const struct place *at); /* free() it */

#endif
