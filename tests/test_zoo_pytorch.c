/* test_zoo_pytorch.c - every network below dsl-examples against PyTorch, at a small size (tests/zoo/NAME.ref, made by
 * references.py there): logits of both modes, the loss, gradients, momenta and running statistics of three steps.
 *
 * The generated code computes in double precision. It must agree to 1e-7: orders of summing differ by 1e-15, and batch
 * normalisation over the few values of a small picture, through a hundred layers and three steps, multiplies that by up
 * to 1e6 (networks without it agree to the twelve digits of the reference). A slip in a formula shows at 1e-4 or more.
 * `make test-pytorch` compares larger sizes to 1e-8, all values, and the code in float as well.
 *
 * Compiled at -O1: at cnnc's own -O3 a network of 41,000 lines takes a minute, and its steps run for a second.
 */
#include <criterion/criterion.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pytorch.h"
#include "support.h"

/* The rest of the line that begins with `word`; owned by the caller. */
static char *line_of(const char *reference, const char *word)
{
    char begin[32];
    snprintf(begin, sizeof begin, "\n%s ", word);
    const char *at = strstr(reference, begin);
    cr_assert(at, "the reference has no line '%s'", word);
    at += strlen(begin);
    return strndup(at, strcspn(at, "\n"));
}

/* The first values of tests/zoo/compare.py: fill_parameters, but weights uniform in +-sqrt(6 / fan-in). */
static void fill_weights(Loaded *net)
{
    for (int t = 0; t < net->tensors(); t++) {
        cnn_tensor info = net->tensor(t);
        if (info.rank < 2)
            continue;
        double *values = malloc(sizeof *values * info.count);
        float bound = (float)sqrt(6 / (double)(info.count / (size_t)info.shape[0]));
        for (size_t i = 0; i < info.count; i++)
            values[i] = (float)(reference_unit(i, (uint32_t)t) * (double)bound);
        store(net, t, values);
        free(values);
    }
}

/* One number for each tensor: the head of references.py. An error is measured against the tensor's norm. */
static void expect_digest(Comparison *c, const char *reference)
{
    char *line = line_of(reference, "digest"), *at = strchr(line, ':') + 1;
    for (int t = 0; t < c->net.tensors(); t++) {
        cnn_tensor info = c->net.tensor(t);
        double *values = info.trainable ? fetch_moment(&c->net, 1, t) : fetch(&c->net, c->net.get, t);
        double sum = 0, squares = 1e-6;
        for (size_t i = 0; i < info.count; i++) {
            sum += values[i] * reference_unit(i, 2000 + (uint32_t)t);
            squares += values[i] * values[i];
        }
        char *after;
        double expected = strtod(at, &after), error = fabs(sum - expected) / sqrt(squares);
        cr_assert(after != at, "%s: the digest ends before %s", c->name, info.name);
        at = after;
        cr_expect(error <= 10 * c->tolerance, "%s: %s %s: the digest is %.9g, PyTorch's %.9g (error %.2g)", c->name,
                  info.trainable ? "momentum" : "value", info.name, sum, expected, error);
        free(values);
    }
    cr_expect(*at == 0, "%s: PyTorch's digest has more tensors", c->name);
    free(line);
}

static void compile(const char *folder, const char *file, const char *flags)
{
    Outcome o = run_command("%s/cnnc -O0 %s '%s' -o %s/net.c && clang-19 -std=gnu11 -O1 -march=native -DREAL=double "
                            "-fPIC -shared -I%s/include %s/net.c %s/libcnn-double.a -lm -o %s/libnet.so",
                            BUILD, flags, file, folder, BUILD, folder, BUILD, folder);
    cr_assert(o.status == 0, "%s %s: status %d\n%s", file, flags, o.status, o.err);
    outcome_free(&o);
}

