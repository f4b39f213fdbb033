#include "common/conf.h"

/* The key table, expanded from conf_keys.def in three goes: section names, rows,
 * sections. */
// clang-format off
#define SECTION_BEGIN(section, help) extern const struct conf_section conf_##section##_section;
#define SECTION_END(section)
#define KEY(section, name, KIND, dflt, min, max, flags, help)
#define ENUM(section, name, choices, dflt, flags, help)
#define BLOCK(section, name, type, help)
#define LIST(section, name, type, max, help)
#include "common/conf_keys.def"

#define LIVE CONF_LIVE
#define BOOT CONF_BOOT
#define SECRET CONF_SECRET
#define SECTION_BEGIN(section, help) static const struct conf_key section##_keys[] = {
#define SECTION_END(section) };
#define KEY(section, name, KIND, dflt, min, max, flags, help) \
    {#name, CONF_##KIND, offsetof(struct conf_##section, name), dflt, min, max, flags, NULL, NULL, help},
#define ENUM(section, name, choices, dflt, flags, help) \
    {#name, CONF_ENUM, offsetof(struct conf_##section, name), dflt, 0, 0, flags, choices, NULL, help},
#define BLOCK(section, name, type, help) \
    {#name, CONF_BLOCK, offsetof(struct conf_##section, name), NULL, 0, 0, 0, NULL, &conf_##type##_section, help},
#define LIST(section, name, type, max, help) \
    {#name, CONF_LIST, offsetof(struct conf_##section, name), NULL, 0, max, 0, NULL, &conf_##type##_section, help},
#include "common/conf_keys.def"
#undef LIVE
#undef BOOT
#undef SECRET

#define SECTION_BEGIN(section, help) \
    const struct conf_section conf_##section##_section = { \
        #section, help, section##_keys, ARRAY_LEN(section##_keys), sizeof(struct conf_##section)};
#define SECTION_END(section)
#define KEY(section, name, KIND, dflt, min, max, flags, help)
#define ENUM(section, name, choices, dflt, flags, help)
#define BLOCK(section, name, type, help)
#define LIST(section, name, type, max, help)
#include "common/conf_keys.def"
// clang-format on
