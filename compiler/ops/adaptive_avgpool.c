/* adaptive_avgpool.c - the mean over a grid of windows that covers a picture of any size: torch.nn.AdaptiveAvgPool2d.
 *
 * Window i of P over H rows is [floor(i H / P), ceil((i + 1) H / P)): neighbours overlap where P does not divide H, and
 * P may be larger than H.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { SIZE };

static bool adaptive_avgpool_shape(Layer *l)
{
    if (!expect_picture(l))
        return false;
    l->output = (Shape){3, {l->input[0]->output.dim[0], l->attr[SIZE].n[0], l->attr[SIZE].n[1]}};
    return true;
}

static char *adaptive_avgpool_describe(Arena *arena, const Layer *l)
{
    return arena_printf(arena, "%lldx%lld", (long long)l->output.dim[1], (long long)l->output.dim[2]);
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

/* Opens the loop over output pixels and writes the window's borders, in integer arithmetic. */
static void loop_windows(Emitter *e, const Layer *l)
{
    const Shape *in = &l->input[0]->output, *out = &l->output;
    /* Products of two sizes may pass 2^31. */
    bool wide = (out->dim[1] + 1) * (in->dim[1] + 1) > INT32_MAX || (out->dim[2] + 1) * (in->dim[2] + 1) > INT32_MAX;
    let(e, "i", wide ? "(int64_t)i" : "i");
    let(e, "j", wide ? "(int64_t)j" : "j");
    let_int(e, "H", in->dim[1]);
    let_int(e, "W", in->dim[2]);
    let_int(e, "P", out->dim[1]);
    let_int(e, "Q", out->dim[2]);
    loop(e, "i", out->dim[1]);
        loop(e, "j", out->dim[2]);
            line(e, "int top = $i * $H / $P, bottom = (($i + 1) * $H + $P - 1) / $P;");
            line(e, "int left = $j * $W / $Q, right = (($j + 1) * $W + $Q - 1) / $Q;");
}

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "c", l->output.dim[0]);
            loop_windows(e, l);
                    line(e, "real sum = 0;");
                    loop_between(e, "h", "top", "bottom");
                        loop_between(e, "w", "left", "right");
                            line(e, "sum += X[n][c][h][w];");
                    end(e, 2);
                    line(e, "Y[n][c][i][j] = sum / ((bottom - top) * (right - left));");
    end(e, 4);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    loop(e, "n", l->graph->batch);
        clear_input_gradient(e, kernel);
        loop(e, "c", l->output.dim[0]);
            loop_windows(e, l);
                    line(e, "real share = dY[n][c][i][j] / ((bottom - top) * (right - left));");
                    loop_between(e, "h", "top", "bottom");
                        loop_between(e, "w", "left", "right");
                            line(e, "dX[n][c][h][w] += share;");
                    end(e, 2);
    end(e, 4);
}

static const KernelDef forward = {"forward", .textbook = forward_body, .fast = adaptive_avgpool_forward_families};
static const KernelDef grad_input = {
    "grad_input", "dX[n,c,h,w] = sum of dY[n,c,i,j] / (size of window i, j) over the windows i, j that hold h, w",
    .textbook = grad_input_body, .fast = adaptive_avgpool_grad_input_families};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static void adaptive_avgpool_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void adaptive_avgpool_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_NOTHING);
}

const Op op_adaptive_avgpool = {
    .keyword   = "adaptive_avgpool",
    .summary   = "mean over a grid of windows that covers the picture, whatever its size",
    .reference = "torch.nn.AdaptiveAvgPool2d; after He et al. 2014 (spatial pyramid pooling), section 2.2",
    .formula   = "Y[n,c,i,j] = mean of X[n,c,h,w] over floor(i H/P) <= h < ceil((i+1) H/P), w likewise;  "
                 "input H x W, output P x Q",
    .grad      = "dX = sum of dY / (size of the window) over the windows that hold the pixel",
    .attrs = {
        {"size", ATTR_PAIR, true, 0, 1, 0, "output size, a number or (height, width)"},
    },
    .shape = adaptive_avgpool_shape, .describe = adaptive_avgpool_describe,
    .forward = adaptive_avgpool_forward, .backward = adaptive_avgpool_backward,
};
