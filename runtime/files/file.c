/* file.c - opens and reads files of data; declared and described in file.h. */
#define _GNU_SOURCE
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cnn_file_open(const char *path, uint64_t *size, char why[CNN_WHY])
{
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);           /* not to wait for a pipe's other end */

    if (file < 0 || fstat(file, &about) < 0)
        snprintf(why, CNN_WHY, "cannot be opened: %s", strerror(errno));
    else if (!S_ISREG(about.st_mode))
        snprintf(why, CNN_WHY, "not a file of data");
    else {
        *size = (uint64_t)about.st_size;
        return file;
    }
    if (file >= 0)
        close(file);
    return -1;
}

int cnn_file_read(int file, void *out, size_t length, uint64_t offset, char why[CNN_WHY])
{
    for (size_t done = 0; done < length;) {
        ssize_t got = pread(file, (char *)out + done, length - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            snprintf(why, CNN_WHY, "%s%s", got ? "cannot be read: " : "ends early", got ? strerror(errno) : "");
            return 0;
        }
        done += (size_t)got;
    }
    return 1;
}
