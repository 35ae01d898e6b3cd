/* tanh.c - the hyperbolic tangent.
 *
 * Dive into Deep Learning 5.1.2; LeCun et al. 1998 (Gradient-based learning), appendix A.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "Y$at = real_tanh(X$at);");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "dX$at $set dY$at * (1 - Y$at * Y$at);");
    end(e, depth);
}

static const KernelDef forward = {
    "forward", .textbook = forward_body, .fast = map_families, .vector = "vec_tanh(x)"};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = map_families,
    .vector = "dy * (1 - y * y)"};

static void tanh_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void tanh_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_Y);
}

const Op op_tanh = {
    .keyword   = "tanh",
    .summary   = "hyperbolic tangent",
    .reference = "Dive into Deep Learning 5.1.2",
    .formula   = "Y = tanh(X)",
    .grad      = "dX = dY * (1 - Y^2)",
    .attrs = {{0}},
    .shape = same_shape,
    .forward = tanh_forward, .backward = tanh_backward,
};
