/* test_random_networks.c - thirty random networks against PyTorch: logits in both modes, loss, gradients, parameters
 * and running statistics over three training steps (tests/random/NAME.net and NAME.ref, made by run.py there; hundreds
 * of fresh ones are compared by `make test-long`), the textbook and fast code for each target in turn. Their C must
 * compile without a warning, by clang and by gcc.
 *
 * The float build must agree to 3e-5 with PyTorch in double precision, as in test_pytorch.c: both sides
 * compute the same formulas, in other orders of summing, and some hundred roundings of 6e-8 separate them
 * (measured: at most 1.0e-5). The networks are those where rounding decides nothing: no value lies next to a
 * relu's kink or a max-pool's second best.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "pytorch.h"
#include "support.h"
#include "target.h"

enum { NETWORKS = 30 };

/* Without optimisation beyond -O1: the loops run milliseconds, and compiling them for a vector unit takes seconds. */
static void compile_strictly(const char *file, const char *base, const char *level, const Target *target,
                             const char *compiler)
{
    Outcome o = run_command("%s/cnnc %s --target %s '%s' -o '%s.c' && %s -std=gnu11 -Wall -Wextra -Werror -O1 %s -fPIC "
                            "-shared -I%s/include '%s.c' %s/libcnn.a -lm -o '%s.so'", BUILD, level, target->name, file,
                            base, compiler, target->flags, BUILD, base, BUILD, base);
    cr_assert(o.status == 0, "%s, %s: status %d\n%s", file, compiler, o.status, o.err);
    cr_expect(*o.err == 0, "%s, %s: %s", file, compiler, o.err);
    outcome_free(&o);
}

/* One after the other of those that this machine runs. */
static const Target *some_target(int number)
{
    const Target *target = find_target((const char *const[]){"generic", "x86-64-v3", "x86-64-v4"}[number % 3]);
    return target->lanes <= find_target("native")->lanes ? target : find_target("generic");
}

static void compare(const char *file, const char *level, int number)
{
    char name[64], base[512], path[256];
    const char *slash = strrchr(file, '/') + 1;
    int length = (int)strcspn(slash, ".");
    snprintf(name, sizeof name, "%.*s", length, slash);
    snprintf(path, sizeof path, "%s%s", name, level);
    char *folder = scratch_folder(path), *reference;
    snprintf(path, sizeof path, "tests/random/%s.ref", name);
    reference = read_whole(path, NULL);
    cr_assert(reference, "%s is missing", path);
    snprintf(base, sizeof base, "%s/%s", folder, name);

    compile_strictly(file, base, level, some_target(number), number % 4 == 0 ? "gcc" : "clang-19");
    strcat(base, ".so");
    Comparison c = {load_network(base, name, false, REFERENCE_SEED), name, 3e-5, 0, 0};
    expect_state_dict(&c, reference);
    fill_parameters(&c.net);
    follow(&c, reference);
    cr_expect(c.compared > 50, "%s: only %d values were compared", name, c.compared);
    if (getenv("VERBOSE"))
        fprintf(stderr, "%s: %d values, worst error %.2g\n", name, c.compared, c.worst);
    unload_network(&c.net);
    free(reference);
    free(folder);
}

ParameterizedTestParameters(random_networks, equal_pytorch)
{
    static int number[NETWORKS];
    for (int i = 0; i < NETWORKS; i++)
        number[i] = i;
    return cr_make_param_array(int, number, NETWORKS);
}

ParameterizedTest(int *number, random_networks, equal_pytorch)
{
    glob_t files;
    cr_assert(glob("tests/random/*.net", 0, NULL, &files) == 0, "tests/random has no networks");
    cr_assert(files.gl_pathc == NETWORKS, "tests/random has %zu networks", files.gl_pathc);
    compare(files.gl_pathv[*number], "-O0", *number);
    compare(files.gl_pathv[*number], "-O2", *number);
    globfree(&files);
}
