/* array.h - arrays of numbers in files: NumPy's .npy, and the tensors of a safetensors file. */
#ifndef CNN_ARRAY_H
#define CNN_ARRAY_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

/* An open array, row-major and little-endian, whose bytes lie in the file from `offset` on: `count` elements, the
 * product of shape[0..rank), all of them there. */
enum { CNN_RANKS = 4 };
typedef struct {
    char     name[PATH_MAX + 128];              /* for messages: "data/x.npy", or "data/all.safetensors: x"          */
    int      file;
    uint64_t offset;
    int      rank;
    size_t   shape[CNN_RANKS], count;
    char     kind;                              /* 'u' unsigned, 'i' signed, 'f' real                                */
    int      bytes;                             /* of an element                                                     */
} cnn_array;

/* Open with a rank from 1 to 4 and every size above 0. 1, or 0 after cnn_error. The caller closes. */
int  cnn_array_open_npy(cnn_array *, const char *path);
int  cnn_array_open_tensor(cnn_array *, const char *path, const char *tensor);
void cnn_array_close(cnn_array *);              /* also of a zeroed one                                              */

/* Whether a safetensors file has a tensor of that name; -1 after cnn_error. */
int  cnn_array_has_tensor(const char *path, const char *tensor);

/* Element i of those that were read to `bytes`, of an integer type. */
long long cnn_array_integer(const cnn_array *, const void *bytes, size_t i);

#endif
