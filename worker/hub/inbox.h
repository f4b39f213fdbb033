/* inbox: the notifications of each user (PROTOCOL part C), in Redis: what can be done
 * with one, each in a single script (inbox.lua). Owns nothing but those scripts. Never
 * looks into a notification, never tells connections: what changed is published to the
 * user's channel, for all workers alike. */
#ifndef WORKER_HUB_INBOX_H
#define WORKER_HUB_INBOX_H

#include "common/conf.h"
#include "worker/hub/hub.h"

/* Channels. A user's: "n<version> <message>" for a new notification, "c<version> <count>"
 * behind it and after every other change; versions rise. Everybody's: a word that there
 * is something new; an inbox takes it over with the next operation. */
#define INBOX_CHANNEL TOPIC_PREFIX "n:"
#define INBOX_CHANNEL_ALL TOPIC_PREFIX "nb"

#define INBOX_USER_MAX 512             /* bytes of a user's name */
#define INBOX_ID_MAX 64                /* characters of a notification's id */
#define INBOX_ANSWER_MAX (1024 * 1024) /* bytes of notifications in an answer */

/* Whose inbox, and how much of it is kept. Views; needed only during the call. */
struct inbox {
    struct hub *hub;
    const struct conf_inbox *limits;
    struct str user;    /* n 0: everybody, for inbox_put alone */
    int64_t answer_max; /* bytes, but one notification at least; 0: INBOX_ANSWER_MAX */
};

/* Answers of inbox_unread, inbox_read and inbox_read_all: BUS_TEXT, to be read with
 * inbox_state_read; of inbox_list: the whole message for the client, or BUS_NIL: there is
 * no notification `before`; of inbox_put: BUS_TEXT. fn as in bus_ops.call. */

/* The newest unread ones, at most limit, of those younger than the version `since`; -1:
 * of all. */
void inbox_unread(const struct inbox *in, int64_t since, int64_t limit, bus_reply_fn fn,
                  void *ctx);
void inbox_read(const struct inbox *in, struct str id, bus_reply_fn fn, void *ctx);
void inbox_read_all(const struct inbox *in, bus_reply_fn fn, void *ctx);
/* before p NULL: from the newest on. */
void inbox_list(const struct inbox *in, struct str before, int64_t limit, bus_reply_fn fn,
                void *ctx);
/* Stores and tells, unless that id is in the inbox. members: raw JSON, each behind a
 * comma. */
void inbox_put(const struct inbox *in, struct str id, struct str members, bus_reply_fn fn,
               void *ctx);

/* A line in the log, if Redis does not do it because an operator has to change something
 * (BUS_ERROR). Whoever gets the answer says so. */
void inbox_note_refusal(const struct bus_reply *r);
/* The same, if it answered with what is none. */
void inbox_note_malformed(struct str user);

struct inbox_state {
    int64_t version;   /* of what was last said on the user's channel */
    int64_t count;     /* unread */
    struct str unread; /* a JSON array, oldest first; a view */
};
bool inbox_state_read(struct str text, struct inbox_state *out) NODISCARD;
/* What came on a user's channel: 'n', 'c', or 0 if it is neither. text: the message, a
 * JSON object, or the count. */
char inbox_news_read(struct str payload, int64_t *version, struct str *text);

#endif
