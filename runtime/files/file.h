/* file.h - files of data as they lie on the disk: regular ones only, so that no pipe or device holds a program up. */
#ifndef CNN_FILE_H
#define CNN_FILE_H

#include <stddef.h>
#include <stdint.h>

enum { CNN_WHY = 128 };

/* Opens a regular file to read and tells its size. A descriptor, or -1 with the reason in `why`: "cannot be opened: No
 * such file or directory", "not a file of data". Prints nothing. */
int cnn_file_open(const char *path, uint64_t *size, char why[CNN_WHY]);

/* Reads exactly `length` bytes at `offset`; several threads may read one file. 1, or 0 with the reason in `why`. */
int cnn_file_read(int file, void *out, size_t length, uint64_t offset, char why[CNN_WHY]);

#endif
