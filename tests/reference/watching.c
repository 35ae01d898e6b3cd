/* watching.c - a driver for a generated network that watches its kernels (test_watch.c);
 * in place of the trainer's main.
 *
 * Checks the table of kernels while they run: their order; that what they computed is finite where the table says it
 * lies; that the gradients it calls complete are those that gradients leaves, each once; that a loss that is not finite
 * ends the step. Then the parameter named by the argument becomes NaN: prints the name and pass of the first kernel
 * whose result shows it. Prints "good" last; the exit status is 1 after a failed check.
 */
#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TENSORS = 200 };

typedef struct {
    const cnn_network *network;
    void              *net;
    const cnn_kernel  *kernels;
    int                last, told, not_finite;          /* kernels; -1: none                                         */
    cnn_real          *complete[MOST_TENSORS];          /* gradients as they were when complete; NULL: not yet       */
} Watching;

static int failures;

static void check(int good, const char *what, const char *name)
{
    if (!good)
        failures++, printf("%s: %s\n", name, what);
}

static int is_finite(const Watching *w, const cnn_kernel *k)
{
    const cnn_real *arena = w->network->arena(w->net) + k->offset;
    for (size_t piece = 0; piece < k->times; piece++)
        for (size_t i = 0; i < k->count; i++)
            if (!isfinite(arena[piece * k->pitch + i]))
                return 0;
    return 1;
}

static void look(void *context, int kernel)
{
    Watching *w = context;
    const cnn_kernel *k = &w->kernels[kernel];
    check(kernel > w->last, "comes after a later one", k->name);
    check(k->pass == CNN_FORWARD || k->pass == CNN_LOSS || k->pass == CNN_BACKWARD, "has no pass", k->name);
    check(k->layer >= 0 || k->pass == CNN_LOSS || kernel == 0, "has no layer", k->name);
    w->last = kernel;
    w->told++;
    if (w->not_finite < 0 && !is_finite(w, k))
        w->not_finite = kernel;
    for (const int *t = k->gradient; *t >= 0; t++) {
        size_t count = w->network->tensor(*t).count;
        check(w->complete[*t] == NULL, "gives a gradient that was complete", k->name);
        w->complete[*t] = malloc(count * sizeof(cnn_real));
        w->network->get_grad(w->net, *t, w->complete[*t]);
    }
}

/* Every gradient was complete once, and did not change any more. */
static void check_gradients(Watching *w)
{
    for (int t = 0; t < w->network->tensors(); t++) {
        cnn_tensor tensor = w->network->tensor(t);
        check((w->complete[t] != NULL) == tensor.trainable, "was complete, and does not learn; or was not",
              tensor.name);
        cnn_real *now = malloc(tensor.count * sizeof *now);
        w->network->get_grad(w->net, t, now);
        if (w->complete[t])
            check(memcmp(now, w->complete[t], tensor.count * sizeof *now) == 0, "changed when complete", tensor.name);
        free(now);
        free(w->complete[t]);
        w->complete[t] = NULL;
    }
}

static double watched(Watching *w, int waits, const cnn_real *x, const int32_t *labels)
{
    const cnn_watch watch = {look, w, waits};
    w->last = w->not_finite = -1;
    w->told = 0;
    w->network->watch(w->net, &watch);
    double loss = labels ? (double)w->network->gradients(w->net, x, labels, NULL) : 0;
    if (!labels)
        w->network->predict(w->net, x, NULL);
    w->network->watch(w->net, NULL);
    return loss;
}

/* The first element of a tensor becomes NaN. */
static void break_tensor(Watching *w, const char *name)
{
    size_t first, count, whole;
    int tensor = 0;
    while (strcmp(w->network->tensor(tensor).name, name) != 0)
        tensor++;
    w->network->span(tensor, &first, &count);
    w->network->flat(w->net, CNN_VALUES, &whole)[first] = (cnn_real)NAN;
}

int cnn_main(int argc, char **argv, const cnn_network *network)
{
    static const char *const passes[] = {"forward", "loss", "backward"};
    const cnn_facts *facts = network->facts;
    int input[4], output[4];
    if (argc < 2)
        return 2;
    network->shape(input, output);
    size_t count = 1;
    for (int d = 0; d < 4; d++)
        count *= (size_t)(input[d] > 0 ? input[d] : 1);
    cnn_real *x = malloc(count * sizeof *x);
    cnn_fill_normal(x, count, 1, 1, 1);
    int32_t *labels = calloc((size_t)input[0], sizeof *labels);
    Watching w = {.network = network, .net = network->create(1), .kernels = facts->predict};

    watched(&w, 1, x, NULL);
    check(w.told == facts->predict_count && w.not_finite < 0, "predict was not watched, or is not finite", facts->name);
    w.kernels = facts->gradients;
    double loss = watched(&w, 1, x, labels);
    check(w.told == facts->gradients_count && w.not_finite < 0, "gradients were not watched, or are not finite",
          facts->name);
    check_gradients(&w);

    break_tensor(&w, argv[1]);
    check(!isfinite(watched(&w, 1, x, labels)), "the loss is finite", facts->name);
    check(w.not_finite >= 0, "nothing that is not finite was found", facts->name);
    check(w.kernels[w.last].pass != CNN_BACKWARD, "a loss that is not finite went backward", facts->name);
    if (w.not_finite >= 0)
        printf("%s %s\n", facts->layers[w.kernels[w.not_finite].layer].name, passes[w.kernels[w.not_finite].pass]);
    for (int t = 0; t < network->tensors(); t++)
        free(w.complete[t]);
    network->destroy(w.net);

    w.net = network->create(1);
    memset(w.complete, 0, sizeof w.complete);
    network->watch(w.net, NULL);
    check((double)network->gradients(w.net, x, labels, NULL) == loss, "watching changes the loss", facts->name);
    network->destroy(w.net);
    free(x);
    free(labels);
    printf("%s\n", failures ? "failed" : "good");
    return failures != 0;
}
