/* fuzz_cifar.c - libFuzzer target: any bytes as a file of CIFAR-10 or CIFAR-100 and as the names of its classes. A
 * report is fine; anything else is a finding. The first byte chooses the format.
 */
#define _GNU_SOURCE
#include "data/data.h"
#include "file.h"

static const char *const ten[] = {"test_batch.bin", "batches.meta.txt", NULL};
static const char *const hundred[] = {"test.bin", "fine_label_names.txt", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    cnn_wish    wish = {.input = {2, 3, 32, 32}, .classes = 100};
    cnn_picture p = {0};

    if (length < 1)
        return 0;
    const char *file = fuzz_file(bytes + 1, length - 1);
    cnn_source *s = cnn_source_open(fuzz_folder(file, bytes[0] & 1 ? hundred : ten), CNN_TEST, &wish);
    for (size_t i = 0; s && i < cnn_source_size(s); i++) {
        int32_t label = cnn_source_label(s, i);
        if (label < 0 || label >= wish.classes || cnn_source_read(s, i, &p) != 1)
            abort();
        cnn_source_class(s, label);
    }
    cnn_source_close(s);
    cnn_picture_free(&p);
    return 0;
}
