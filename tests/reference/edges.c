/* edges.c - a driver for small networks whose behaviour no gradient check and no reference shows; the network's name
 * says which check it is for. Prints what is wrong, and exits 1.
 */
#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wrong;

static void check(int good, const char *what)
{
    if (!good) {
        printf("wrong: %s\n", what);
        wrong = 1;
    }
}

/* network dropout { input(F); dropout(0.25); fc: linear(2, bias = no); } with a batch of 1. The gradient of row k of
 * the weights is dY[k] times what dropout let through, so it shows the mask. */
enum { F = 5000 };

static void fill(cnn_real *values, size_t count, double value)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (cnn_real)value;
}

/* Reads the mask of the step that `gradients` ran last; the share that was kept. */
static double read_mask(const cnn_network *network, void *net, unsigned char *mask)
{
    static cnn_real gradient[2 * F];
    double scale = 0;
    size_t kept = 0;
    network->get_grad(net, 0, gradient);
    for (int i = 0; i < F; i++)
        if (fabs((double)gradient[i]) > fabs(scale))
            scale = (double)gradient[i];
    for (int i = 0; i < F; i++) {
        mask[i] = gradient[i] != 0;
        kept += mask[i];
        check(gradient[i] == 0 || fabs((double)gradient[i] / scale - 1) < 1e-12, "kept values are all scaled alike");
    }
    return (double)kept / F;
}

static void check_dropout(const cnn_network *network, void *net)
{
    static cnn_real x[F], weights[2 * F], logits[2], expected[2];
    static unsigned char mask[3][F];
    const int32_t label = 0;
    fill(x, F, 1);
    fill(weights, F, 1.0 / F);
    network->set(net, 0, weights);

    network->predict(net, x, logits);
    check(fabs((double)logits[0] - 1) < 1e-12, "prediction is the identity");

    network->gradients(net, x, &label, expected);
    double kept = read_mask(network, net, mask[0]);
    check(fabs(kept - 0.75) < 4 * sqrt(0.25 * 0.75 / F), "a share of 1 - p is kept");
    check(fabs((double)expected[0] - kept / 0.75) < 1e-9, "what is kept is divided by 1 - p");

    network->gradients(net, x, &label, logits);
    read_mask(network, net, mask[1]);
    check(memcmp(mask[0], mask[1], F) == 0, "the same step has the same mask");
    network->set_step(net, 1);
    network->gradients(net, x, &label, logits);
    read_mask(network, net, mask[1]);
    int same = 0, neighbours = 0;
    for (int i = 0; i < F; i++) {
        same += mask[0][i] == mask[1][i];
        neighbours += i > 0 && mask[1][i] == mask[1][i - 1];
    }
    /* two independent masks agree where both keep or both drop */
    check(fabs((double)same / F - 0.625) < 4 * sqrt(0.625 * 0.375 / F), "another step has an independent mask");
    check(fabs((double)neighbours / F - 0.625) < 4 * sqrt(0.625 * 0.375 / F), "neighbours are independent");
    void *other = network->create(2);
    if (other) {
        network->set(other, 0, weights);
        network->gradients(other, x, &label, logits);
        read_mask(network, other, mask[2]);
        check(memcmp(mask[0], mask[2], F) != 0, "another seed has another mask");
        network->destroy(other);
    }
}

/* Two pictures of 8x8, one NaN in the first. */
static void check_nan(const cnn_network *network, void *net)
{
    cnn_real x[2 * 64], logits[4];
    for (int where = 0; where < 64; where++) {
        for (int i = 0; i < 2 * 64; i++)
            x[i] = (cnn_real)(0.01 * i);
        x[where] = (cnn_real)NAN;
        network->predict(net, x, logits);
        check(isnan(logits[0]) && isnan(logits[1]), "a NaN reaches the logits of its picture");
        check(isfinite(logits[2]) && isfinite(logits[3]), "and no others");
    }
}

/* The linear layer in front is made the identity. */
static void check_large(const cnn_network *network, void *net)
{
    const cnn_real identity[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    const cnn_real x[8] = {1e4f, -1e4f, 3e4f, 0, -3e4f, -2e4f, -1e4f, -1e4f};
    const int32_t labels[2] = {1, 0};
    network->set(net, 0, identity);
    cnn_real gradient[16], logits[8], loss = network->gradients(net, x, labels, logits);
    network->get_grad(net, 0, gradient);
    for (int i = 0; i < 16; i++)
        check(isfinite(gradient[i]), "so are the gradients");
    for (int i = 0; i < 8; i++)
        check(isfinite(logits[i]), "logits of large values are finite");
    check(isfinite(loss) && loss > 1000, "so is the loss of a wrong class");
}

int cnn_main(int argc, char **argv, const cnn_network *network)
{
    (void)argc, (void)argv;
    void *net = network->create(1);
    if (net == NULL)
        return 1;
    const char *name = network->facts->name;
    if (strcmp(name, "dropout") == 0)
        check_dropout(network, net);
    else if (strcmp(name, "not_a_number") == 0)
        check_nan(network, net);
    else if (strcmp(name, "large") == 0)
        check_large(network, net);
    else
        check(0, "no check is named as this network");
    network->destroy(net);
    return wrong;
}
