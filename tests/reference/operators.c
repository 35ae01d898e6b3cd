/* operators.c - a driver for one generated network: computes what operators.py has PyTorch compute, in the same format.
 *
 * Linked in place of the trainer's command line: a generated file compiled with -DCNN_MAIN calls cnn_main.
 */
#include "trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBES = 3 };

/* splitmix64's finaliser of a counter, as in operators.py. */
static uint64_t number(uint64_t stream, uint64_t i)
{
    uint64_t z = ((stream << 32) + i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double halves(uint64_t stream, uint64_t i)
{
    return ((double)(number(stream, i) % 8) - 3) / 2;
}

static int ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static cnn_real *room(size_t count)
{
    cnn_real *values = calloc(count ? count : 1, sizeof *values);
    if (values == NULL)
        exit(1);
    return values;
}

static void show(const char *key, const cnn_real *values, size_t count)
{
    printf("%s", key);
    for (size_t i = 0; i < count; i++)
        printf(" %.17g", (double)values[i]);
    printf("\n");
}

static void show_tensor(const char *key, const cnn_tensor *t, const cnn_real *values)
{
    printf("%s %s", key, t->name);
    for (uint64_t k = 0; k < PROBES; k++) {
        double sum = 0;
        for (size_t i = 0; i < t->count; i++)
            sum += (double)values[i] * ((double)(number(2000 + k, i) % 256) - 127.5) / 128;
        printf(" %.17g", sum);
    }
    printf("\n");
}

static void set_tensors(const cnn_network *network, void *net)
{
    for (int t = 0; t < network->tensors(); t++) {
        cnn_tensor tensor = network->tensor(t);
        cnn_real *values = room(tensor.count);
        for (size_t i = 0; i < tensor.count && !tensor.integer; i++) {
            double value = halves((uint64_t)t, i);
            values[i] = strcmp(tensor.name, "fc.weight") == 0 ? value / 64
                      : ends_in(tensor.name, "running_var") ? value + 2 : value;
        }
        network->set(net, t, values);
        free(values);
    }
}

static void show_tensors(const cnn_network *network, void *net, int gradients)
{
    for (int t = 0; t < network->tensors(); t++) {
        cnn_tensor tensor = network->tensor(t);
        if (gradients && !tensor.trainable)
            continue;
        cnn_real *values = room(tensor.count);
        (gradients ? network->get_grad : network->get)(net, t, values);
        show_tensor(gradients ? "grad" : "value", &tensor, values);
        free(values);
    }
}

int cnn_main(int argc, char **argv, const cnn_network *network)
{
    (void)argc, (void)argv;
    int input[4], output[4];
    network->shape(input, output);
    size_t pixels = 1, classes = 1;
    for (int d = 0; d < 4; d++) {
        pixels *= (size_t)(input[d] > 0 ? input[d] : 1);
        classes *= (size_t)(output[d] > 0 ? output[d] : 1);
    }
    cnn_real *x = room(pixels), *logits = room(classes);
    int32_t *labels = calloc((size_t)input[0], sizeof *labels);
    void *net = network->create(1);
    if (labels == NULL || net == NULL)
        return 1;
    for (size_t i = 0; i < pixels; i++)
        x[i] = (cnn_real)halves(1000, i);
    for (int n = 0; n < input[0]; n++)
        labels[n] = n % 3;
    set_tensors(network, net);

    network->predict(net, x, logits);
    show("predict", logits, classes);
    for (int step = 0; step < 3; step++) {
        cnn_real loss = network->gradients(net, x, labels, logits);
        if (step == 0) {
            show("train", logits, classes);
            show("loss", &loss, 1);
            show_tensors(network, net, 1);
        }
        network->update(net,
                        &(cnn_update){.lr = 0.125f, .momentum = 0.5f, .weight_decay = 0.0625f, .nesterov = step == 2});
    }
    show_tensors(network, net, 0);
    network->destroy(net);
    free(x), free(logits), free(labels);
    return 0;
}
