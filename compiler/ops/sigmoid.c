/* sigmoid.c - the logistic function; what LeNet of 1998 became in textbooks.
 *
 * Dive into Deep Learning 5.1.2. exp(-X) may overflow to infinity: then Y is 0, which is right.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "Y$at = 1 / (1 + real_exp(-X$at));");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "dX$at $set dY$at * Y$at * (1 - Y$at);");
    end(e, depth);
}

static const KernelDef forward = {
    "forward", .textbook = forward_body, .fast = map_families, .vector = "1 / (1 + vec_exp(-x))"};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = map_families,
    .vector = "dy * y * (1 - y)"};

static void sigmoid_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void sigmoid_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_Y);
}

const Op op_sigmoid = {
    .keyword   = "sigmoid",
    .summary   = "logistic function",
    .reference = "Dive into Deep Learning 5.1.2",
    .formula   = "Y = 1 / (1 + exp(-X))",
    .grad      = "dX = dY * Y * (1 - Y)",
    .attrs = {{0}},
    .shape = same_shape,
    .forward = sigmoid_forward, .backward = sigmoid_backward,
};
