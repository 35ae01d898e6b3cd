/* conv.c - two-dimensional convolution (cross-correlation, as in every framework), grouped and dilated.
 *
 * Dive into Deep Learning 7.2-7.4; groups: Krizhevsky et al. 2012, section 3.2; depthwise: Howard et al. 2017,
 * section 3.1; dilation: Yu and Koltun 2016, section 2.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { CHANNELS, KERNEL, STRIDE, PAD, DILATION, GROUPS, BIAS };

bool conv_window(const Layer *l, Window *w)
{
    return window_resolve(l, KERNEL, STRIDE, PAD, DILATION, -1, w);
}

int64_t conv_groups(const Layer *l)
{
    return l->attr[GROUPS].n[0];
}

static bool conv_shape(Layer *l)
{
    const Shape *in = &l->input[0]->output;
    int64_t groups = conv_groups(l), channels = l->attr[CHANNELS].n[0];
    if (in->rank != 3) {
        layer_error(l, -1, "conv needs a picture, but %s features reach it\nput conv before flatten",
                    shape_text(l->graph->arena, in));
        return false;
    }
    if (in->dim[0] % groups != 0 || channels % groups != 0) {
        layer_error(l, GROUPS, "%lld groups do not divide %lld input and %lld output channels\n"
                    "groups must divide both", (long long)groups, (long long)in->dim[0], (long long)channels);
        return false;
    }
    Window w;
    if (!conv_window(l, &w))
        return false;
    l->output = (Shape){3, {channels, w.out[0], w.out[1]}};
    return true;
}

static void conv_params(Layer *l)
{
    Window w;
    conv_window(l, &w);
    int64_t channels = l->attr[CHANNELS].n[0], groups = conv_groups(l);
    int64_t fan_in = l->input[0]->output.dim[0] / groups * w.kernel[0] * w.kernel[1];
    int64_t fan_out = channels * w.kernel[0] * w.kernel[1];
    add_param(l, "weight", PARAM_WEIGHT, 4,
              (int64_t[]){channels, l->input[0]->output.dim[0] / groups, w.kernel[0], w.kernel[1]}, fan_in, fan_out);
    if (l->attr[BIAS].n[0])
        add_param(l, "bias", PARAM_BIAS, 1, &channels, fan_in, fan_out);
}

static int64_t conv_macs(const Layer *l)
{
    const int64_t *weight = l->param[0].dim;
    return shape_count(&l->output) * weight[1] * weight[2] * weight[3];
}

static char *conv_describe(Arena *arena, const Layer *l)
{
    Window w;
    conv_window(l, &w);
    char *text = arena_printf(arena, "%lld, %s", (long long)l->attr[CHANNELS].n[0], window_text(arena, &w));
    if (conv_groups(l) > 1)
        text = arena_printf(arena, "%s, groups %lld", text, (long long)conv_groups(l));
    return text;
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

/* Binds the sizes, and the index of a direction's input pixel: $ih = i * stride - before + r * dilation. */
static void let_sizes(Emitter *e, const Layer *l, Window *w)
{
    conv_window(l, w);
    int64_t groups = conv_groups(l);
    let_int(e, "K", l->output.dim[0]);
    let_int(e, "C", l->input[0]->output.dim[0] / groups);
    let_window(e, w);
    /* The input channel that filter k reads as its c-th: with groups, those of its own group. */
    if (groups == 1)
        let(e, "ic", "c");
    else
        let(e, "ic", "k / %lld * %lld + c", (long long)(l->output.dim[0] / groups),
             (long long)(l->input[0]->output.dim[0] / groups));
}

/* Y[n,k,i,j] = b[k] + sum over c, r, s: one output pixel at a time. */
static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    Window w;
    let_sizes(e, l, &w);
    const int64_t *weight = l->param[0].dim;
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "k", l->output.dim[0]);
            loop(e, "i", w.out[0]);
                loop(e, "j", w.out[1]);
                    line(e, l->attr[BIAS].n[0] ? "real sum = b[k];" : "real sum = 0;");
                    loop(e, "c", weight[1]);
                        loop_taps(e, &w);
                            line(e, "sum += W[k][c][r][s] * X[n][$ic][$ih][$iw];");
                        end_taps(e, &w);
                    end(e, 1);
                    line(e, "Y[n][k][i][j] = sum;");
    end(e, 4);
}

