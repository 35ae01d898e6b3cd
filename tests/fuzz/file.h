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

#endif
