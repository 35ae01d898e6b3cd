/* npy.c - arrays for numpy.load: format 1.0 (numpy/lib/format.py), C order, '<f4' or '<f8' as cnn_real is.
 *
 *   "\x93NUMPY" 1 0, length of the header in 2 bytes, a Python dictionary padded with spaces to a multiple of 64, data
 */
#include "command.h"
#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int cnn_npy_write(const char *path, const cnn_real *values, int rank, const int *shape)
{
    char shape_text[128] = "", header[256];
    size_t count = 1;
    for (int i = 0; i < rank; i++) {            /* a tuple of one is (n,) */
        size_t used = strlen(shape_text);
        const char *format = i + 1 < rank ? "%d, " : rank == 1 ? "%d," : "%d";
        snprintf(shape_text + used, sizeof shape_text - used, format, shape[i]);
        count *= (size_t)shape[i];
    }
    int length = snprintf(header, sizeof header, "{'descr': '%cf%zu', 'fortran_order': False, 'shape': (%s), }",
                          __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>', sizeof(cnn_real), shape_text);
    int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
    memset(header + length, ' ', (size_t)(padded - length));
    header[padded - 1] = '\n';
    unsigned char head[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255),
                              (unsigned char)(padded >> 8)};

    FILE *file = fopen(path, "wb");
    int written = file && fwrite(head, 1, 10, file) == 10 &&
                  fwrite(header, 1, (size_t)padded, file) == (size_t)padded &&
                  fwrite(values, sizeof *values, count, file) == count;
    int reason = errno;
    if (file && fclose(file) != 0)
        written = 0, reason = errno;
    if (!written)
        cnn_error("%s: cannot be written: %s", path, strerror(reason));
    return written;
}
