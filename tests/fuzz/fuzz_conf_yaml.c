/* Any bytes as a configuration file: refused with one line that begins with the file's
 * name, or accepted; then it goes through bytes and comes back the same. */
#include "supervisor/conf_yaml.h"

#define NAME                                                                             \
    "/nonexistent/fuzz.yaml" /* no file a document names by a relative path is there */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_difference(void *ctx UNUSED, const char *path,
                          const struct conf_key *key UNUSED, struct str text UNUSED,
                          int line UNUSED)
{
    bug_at(path, 0, "differs after encode and decode");
}

static void check_travel(struct conf *c)
{
    struct buf bytes = {0};
    struct err e;
    int line;
    BUG_ON(conf_check(c, &line, &e));
    conf_encode(c, &bytes);
    struct conf *decoded = conf_decode(buf_view(&bytes), &e);
    BUG_ON(!decoded);
    conf_diff(c, decoded, on_difference, NULL);
    conf_unref(decoded);
    buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *c;
    struct err e = {.text = ""};
    if (conf_yaml_read((struct str){(const char *)data, size}, NAME, &c, &e)) {
        BUG_ON(strncmp(e.text, NAME ":", strlen(NAME) + 1) != 0);
        BUG_ON(strpbrk(e.text, "\n\r\x1b"));
        return 0;
    }
    check_travel(c);
    conf_unref(c);
    return 0;
}
