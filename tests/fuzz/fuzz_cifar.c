/* fuzz_cifar.c - libFuzzer target: any bytes as a file of CIFAR-10 or CIFAR-100 and as the names of its classes. A report
 * is fine; anything else is a finding. The first byte chooses the format.
 */
#define _GNU_SOURCE
#include "data.h"
#include "file.h"

/* A folder whose files are all this one. */
static const char *folder_of(const char *path)
{
    static const char *const names[] = {"test_batch.bin", "batches.meta.txt", "test.bin", "fine_label_names.txt"};
    static char folders[2][64];
    static int  made;

    for (int i = 0; i < 4 && made < 4; i++, made++) {
        char link[128], *folder = folders[i / 2];
        if (i % 2 == 0)
            snprintf(folder, sizeof folders[0], "/tmp/fuzz-cifar-XXXXXX");
        if (i % 2 == 0 && !mkdtemp(folder))
            abort();
        snprintf(link, sizeof link, "%s/%s", folder, names[i]);
        if (symlink(path, link) != 0)
            abort();
    }
    return folders[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    cnn_wish    wish = {.input = {2, 3, 32, 32}, .classes = 100};
    cnn_picture p = {0};

    if (length < 1)
        return 0;
    const char *folder = folder_of(fuzz_file(bytes + 1, length - 1)) + (bytes[0] & 1 ? 64 : 0);
    cnn_source *s = cnn_source_open(folder, CNN_TEST, &wish);
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