/* dX[n,c,ih,iw] += W[k,c,r,s] * dY[n,k,i,j]: the forward statement with Y and X exchanged. */
static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    Window w;
    let_sizes(e, l, &w);
    const Shape *in = &l->input[0]->output;
    const int64_t *weight = l->param[0].dim;
    parallel(e);
    loop(e, "n", l->graph->batch);
        if (!kernel->adds) {
            loop(e, "c", in->dim[0]);
                loop(e, "h", in->dim[1]);
                    loop(e, "w", in->dim[2]);
                        line(e, "dX[n][c][h][w] = 0;");
            end(e, 3);
        }
        loop(e, "k", l->output.dim[0]);
            loop(e, "i", w.out[0]);
                loop(e, "j", w.out[1]);
                    loop(e, "c", weight[1]);
                        loop_taps(e, &w);
                            line(e, "dX[n][$ic][$ih][$iw] += W[k][c][r][s] * dY[n][k][i][j];");
                        end_taps(e, &w);
    end(e, 5);
}

/* dW[k,c,r,s] = sum over n, i, j of dY * X. Threads own whole filters, so the sum's order never changes. */
static void grad_weight_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    Window w;
    let_sizes(e, l, &w);
    const int64_t *weight = l->param[0].dim;
    parallel(e);
    loop(e, "k", l->output.dim[0]);
        loop(e, "c", weight[1]);
            loop(e, "r", weight[2]);
                loop(e, "s", weight[3]);
                    line(e, "real sum = 0;");
                    loop(e, "n", l->graph->batch);
                        loop_pixels(e, &w);
                            line(e, "sum += dY[n][k][i][j] * X[n][$ic][$ih][$iw];");
                        end_pixels(e, &w);
                    end(e, 1);
                    line(e, "dW[k][c][r][s] = sum;");
    end(e, 4);
}

static void grad_bias_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    parallel(e);
    loop(e, "k", l->output.dim[0]);
        line(e, "real sum = 0;");
        loop(e, "n", l->graph->batch);
            loop(e, "i", l->output.dim[1]);
                loop(e, "j", l->output.dim[2]);
                    line(e, "sum += dY[n][k][i][j];");
        end(e, 3);
        line(e, "db[k] = sum;");
    end(e, 1);
}

static const KernelDef forward = {"forward", .counts = true, .textbook = forward_body, .fast = conv_forward_families};
static const KernelDef grad_input = {
    "grad_input", "dX[n,c,ih,iw] = sum_{k,r,s} W[k,c,r,s] * dY[n,k,i,j]   for all i, j, r, s that meet at ih, iw",
    .counts = true, .textbook = grad_input_body, .fast = conv_grad_input_families};
static const KernelDef grad_weight = {
    "grad_weight", "dW[k,c,r,s] = sum_{n,i,j} dY[n,k,i,j] * X[n,c,ih,iw]",
    .counts = true, .textbook = grad_weight_body, .fast = conv_grad_weight_families};
static const KernelDef grad_bias = {"grad_bias", "db[k] = sum_{n,i,j} dY[n,k,i,j]", .textbook = grad_bias_body,
                                    .fast = conv_grad_bias_families};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static void conv_forward(Program *p, const Layer *l)
{
    forward_weighted(p, l, &forward);
}

static void conv_backward(Program *p, const Layer *l)
{
    backward_weighted(p, l, &grad_bias, &grad_weight, &grad_input);
}

const Op op_conv = {
    .keyword   = "conv",
    .summary   = "two-dimensional convolution",
    .reference = "Dive into Deep Learning 7.2-7.4; groups: Krizhevsky et al. 2012, section 3.2",
    .formula   = "Y[n,k,i,j] = b[k] + sum_{c,r,s} W[k,c,r,s] * X[n,c,$ih,$iw]",
    .grad      = "db = sum dY;  dW = sum dY * X;  dX = sum W * dY   (same indices)",
    .attrs = {
        {"channels", ATTR_INT,  true,  0, 1, 0, "output channels (filters)"},
        {"kernel",   ATTR_PAIR, true,  0, 1, 0, "window, a number or (height, width)"},
        {"stride",   ATTR_PAIR, false, 1, 1, 0, "step between windows"},
        {"pad",      ATTR_PAD,  false, 0, 0, 0, "zeros around: a number, (h, w), (top, bottom, left, right) or same"},
        {"dilation", ATTR_PAIR, false, 1, 1, 0, "distance between the taps of the kernel"},
        {"groups",   ATTR_INT,  false, 1, 1, 0, "independent groups of channels; the input's channels: depthwise"},
        {"bias",     ATTR_FLAG, false, 1, 0, 1, "add a learnt constant to each output channel"},
    },
    .shape = conv_shape, .params = conv_params, .macs = conv_macs, .describe = conv_describe,
    .forward = conv_forward, .backward = conv_backward,
};
