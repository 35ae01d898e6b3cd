/* relu.c - the rectified linear unit.
 *
 * Nair and Hinton 2010; Dive into Deep Learning 5.1.2. The gradient at 0 is 0, and a NaN passes, both as in PyTorch.
 * The gradient is found from Y, so that X need not be kept.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "Y$at = X$at < 0 ? 0 : X$at;");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "dX$at $set Y$at <= 0 ? 0 : dY$at;");
    end(e, depth);
}

static const KernelDef forward = {
    "forward", .textbook = forward_body, .fast = map_families, .vector = "choose(x < zero, zero, x)"};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = map_families,
    .vector = "choose(y <= zero, zero, dy)"};

static void relu_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void relu_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_Y);
}

const Op op_relu = {
    .keyword   = "relu",
    .summary   = "rectified linear unit",
    .reference = "Nair and Hinton 2010; Dive into Deep Learning 5.1.2",
    .formula   = "Y = max(X, 0)",
    .grad      = "dX = dY where Y > 0, else 0",
    .attrs = {{0}},
    .shape = same_shape,
    .forward = relu_forward, .backward = relu_backward,
};
