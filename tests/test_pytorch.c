/* test_pytorch.c - generated code against PyTorch: logits, loss, every gradient, momenta, parameters and running
 * statistics of three training steps, and prediction before and after (tests/golden/NAME.ref, made by make.py there).
 *
 * Each network is built at both levels, in both precisions. The double build must agree to 1e-11: both sides compute
 * the same formulas in the same precision and differ in the order of sums only, which costs some hundred roundings of
 * 1e-16 (measured: at most 1.1e-13). The float build must agree to 3e-5 for the same reason at 6e-8 (measured: at most
 * 1.9e-6); it shows that no value passes through anything coarser than a float, and that no sum is ordered badly.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "pytorch.h"
#include "support.h"

static void compare_level(const char *name, const char *file, bool is_double, int batch, const char *level)
{
    char test[64], library[512], flags[64], path[256];
    snprintf(test, sizeof test, "pytorch_%s_%s%s", name, is_double ? "double" : "float", level);
    char *folder = scratch_folder(test);
    snprintf(library, sizeof library, "%s/lib%s.so", folder, name);
    snprintf(flags, sizeof flags, "%s --batch %d%s", level, batch, is_double ? " --double" : "");
    snprintf(path, sizeof path, "tests/golden/%s.ref", name);
    char *reference = read_whole(path, NULL);
    cr_assert(reference, "%s is missing", path);

    compile_library(file, flags, library);
    Comparison c = {load_network(library, name, is_double, REFERENCE_SEED), name, is_double ? 1e-11 : 3e-5, 0, 0};
    expect_state_dict(&c, reference);
    fill_parameters(&c.net);
    follow(&c, reference);
    cr_expect(c.compared > 500, "%s: only %d values were compared", name, c.compared);
    if (getenv("VERBOSE"))
        fprintf(stderr, "%s: %d values, worst error %.2g\n", test, c.compared, c.worst);
    unload_network(&c.net);
    free(reference);
    free(folder);
}

static void compare(const char *name, const char *file, bool is_double, int batch)
{
    compare_level(name, file, is_double, batch, "-O0");
    compare_level(name, file, is_double, batch, "-O2");
}

Test(pytorch, lenet_double)   { compare("lenet", "dsl-examples/lenet.net", true, 4); }
Test(pytorch, lenet_float)    { compare("lenet", "dsl-examples/lenet.net", false, 4); }
Test(pytorch, windows_double) { compare("windows", "tests/golden/windows.net", true, 3); }
Test(pytorch, windows_float)  { compare("windows", "tests/golden/windows.net", false, 3); }
Test(pytorch, normal_double)  { compare("normal", "tests/golden/normal.net", true, 6); }
Test(pytorch, normal_float)   { compare("normal", "tests/golden/normal.net", false, 6); }
Test(pytorch, graph_double)   { compare("graph", "tests/golden/graph.net", true, 2); }
Test(pytorch, graph_float)    { compare("graph", "tests/golden/graph.net", false, 2); }
