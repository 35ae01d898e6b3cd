/* fuzz_npy.c - libFuzzer target: any bytes as a .npy file, and as the pictures and the labels of a data set. A report
 * is fine; anything else is a finding.
 */
#define _GNU_SOURCE
#include "data/array.h"
#include "data/data.h"
#include "file.h"

static const char *const names[] = {"x.npy", "y.npy", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const char *path = fuzz_file(bytes, length);
    cnn_wish    wish = {.input = {2, 1, 1, 1}, .classes = 256};
    cnn_picture p = {0};
    cnn_array   a;

    if (cnn_array_open_npy(&a, path)) {
        size_t count = 1;
        for (int i = 0; i < a.rank; i++)
            count *= a.shape[i];
        if (count != a.count || a.offset + a.count * (size_t)a.bytes != length)
            abort();
        cnn_array_close(&a);
    }
    cnn_source *s = cnn_source_open(fuzz_folder(path, names), CNN_TRAIN, &wish);
    for (size_t i = 0; s && i < cnn_source_size(s); i++)
        if (cnn_source_read(s, i, &p) != 1)
            abort();
    cnn_source_close(s);
    cnn_picture_free(&p);
    return 0;
}
