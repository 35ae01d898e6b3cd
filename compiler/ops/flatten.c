/* flatten.c - a picture as one row of features: no work, only another shape for the same memory.
 *
 * Features run in row-major order of channel, row, column, as in torch.nn.Flatten. Flat features stay as they are.
 */
#include "helpers.h"
#include "../kernels/kernels.h"

static bool flatten_shape(Layer *l)
{
    l->output = (Shape){1, {shape_count(&l->input[0]->output), 0, 0}};
    return true;
}

/* Only where the input has other users, whose gradients must be added. */
static void copy_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    const Shape *in = &l->input[0]->output;
    let_int(e, "H", in->dim[1]);
    let_int(e, "W", in->dim[2]);
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, in, "nchw");
        line(e, in->rank == 1 ? "dX$at $set dY[n][c];" : "dX$at $set dY[n][(c * $H + h) * $W + w];");
    end(e, depth);
}

/* Only where the picture lies in blocks. */
static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    const Shape *in = &l->input[0]->output;
    let_int(e, "H", in->dim[1]);
    let_int(e, "W", in->dim[2]);
    parallel(e);
    int depth = loop_elements(e, l->graph->batch, in, "nchw");
        line(e, "Y[n][(c * $H + h) * $W + w] = X$at;");
    end(e, depth);
}

static const KernelDef forward = {"forward", .textbook = forward_body, .fast = flatten_forward_families};
static const KernelDef copy = {"grad_input", .textbook = copy_body, .fast = flatten_grad_input_families};

/* Fast code keeps pictures in blocks of channels: rows of several pixels are then another arrangement of the values. */
static bool lies_in_blocks(const Program *p, const Layer *l)
{
    const Shape *in = &l->input[0]->output;
    return p->target && l->input[0] != l->graph->input && in->rank == 3 && in->dim[1] * in->dim[2] > 1;
}

static void flatten_forward(Program *p, const Layer *l)
{
    if (lies_in_blocks(p, l))
        forward_elementwise(p, l, &forward);
    else
        make_view(p, l, l->input[0]);
}

static void flatten_backward(Program *p, const Layer *l)
{
    if (lies_in_blocks(p, l))
        backward_elementwise(p, l, &copy, NEED_NOTHING);
    else
        pass_gradient(p, l, &copy);
}

const Op op_flatten = {
    .keyword   = "flatten",
    .summary   = "a picture as one row of features; between convolutions and linear",
    .reference = "torch.nn.Flatten; Dive into Deep Learning 7.6",
    .formula   = "Y[n, (c H + h) W + w] = X[n,c,h,w]",
    .grad      = "dX[n,c,h,w] = dY[n, (c H + h) W + w]",
    .attrs = {{0}},
    .shape = flatten_shape, .forward = flatten_forward, .backward = flatten_backward,
};
