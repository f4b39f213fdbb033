/* replay: a fuzz target as a plain test: runs every file given, and every file of the
 * directories given, through LLVMFuzzerTestOneInput. Fails when there is none: an empty
 * corpus tests nothing. */
#include "common/buf.h"
#include "common/fd.h"

#include <dirent.h>
#include <sys/stat.h>

#define FILE_MAX (64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned files;

static int replay_file(const char *path)
{
    struct buf bytes = {0};
    struct err e;
    if (fd_read_file(path, FILE_MAX, &bytes, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return -1;
    }
    /* a copy of exactly this size: reading past the end is seen by the sanitizer */
    uint8_t *data = malloc(bytes.n ? bytes.n : 1);
    if (bytes.n)
        memcpy(data, bytes.p, bytes.n);
    LLVMFuzzerTestOneInput(data, bytes.n);
    free(data);
    buf_free(&bytes);
    files++;
    return 0;
}

static int replay(const char *path);

static int replay_directory(const char *path)
{
    struct dirent **entries;
    int bad = 0, n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        struct buf below = {0};
        buf_printf(&below, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && replay(buf_cstr(&below)))
            bad = -1;
        buf_free(&below);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return n < 0 ? -1 : bad;
}

static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    return S_ISDIR(st.st_mode) ? replay_directory(path) : replay_file(path);
}

int main(int argc, char **argv)
{
    int bad = 0;
    for (int i = 1; i < argc; i++)
        if (replay(argv[i]))
            bad = 1;
    printf("%u inputs\n", files);
    return bad || files == 0;
}
