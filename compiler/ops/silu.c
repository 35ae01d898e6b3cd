/* silu.c - the sigmoid-weighted linear unit, also called swish.
 *
 * Elfwing, Uchibe and Doya 2018, section 2; Ramachandran, Zoph and Le 2017; EfficientNet uses it. It is not monotonic:
 * Y does not determine X, so the gradient needs X itself.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "Y$at = X$at / (1 + real_exp(-X$at));");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "real g = 1 / (1 + real_exp(-X$at));");
        line(e, "dX$at $set dY$at * g * (1 + X$at * (1 - g));");
    end(e, depth);
}

static const KernelDef forward = {
    "forward", .textbook = forward_body, .fast = map_families, .vector = "x / (1 + vec_exp(-x))"};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = map_families,
    .vector = "dy * (1 / (1 + vec_exp(-x))) * (1 + x * (1 - 1 / (1 + vec_exp(-x))))"};

static void silu_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void silu_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_X);
}

const Op op_silu = {
    .keyword   = "silu",
    .summary   = "sigmoid-weighted linear unit (swish)",
    .reference = "Elfwing, Uchibe and Doya 2018, section 2; Ramachandran, Zoph and Le 2017",
    .formula   = "Y = X * g,  g = 1 / (1 + exp(-X))",
    .grad      = "dX = dY * g * (1 + X * (1 - g)),  g = 1 / (1 + exp(-X))",
    .attrs = {{0}},
    .shape = same_shape,
    .forward = silu_forward, .backward = silu_backward,
};
