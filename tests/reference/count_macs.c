/* count_macs.c - a driver for a generated network whose multiply-adds count themselves in `macs` (test_textbook.c).
 *
 * Compares the count of each kernel with the network's facts. Prints how many kernels did any; or what differs, and
 * exits 1. With the argument "padded" a bounds test may leave some out.
 */
#include "trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern long long macs;
long long macs;

static const cnn_kernel *kernels;
static long long counted_at;
static int padded, counting, wrong;

/* After each kernel. */
static void check_count(void *context, int kernel)
{
    (void)context;
    double done = (double)(macs - counted_at), declared = kernels[kernel].macs;
    counted_at = macs;
    counting += done > 0;
    if (padded ? done > declared || (done > 0) != (declared > 0) : done != declared) {
        printf("%s: %.0f multiply-adds are done, %.0f declared\n", kernels[kernel].name, done, declared);
        wrong = 1;
    }
}

int cnn_main(int argc, char **argv, const cnn_network *network)
{
    int input[4], output[4];
    const cnn_watch watch = {.after = check_count};
    padded = argc > 1 && strcmp(argv[1], "padded") == 0;
    network->shape(input, output);
    size_t count = 1;
    for (int d = 0; d < 4; d++)
        count *= (size_t)(input[d] > 0 ? input[d] : 1);
    cnn_real *x = calloc(count, sizeof *x);
    int32_t *labels = calloc((size_t)input[0], sizeof *labels);
    void *net = network->create(1);
    if (x == NULL || labels == NULL || net == NULL)
        return 1;
    network->watch(net, &watch);
    kernels = network->facts->predict;
    network->predict(net, x, NULL);
    kernels = network->facts->gradients;
    network->gradients(net, x, labels, NULL);
    if (!wrong)
        printf("%d\n", counting);
    network->destroy(net);
    free(x), free(labels);
    return wrong;
}
