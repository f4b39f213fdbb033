#include "common/msg.h"

static const struct msg_row rows[] = {
#define MSG(num, name, dir, type)                                                        \
    [num] = {num, #name, MSG_##dir, sizeof(type), offsetof(struct msg_handlers, name)},
#include "common/msg.def"
};

const struct msg_row *msg_find(uint32_t type)
{
    return type < ARRAY_LEN(rows) && rows[type].name ? &rows[type] : NULL;
}
