/* map.c - element-wise operators: relu, relu6, leaky_relu, sigmoid, tanh, silu, forward and backward.
 *
 * Requires: a KernelDef with `vector`, the formula of one vector in terms of x, y and dy, which stands beside the
 * textbook loops in ops/. Establishes: the same formula over blocked pictures and rows, in one pass bound by memory;
 * adding such an operator stays one file.
 */
#include <string.h>

#include "elements.h"

/* The operands that formulas may use, and their names there. */
static const struct { const char *role, *name; } variables[] = {{"X", "x"}, {"Y", "y"}, {"dY", "dy"}};

static void body(Emitter *e, const Kernel *k)
{
    const char *result = has_operand(k, "dX") ? "dX" : "Y";
    if (k->def->let)
        k->def->let(e, k);
    int loops = loop_vectors(e, k, result);
        for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
            if (strcmp(variables[i].role, result) == 0 || !has_operand(k, variables[i].role))
                continue;
            let(e, "name", "%s", variables[i].name);
            let(e, "at", "%s", vector_of(e, k, variables[i].role));
            line(e, "vec $name = load($at);");
        }
        store_pixel(e, k, result, without_spare(e, k, result, k->def->vector), "n", "cb", "i", "j");
    end(e, loops - 2);
    finish_plane(e, k, result, "n", "cb");
    end(e, 2);
}

static bool has_vector(const Kernel *k, const Target *target)
{
    (void)target;
    return k->def->vector != NULL;
}

static const FastKernel map = {
    .name = "vectors", .fuses = FUSE_MASK | FUSE_SUMS, .fits = has_vector, .plan = plan_planes, .body = body};

const FastKernel *const map_families[] = {&map, NULL};
