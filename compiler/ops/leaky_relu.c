/* leaky_relu.c - a rectified linear unit that lets a little through below 0.
 *
 * Maas, Hannun and Ng 2013, section 2. The gradient at 0 is the slope, as in PyTorch. Since the slope is not negative,
 * Y > 0 exactly where X > 0, so that X need not be kept.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { SLOPE };

static char *leaky_relu_describe(Arena *arena, const Layer *l)
{
    return arena_printf(arena, "slope %s", number_text(arena, l->attr[SLOPE].real));
}

static void let_slope(Emitter *e, const Kernel *kernel)
{
    let_number(e, kernel, "slope", kernel->layer->attr[SLOPE].real);
}

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    let_slope(e, kernel);
    line(e, "const real slope = $slope;");
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "Y$at = X$at > 0 ? X$at : slope * X$at;");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    let_slope(e, kernel);
    line(e, "const real slope = $slope;");
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "dX$at $set Y$at > 0 ? dY$at : slope * dY$at;");
    end(e, depth);
}

static const KernelDef forward = {
    "forward", .textbook = forward_body, .fast = map_families, .let = let_slope,
    .vector = "choose(x > zero, x, splat($slope) * x)"};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = map_families, .let = let_slope,
    .vector = "choose(y > zero, dy, splat($slope) * dy)"};

static void leaky_relu_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void leaky_relu_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_Y);
}

const Op op_leaky_relu = {
    .keyword   = "leaky_relu",
    .summary   = "rectified linear unit with a slope below 0",
    .reference = "Maas, Hannun and Ng 2013, section 2",
    .formula   = "Y = X where X > 0, else slope * X",
    .grad      = "dX = dY where X > 0, else slope * dY",
    .attrs = {
        {"slope", ATTR_REAL, false, 0.01, 0, 0, "factor below 0, not negative"},
    },
    .shape = same_shape, .describe = leaky_relu_describe,
    .forward = leaky_relu_forward, .backward = leaky_relu_backward,
};
