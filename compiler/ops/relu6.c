/* relu6.c - the rectified linear unit, cut at 6 so that few bits hold it.
 *
 * Krizhevsky 2010 (Convolutional deep belief networks on CIFAR-10), section 2; MobileNet uses it. The gradient at 0 and
 * at 6 is 0, and a NaN passes, both as in PyTorch.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "Y$at = X$at < 0 ? 0 : X$at > 6 ? 6 : X$at;");
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, &l->output, "ncij");
        line(e, "dX$at $set Y$at <= 0 || Y$at >= 6 ? 0 : dY$at;");
    end(e, depth);
}

static const KernelDef forward = {
    "forward", .textbook = forward_body, .fast = map_families,
    .vector = "choose(x < zero, zero, choose(x > splat(6), splat(6), x))"};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = map_families,
    .vector = "choose((y <= zero) | (y >= splat(6)), zero, dy)"};

static void relu6_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void relu6_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_Y);
}

const Op op_relu6 = {
    .keyword   = "relu6",
    .summary   = "rectified linear unit cut at 6",
    .reference = "Krizhevsky 2010 (Convolutional deep belief networks on CIFAR-10), section 2",
    .formula   = "Y = min(max(X, 0), 6)",
    .grad      = "dX = dY where 0 < Y < 6, else 0",
    .attrs = {{0}},
    .shape = same_shape,
    .forward = relu6_forward, .backward = relu6_backward,
};