static void compare(const char *name)
{
    char path[256], test[128], library[600];
    snprintf(path, sizeof path, "tests/zoo/%s.ref", name);
    snprintf(test, sizeof test, "zoo_pytorch_%s", name);
    char *reference = read_whole(path, NULL), *folder = scratch_folder(test);
    cr_assert(reference, "%s is missing: run tests/zoo/references.py", path);
    char *network = line_of(reference, "network"), *flags = line_of(reference, "flags"), *file = strchr(network, ' ');
    *file++ = 0;
    compile(folder, file, flags);
    snprintf(library, sizeof library, "%s/libnet.so", folder);

    Comparison c = {load_network(library, network, true, REFERENCE_SEED), name, 1e-7, 0, 0};
    cr_expect(atoi(strstr(reference, "\ntensors ") + 9) == c.net.tensors(), "%s has %d tensors", name, c.net.tensors());
    fill_parameters(&c.net);
    fill_weights(&c.net);
    follow(&c, reference);
    expect_digest(&c, reference);
    cr_expect(c.compared > 80, "%s: only %d values were compared", name, c.compared);
    if (getenv("VERBOSE"))
        fprintf(stderr, "%s: %d values, worst error %.2g\n", name, c.compared, c.worst);
    unload_network(&c.net);
    free(network);
    free(flags);
    free(reference);
    free(folder);
}

#define EQUALS_PYTORCH(NAME) Test(zoo_pytorch, NAME, .timeout = 600) { compare(#NAME); }
EQUALS_PYTORCH(lenet)
EQUALS_PYTORCH(d2l_softmax_regression)
EQUALS_PYTORCH(d2l_mlp)
EQUALS_PYTORCH(d2l_mlp_batchnorm)
EQUALS_PYTORCH(d2l_lenet_batchnorm)
EQUALS_PYTORCH(d2l_alexnet)
EQUALS_PYTORCH(d2l_vgg11)
EQUALS_PYTORCH(d2l_vgg13)
EQUALS_PYTORCH(d2l_vgg16)
EQUALS_PYTORCH(d2l_vgg19)
EQUALS_PYTORCH(d2l_nin)
EQUALS_PYTORCH(d2l_googlenet)
EQUALS_PYTORCH(d2l_resnet18)
EQUALS_PYTORCH(d2l_resnet34)
EQUALS_PYTORCH(d2l_densenet)
EQUALS_PYTORCH(d2l_mobilenet)
EQUALS_PYTORCH(d2l_unet)
EQUALS_PYTORCH(torchvision_alexnet)
EQUALS_PYTORCH(torchvision_vgg11)
EQUALS_PYTORCH(torchvision_vgg16)
EQUALS_PYTORCH(torchvision_vgg11_bn)
EQUALS_PYTORCH(torchvision_squeezenet1_0)
EQUALS_PYTORCH(torchvision_googlenet)
EQUALS_PYTORCH(torchvision_resnet18)
EQUALS_PYTORCH(torchvision_resnet34)
EQUALS_PYTORCH(torchvision_resnet50)
EQUALS_PYTORCH(torchvision_mobilenet_v2)
EQUALS_PYTORCH(torchvision_densenet121)

/* A new example needs a reference and a line above. */
Test(zoo_pytorch, all_of_the_zoo)
{
    glob_t found = {0};
    cr_assert(glob("dsl-examples/*.net", 0, NULL, &found) == 0 &&
              glob("dsl-examples/*/*.net", GLOB_APPEND, NULL, &found) == 0);
    char *here = read_whole("tests/test_zoo_pytorch.c", NULL);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char line[256], *name = line + sprintf(line, "\nEQUALS_PYTORCH(");
        snprintf(name, sizeof line - 20, "%s", found.gl_pathv[i] + strlen("dsl-examples/"));
        strcpy(strstr(name, ".net"), ")\n");
        for (char *at = name; *at; at++)
            *at = *at == '/' ? '_' : *at;
        cr_expect(strstr(here, line), "%s is not compared with PyTorch", found.gl_pathv[i]);
    }
    free(here);
    globfree(&found);
}
