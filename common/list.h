/* list: an intrusive doubly linked ring. Owns nothing; an unlinked node points at itself.
 * Never allocates. Initialise heads and nodes with list_init. */
#ifndef COMMON_LIST_H
#define COMMON_LIST_H

#include "common/base.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}
static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_unlink(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
/* Moves all nodes of `from` to the empty head `to`. */
static inline void list_take(struct list *to, struct list *from)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    list_init(from);
}

#define LIST_EACH(node, head)                                                            \
    for (struct list *node = (head)->next; node != (head); node = node->next)
/* The current node may be unlinked and freed in the body. */
#define LIST_EACH_SAFE(node, head)                                                       \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);    \
         node = node##_next, node##_next = node->next)

#endif
