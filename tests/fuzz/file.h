/* file.h - the fuzzer's bytes as a file, in memory. */
#ifndef FUZZ_FILE_H
#define FUZZ_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* A file of these bytes, the same file each time; its path. */
static inline const char *fuzz_file(const uint8_t *bytes, size_t length)
{
    static int  file = -1;
    static char path[64];

    if (file < 0)
        file = memfd_create("fuzz", 0);
    if (ftruncate(file, 0) < 0 || pwrite(file, bytes, length, 0) != (ssize_t)length)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return path;
}

/* A folder in which each of these names (NULL at the end) is that file. It is made once for each list and removed at
 * exit. */
enum { FUZZ_FOLDERS = 4 };
static struct { char path[64]; const char *const *names; } fuzz_folders[FUZZ_FOLDERS];

static inline void fuzz_remove(void)
{
    char link[128];

    for (int i = 0; i < FUZZ_FOLDERS && *fuzz_folders[i].path; i++) {
        for (const char *const *name = fuzz_folders[i].names; *name; name++) {
            snprintf(link, sizeof link, "%s/%s", fuzz_folders[i].path, *name);
            unlink(link);
        }
        rmdir(fuzz_folders[i].path);
    }
}

static inline const char *fuzz_folder(const char *file, const char *const *names)
{
    char link[128];
    int  i = 0;

    while (i < FUZZ_FOLDERS && fuzz_folders[i].names && fuzz_folders[i].names != names)
        i++;
    if (i == FUZZ_FOLDERS)
        abort();
    if (fuzz_folders[i].names)
        return fuzz_folders[i].path;
    if (i == 0)
        atexit(fuzz_remove);
    fuzz_folders[i].names = names;
    snprintf(fuzz_folders[i].path, sizeof fuzz_folders[i].path, "/tmp/fuzz-XXXXXX");
    if (!mkdtemp(fuzz_folders[i].path))
        abort();
    for (; *names; names++) {
        snprintf(link, sizeof link, "%s/%s", fuzz_folders[i].path, *names);
        if (symlink(file, link) != 0)
            abort();
    }
    return fuzz_folders[i].path;
}

#endif
