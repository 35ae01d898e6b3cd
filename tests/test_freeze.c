/* test_freeze.c - frozen tensors: they stay, the others learn as before, and what only they need is not computed. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "programs.h"
#include "support.h"

enum { TRIALS = 40 };

/* The gradient of every tensor after one call, one array each; owned by the caller. */
static double **all_gradients(Loaded *net, const double *x, const int32_t *labels)
{
    double **all = calloc((size_t)net->tensors(), sizeof *all);
    run_gradients(net, x, labels, NULL);
    for (int i = 0; i < net->tensors(); i++)
        all[i] = fetch(net, net->get_grad, i);
    return all;
}

static void free_gradients(const Loaded *net, double **all)
{
    for (int i = 0; i < net->tensors(); i++)
        free(all[i]);
    free(all);
}

static bool same(const double *a, const double *b, size_t count)
{
    return memcmp(a, b, sizeof *a * count) == 0;
}

/* Any set of tensors may be frozen: the gradients of the others keep every bit, and freezing can be taken back. */
static void expect_others_unchanged(const char *file, const char *name)
{
    Loaded net = load_file(file, name, "--batch 3", 3);
    double *x = reference_pictures(&net, 0);
    int32_t *labels = reference_labels(&net, 0);
    double **whole = all_gradients(&net, x, labels);
    for (int trial = 0; trial < TRIALS; trial++) {
        bool frozen[200] = {false};
        for (int i = 0; i < net.tensors(); i++) {
            frozen[i] = reference_unit((size_t)i, (uint32_t)(100 + trial)) < (trial % 4 - 1) * 0.5;
            net.freeze(net.net, i, frozen[i]);
        }
        double **part = all_gradients(&net, x, labels);
        for (int i = 0; i < net.tensors(); i++)
            cr_expect(frozen[i] || same(whole[i], part[i], net.tensor(i).count),
                      "%s: trial %d changes the gradient of %s", file, trial, net.tensor(i).name);
        free_gradients(&net, part);
    }
    free_gradients(&net, whole);
    free(x);
    free(labels);
    unload_network(&net);
}

Test(freeze, gradients_of_others)
{
    expect_others_unchanged("tests/golden/graph.net", "graph");
    expect_others_unchanged("tests/golden/normal.net", "normal");
    expect_others_unchanged("dsl-examples/lenet.net", "lenet");
}

static void count_kernel(void *context, int kernel)
{
    (void)kernel;
    ++*(int *)context;
}

/* How many kernels of gradients run while all tensors but those whose name begins with `learning` are frozen. */
static int kernels_run(Loaded *net, const char *learning, const double *x, const int32_t *labels)
{
    int count = 0;
    const cnn_watch watch = {.after = count_kernel, .context = &count};
    for (int i = 0; i < net->tensors(); i++)
        net->freeze(net->net, i, strncmp(net->tensor(i).name, learning, strlen(learning)) != 0);
    net->watch(net->net, &watch);
    run_gradients(net, x, labels, NULL);
    net->watch(net->net, NULL);
    return count;
}

/* LeNet has 12 forward kernels and 21 backward ones. */
Test(freeze, needless_kernels_rest)
{
    Loaded net = load_file("dsl-examples/lenet.net", "lenet", "--batch 3 -O0", 3);
    double *x = reference_pictures(&net, 0);
    int32_t *labels = reference_labels(&net, 0);
    cr_expect(kernels_run(&net, "", x, labels) == 12 + 21);
    cr_expect(kernels_run(&net, "fc3", x, labels) == 12 + 3);          /* loss, bias, weight               */
    cr_expect(kernels_run(&net, "fc2", x, labels) == 12 + 5);          /* loss, fc3's and sigmoid's input  */
    cr_expect(kernels_run(&net, "none", x, labels) == 12);
    free(x);
    free(labels);
    unload_network(&net);
}

Test(freeze, updates_leave_frozen_tensors)
{
    Loaded net = load_file("tests/golden/graph.net", "graph", "--batch 3", 3);
    double *x = reference_pictures(&net, 0);
    int32_t *labels = reference_labels(&net, 0);
    double **before = calloc((size_t)net.tensors(), sizeof *before);
    for (int i = 0; i < net.tensors(); i++) {
        before[i] = fetch(&net, net.get, i);
        net.freeze(net.net, i, i % 2);
    }
    run_gradients(&net, x, labels, NULL);
    net.update(net.net, &(cnn_update){.lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.1f});
    for (int i = 0; i < net.tensors(); i++) {
        double *after = fetch(&net, net.get, i);
        if (net.tensor(i).trainable)
            cr_expect(same(before[i], after, net.tensor(i).count) == (i % 2 == 1), "%s", net.tensor(i).name);
        free(after);
        free(before[i]);
    }
    free(before);
    free(x);
    free(labels);
    unload_network(&net);
}

/* A layer that nothing uses gets no gradient; weight decay must not shrink it either. */
Test(freeze, unused_layers_stay)
{
    static const char text[] = "network unused() { input(2, 4, 4); as x; dead: conv(3, 3); from x; flatten; "
                               "fc: linear(2); }";
    char *folder = scratch_folder("freeze_unused"), file[700];
    snprintf(file, sizeof file, "%s/unused.net", folder);
    write_whole(file, text, sizeof text - 1);
    Loaded net = load_file(file, "unused", "--batch 3", 3);
    double *x = reference_pictures(&net, 0), *before = fetch(&net, net.get, 0);
    int32_t *labels = reference_labels(&net, 0);
    run_gradients(&net, x, labels, NULL);
    net.update(net.net, &(cnn_update){.lr = 0.1f, .weight_decay = 0.5f});
    double *after = fetch(&net, net.get, 0);
    cr_expect(same(before, after, net.tensor(0).count));
    free(x), free(labels), free(before), free(after), free(folder);
    unload_network(&net);
}
