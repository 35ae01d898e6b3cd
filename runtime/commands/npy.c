/* npy.c - arrays for numpy.load: format 1.0 (numpy/lib/format.py), C order, '<f4' or '<f8' as cnn_real is.
 *
 *   "\x93NUMPY" 1 0, length of the header in 2 bytes, a Python dictionary padded with spaces to a multiple of 64, data
 */
#include "output.h"

#include <stdio.h>
#include <string.h>

int cnn_npy_begin(cnn_save *save, const char *path, int rank, const int *shape)
{
    char shape_text[128] = "", header[256];
    for (int i = 0; i < rank; i++) {            /* a tuple of one is (n,) */
        size_t used = strlen(shape_text);
        const char *format = i + 1 < rank ? "%d, " : rank == 1 ? "%d," : "%d";
        snprintf(shape_text + used, sizeof shape_text - used, format, shape[i]);
    }
    int length = snprintf(header, sizeof header, "{'descr': '%cf%zu', 'fortran_order': False, 'shape': (%s), }",
                          __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>', sizeof(cnn_real), shape_text);
    int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
    memset(header + length, ' ', (size_t)(padded - length));
    header[padded - 1] = '\n';
    unsigned char head[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255),
                              (unsigned char)(padded >> 8)};
    return cnn_save_begin(save, path) && cnn_save_put(save, head, sizeof head) &&
           cnn_save_put(save, header, (size_t)padded);
}

int cnn_npy_write(const char *path, const cnn_real *values, int rank, const int *shape)
{
    cnn_save save;
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= (size_t)shape[i];
    cnn_npy_begin(&save, path, rank, shape);
    cnn_save_put(&save, values, count * sizeof *values);
    return cnn_save_end(&save);
}
