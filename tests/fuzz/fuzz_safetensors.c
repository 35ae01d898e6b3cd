/* fuzz_safetensors.c - libFuzzer target: any bytes as a weights file, opened and loaded into a small network, leniently
 * and strictly. A report is fine; anything else, such as a network changed by a load that failed, is a finding.
 * Run it with -close_fd_mask=2, which keeps the reports off the screen.
 */
#define _GNU_SOURCE
#include "file.h"
#include "files/safetensors.h"

#include <string.h>

static void set(void *sets, int index, const cnn_real *in)
{
    (void)index;
    cnn_real copy;
    memcpy(&copy, in, sizeof copy);
    ++*(int *)sets;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    int sets = 0;
    cnn_safetensors *f = cnn_safetensors_open(fuzz_file(bytes, length));
    if (!f)
        return 0;
    cnn_stored items[3] = {
        {"", {"a", 1, {2}, 2, 1, 0}, NULL, set, &sets, 0},
        {"momentum.", {"a", 1, {2}, 2, 1, 0}, NULL, set, &sets, 0},
        {"", {"n", 0, {0}, 1, 0, 1}, NULL, set, &sets, 0},
    };
    for (unsigned allow = 0; allow < 8; allow++) {
        sets = 0;
        int loaded = cnn_safetensors_load(f, items, 3, allow);
        if (loaded != sets && !(loaded < 0 && sets == 0))
            abort();
    }
    cnn_safetensors_metadata(f, "epoch");
    cnn_safetensors_close(f);
    return 0;
}
