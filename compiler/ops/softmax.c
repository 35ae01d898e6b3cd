/* softmax.c - probabilities over the channels of each pixel, or over flat features.
 *
 * Dive into Deep Learning 4.1.1. The largest value is subtracted first, so that exp cannot overflow. A network that is
 * trained ends in logits, without softmax: the loss contains it in a form that loses no precision.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

/* Opens the loops over pictures and pixels; `$c` and `$first` index channel c and channel 0. */
static int loop_pixels_of(Emitter *e, const Layer *l)
{
    bool picture = l->output.rank == 3;
    let(e, "c", picture ? "[n][c][i][j]" : "[n][c]");
    let(e, "first", picture ? "[n][0][i][j]" : "[n][0]");
    parallel(e);
    loop(e, "n", l->graph->batch);
    if (picture) {
        loop(e, "i", l->output.dim[1]);
            loop(e, "j", l->output.dim[2]);
    }
    return picture ? 3 : 1;
}

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    int64_t channels = l->output.dim[0];
    int depth = loop_pixels_of(e, l);
        line(e, "real largest = X$first, sum = 0;");
        loop(e, "c", channels);
            when(e, "X$c > largest");
                line(e, "largest = X$c;");
        end(e, 2);
        loop(e, "c", channels);
            line(e, "Y$c = real_exp(X$c - largest);");
            line(e, "sum += Y$c;");
        end(e, 1);
        loop(e, "c", channels);
            line(e, "Y$c /= sum;");
        end(e, 1);
    end(e, depth);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    int64_t channels = l->output.dim[0];
    int depth = loop_pixels_of(e, l);
        line(e, "real sum = 0;");
        loop(e, "c", channels);
            line(e, "sum += dY$c * Y$c;");
        end(e, 1);
        loop(e, "c", channels);
            line(e, "dX$c $set Y$c * (dY$c - sum);");
        end(e, 1);
    end(e, depth);
}

static const KernelDef forward = {"forward", .textbook = forward_body, .fast = softmax_forward_families};
static const KernelDef grad_input = {
    "grad_input", .textbook = grad_input_body, .fast = softmax_grad_input_families};

static void softmax_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void softmax_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_Y);
}

const Op op_softmax = {
    .keyword   = "softmax",
    .summary   = "probabilities over the channels of each pixel, or over flat features",
    .reference = "Dive into Deep Learning 4.1.1",
    .formula   = "Y[c] = exp(X[c] - max X) / sum_q exp(X[q] - max X),  c and q over channels",
    .grad      = "dX[c] = Y[c] * (dY[c] - sum_q dY[q] * Y[q])",
    .attrs = {{0}},
    .shape = same_shape, .forward = softmax_forward, .backward = softmax_backward,
};
