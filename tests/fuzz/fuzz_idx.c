/* fuzz_idx.c - libFuzzer target: any bytes as an IDX file, plain or gzip. A report is fine; anything else is a finding.
 *
 * The first byte chooses the ranks asked for, the rest is the file.
 * Run it with -close_fd_mask=2, which keeps the reports off the screen.
 */
#define _GNU_SOURCE
#include "data/data.h"
#include "file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    cnn_idx idx;

    if (length < 1)
        return 0;
    const char *path = fuzz_file(bytes + 1, length - 1);
    if (cnn_idx_read(path, bytes[0] & 1 ? 1 : 3, bytes[0] & 1 ? 1 : 4, bytes[0] & 2 ? 2 : -1, &idx)) {
        size_t count = 1, sum = 0;
        for (int i = 0; i < idx.rank; i++)
            count *= (size_t)idx.shape[i];
        for (size_t i = 0; i < idx.count; i++)
            sum += idx.bytes[i];
        if (count != idx.count || sum > 255 * count)
            abort();
        cnn_idx_free(&idx);
    } else if (idx.bytes) {
        abort();
    }
    return 0;
}
