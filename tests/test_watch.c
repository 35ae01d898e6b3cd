/* test_watch.c - watching the kernels of generated code, and the table that says what they
 * are (reference/watching.c). */
#include "support.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* broken: the tensor that becomes NaN; where: the layer and pass that must show it first. */
typedef struct { char network[64], flags[32]; char broken[32], where[64]; } Case;

static Case cases[] = {
    {"dsl-examples/lenet.net", "-O0 --batch 3", "conv2.weight", "conv2 forward"},
    {"dsl-examples/lenet.net", "--batch 3", "conv2.weight", "conv2 forward"},
    {"tests/golden/branches.net", "-O0", "pooled.weight", "pooled forward"},
    {"tests/golden/branches.net", "", "pooled.weight", "pooled forward"},
    {"tests/golden/graph.net", "-O0", "layer1.1.bn2.weight", "layer1.1.bn2 forward"},
    {"tests/golden/graph.net", "", "layer1.1.bn2.weight", "layer1.1.bn2 forward"},
    {"tests/golden/perceptron.net", "", "fc2.weight", "fc2 forward"},
};

ParameterizedTestParameters(watch, kernels)
{
    return cr_make_param_array(Case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(Case *c, watch, kernels)
{
    char name[32], path[700];
    int number = 0;
    while (strcmp(cases[number].network, c->network) != 0 || strcmp(cases[number].flags, c->flags) != 0)
        number++;
    snprintf(name, sizeof name, "watch_%d", number);
    char *folder = scratch_folder(name);
    snprintf(path, sizeof path, "%s/net.c", folder);
    Outcome o = run_command(BUILD "/cnnc %s %s -o %s", c->flags, c->network, path);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);
    o = run_command("clang-19 -O1 $(sed -n 's/.*Compile with: clang \\(.*\\) -c .*/\\1/p' %s) -DCNN_MAIN -Iruntime "
                    "-I%s %s tests/reference/watching.c " BUILD "/libcnn.a -lm -o %s/net", path, folder, path, folder);
    cr_assert(o.status == 0, "%s", o.err);
    outcome_free(&o);
    char expected[128];
    snprintf(expected, sizeof expected, "%s\ngood\n", c->where);
    for (int threads = 1; threads <= 3; threads += 2) {
        o = run_command("OMP_NUM_THREADS=%d timeout 60 %s/net %s", threads, folder, c->broken);
        cr_expect(o.status == 0 && strcmp(o.out, expected) == 0, "%s %s, %d threads: status %d\n%s%s", c->network,
                  c->flags, threads, o.status, o.out, o.err);
        outcome_free(&o);
    }
    free(folder);
}
