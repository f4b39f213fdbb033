#define _GNU_SOURCE
#include "load_dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AUTHENTICATE                                                                     \
    {                                                                                    \
        "{\"event\":\"authenticate\",\"data\":{\"token\":\"{token}\"}}", "\"connected\"" \
    }
#define JOIN "{\"event\":\"join\",\"data\":{\"rooms\":[\"r{room}\"]},\"id\":\"j\"}"

static const struct dialect dialects[] = {
    /* Any server that sends back what it gets. */
    {.name = "echo",
     .path = "/echo",
     .before = "",
     .after = "",
     .heard_before = "",
     .heard_after = ""},
    /* tests/bench/floor.c: paths say who is who. */
    {.name = "floor",
     .path = "/room/{room}",
     .pub_path = "/pub/{room}",
     .before = "",
     .after = "",
     .heard_before = "",
     .heard_after = ""},
    /* tests/bench/peers: the first message says who is who. */
    {.name = "plain",
     .path = "/room",
     .pub_path = "/room",
     .hello = {{"{\"sub\":\"r{room}\"}", "ok"}},
     .pub_hello = {{"{\"pub\":\"r{room}\"}", "ok"}},
     .before = "",
     .after = "",
     .heard_before = "",
     .heard_after = ""},
    {.name = "nchan",
     .path = "/room/{room}",
     .before = "",
     .after = "",
     .heard_before = "",
     .heard_after = "",
     .hears_itself = true},
    /* heliod's events: `bare` is in the default rooms only. */
    {.name = "events-bare", .path = "/ws", .hello = {AUTHENTICATE}},
    {.name = "events",
     .path = "/ws",
     .pub_path = "/ws",
     .hello = {AUTHENTICATE, {JOIN, "\"ack\""}},
     .pub_hello = {AUTHENTICATE},
     .before = "{\"event\":\"publish\",\"data\":{\"room\":\"r{room}\",\"event\":\"m\","
               "\"data\":\"",
     .after = "\"}}",
     .heard_before = "{\"event\":\"m\",\"data\":\"",
     .heard_after = "\"}"},
    {.name = "signaling",
     .path = "/ws/signaling/r{room}/m{member}",
     .hello = {{"", "\"joined\""}},
     .before = "{\"type\":\"m\",\"d\":\"",
     .after = "\"}",
     .heard_before = "{\"type\":\"m\",\"d\":\"",
     .heard_after = "\",\"from\":{",
     .chatter = "{\"type\":\"user-",
     .open_end = true},
    /* The original with the application of tests/bench/peers/ignis.js. No reply to a
     * join: an event of the application behind it is answered when it has been done. */
    {.name = "ignis-bare", .path = "/ws", .hello = {AUTHENTICATE}},
    {.name = "ignis-echo",
     .path = "/ws",
     .hello = {AUTHENTICATE},
     .before = "{\"event\":\"echo\",\"data\":\"",
     .after = "\"}",
     .heard_before = "{\"event\":\"echo\",\"data\":\"",
     .heard_after = "\"}"},
    {.name = "ignis",
     .path = "/ws",
     .pub_path = "/ws",
     .hello = {AUTHENTICATE, {JOIN "\n{\"event\":\"echo\",\"data\":\"in\"}", "\"echo\""}},
     .pub_hello = {AUTHENTICATE},
     .before = "{\"event\":\"publish\",\"data\":{\"to\":\"r{room}\",\"data\":\"",
     .after = "\"}}",
     .heard_before = "{\"event\":\"m\",\"data\":\"",
     .heard_after = "\"}",
     .hears_itself = true},
    {.name = "ignis-relay",
     .path = "/ws",
     .hello = {AUTHENTICATE},
     .before = "{\"event\":\"publish\",\"data\":{\"to\":\"{peer}\",\"data\":\"",
     .after = "\"}}",
     .heard_before = "{\"event\":\"m\",\"data\":\"",
     .heard_after = "\"}",
     .says_id = true},
};
enum { DIALECTS = sizeof dialects / sizeof *dialects };

const struct dialect *dialect_find(const char *name)
{
    for (int i = 0; i < DIALECTS; i++)
        if (!strcmp(dialects[i].name, name))
            return &dialects[i];
    return NULL;
}

void dialect_list(char *to, size_t cap)
{
    size_t n = 0;
    for (int i = 0; i < DIALECTS && n < cap; i++)
        n += (size_t)snprintf(to + n, cap - n, "%s%s", i ? ", " : "", dialects[i].name);
}

static bool fill_one(FILE *out, const char **text, const struct place *at)
{
    const struct {
        const char *name, *value;
        uint32_t number;
    } known[] = {{"{i}", NULL, at->i},
                 {"{room}", NULL, at->room},
                 {"{member}", NULL, at->member},
                 {"{token}", at->token ? at->token : "", 0},
                 {"{peer}", at->peer ? at->peer : "", 0}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        if (strncmp(*text, known[k].name, strlen(known[k].name)))
            continue;
        *text += strlen(known[k].name);
        if (known[k].value)
            fputs(known[k].value, out);
        else
            fprintf(out, "%u", known[k].number);
        return true;
    }
    return false;
}

char *dialect_fill(const char *text, const struct place *at)
{
    char *filled = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&filled, &n);
    if (!out)
        abort();
    while (*text)
        if (*text != '{' || !fill_one(out, &text, at))
            fputc(*text++, out);
    fclose(out);
    return filled;
}
