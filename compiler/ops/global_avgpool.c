/* global_avgpool.c - one number a channel: its mean over the picture. The result is still a picture, of 1 x 1 pixels.
 *
 * Lin et al. 2013 (Network in Network), section 3.2; Dive into Deep Learning 8.3.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

static bool global_avgpool_shape(Layer *l)
{
    if (!expect_picture(l))
        return false;
    l->output = (Shape){3, {l->input[0]->output.dim[0], 1, 1}};
    return true;
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    const Shape *in = &l->input[0]->output;
    let_int(e, "pixels", in->dim[1] * in->dim[2]);
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "c", in->dim[0]);
            line(e, "real sum = 0;");
            loop(e, "h", in->dim[1]);
                loop(e, "w", in->dim[2]);
                    line(e, "sum += X[n][c][h][w];");
            end(e, 2);
            line(e, "Y[n][c][0][0] = sum / $pixels;");
    end(e, 2);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    const Shape *in = &l->input[0]->output;
    let_int(e, "pixels", in->dim[1] * in->dim[2]);
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "c", in->dim[0]);
            loop(e, "h", in->dim[1]);
                loop(e, "w", in->dim[2]);
                    line(e, "dX[n][c][h][w] $set dY[n][c][0][0] / $pixels;");
    end(e, 4);
}

static const KernelDef forward = {"forward", .textbook = forward_body, .fast = global_avgpool_forward_families};
static const KernelDef grad_input = {
    "grad_input", "dX[n,c,h,w] = dY[n,c,0,0] / (H W)", .textbook = grad_input_body,
    .fast = global_avgpool_grad_input_families};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static void global_avgpool_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void global_avgpool_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_NOTHING);
}

const Op op_global_avgpool = {
    .keyword   = "global_avgpool",
    .summary   = "mean of each channel over the picture; leaves 1 x 1 pixels",
    .reference = "Lin et al. 2013 (Network in Network), section 3.2; Dive into Deep Learning 8.3",
    .formula   = "Y[n,c,0,0] = sum_{h,w} X[n,c,h,w] / (H W)",
    .grad      = "dX[n,c,h,w] = dY[n,c,0,0] / (H W)",
    .attrs = {{0}},
    .shape = global_avgpool_shape,
    .forward = global_avgpool_forward, .backward = global_avgpool_backward,
};
