/* maxpool.c - the largest value of each window.
 *
 * Dive into Deep Learning 7.5. As in PyTorch: padding never wins; a NaN in the window does, so that it stays visible;
 * of equal values the first in row-major order receives the gradient.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { CEIL = POOL_PAD + 1 };

static bool maxpool_shape(Layer *l)
{
    return pool_shape(l, CEIL);
}

bool maxpool_window(const Layer *l, Window *w)
{
    return pool_window(l, CEIL, w);
}

static char *maxpool_describe(Arena *arena, const Layer *l)
{
    Window w;
    pool_window(l, CEIL, &w);
    return arena_printf(arena, "%s%s", window_text(arena, &w), l->attr[CEIL].n[0] ? ", ceil" : "");
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    bool keeps = has_operand(kernel, "winner");
    Window w;
    pool_window(l, CEIL, &w);
    let_window(e, &w);
    let_int(e, "S", w.kernel[1]);
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "c", l->output.dim[0]);
            loop(e, "i", w.out[0]);
                loop(e, "j", w.out[1]);
                    line(e, "real best = -INFINITY;");
                    if (keeps)
                        line(e, "int tap = 0;");
                    loop_taps(e, &w);
                        line(e, "real x = X[n][c][$ih][$iw];");
                        when(e, "x > best || isnan(x)");
                            line(e, "best = x;");
                            if (keeps)
                                line(e, "tap = r * $S + s;");
                        end(e, 1);
                    end_taps(e, &w);
                    line(e, "Y[n][c][i][j] = best;");
                    if (keeps)
                        line(e, "winner[n][c][i][j] = (unsigned char)tap;");
    end(e, 4);
}

/* Finds the winner once more: nothing is stored between the passes. Windows may overlap, so gradients are added; a
 * thread owns whole pictures. */
static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    Window w;
    pool_window(l, CEIL, &w);
    let_window(e, &w);
    parallel(e);
    loop(e, "n", l->graph->batch);
        clear_input_gradient(e, kernel);
        loop(e, "c", l->output.dim[0]);
            loop(e, "i", w.out[0]);
                loop(e, "j", w.out[1]);
                    line(e, "real best = -INFINITY;");
                    line(e, "int h = 0, w = 0;");
                    loop_taps(e, &w);
                        line(e, "real x = X[n][c][$ih][$iw];");
                        when(e, "x > best || isnan(x)");
                            line(e, "best = x;");
                            line(e, "h = $ih;");
                            line(e, "w = $iw;");
                        end(e, 1);
                    end_taps(e, &w);
                    line(e, "dX[n][c][h][w] += dY[n][c][i][j];");
    end(e, 4);
}

/* The same where the winner was kept. A pixel of the padding can be named only where all values are -infinity. */
static void grad_from_winner_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    Window w;
    pool_window(l, CEIL, &w);
    let_window(e, &w);
    let_int(e, "S", w.kernel[1]);
    let_int(e, "H", w.in[0]);
    let_int(e, "W", w.in[1]);
    parallel(e);
    loop(e, "n", l->graph->batch);
        clear_input_gradient(e, kernel);
        loop(e, "c", l->output.dim[0]);
            loop(e, "i", w.out[0]);
                loop(e, "j", w.out[1]);
                    line(e, "int r = winner[n][c][i][j] / $S, s = winner[n][c][i][j] % $S;");
                    when(e, "inside($ih, $H) && inside($iw, $W)");
                        line(e, "dX[n][c][$ih][$iw] += dY[n][c][i][j];");
    end(e, 5);
}

static const KernelDef forward = {"forward", .textbook = forward_body, .fast = maxpool_forward_families};
static const KernelDef grad_input = {
    "grad_input", "dX[n,c,h,w] = sum of dY[n,c,i,j] over the windows i, j whose first maximum is at h, w",
    .textbook = grad_input_body};
static const KernelDef forward_train = {
    "forward_train", "Y[n,c,i,j] = max_{r,s} X[n,c,$ih,$iw],  winner: the first r * $S + s that gives it",
    .textbook = forward_body, .fast = maxpool_forward_families};
static const KernelDef grad_from_winner = {
    "grad_input", "dX[n,c,h,w] = sum of dY[n,c,i,j] over the windows i, j whose winner is at h, w",
    .textbook = grad_from_winner_body, .fast = maxpool_grad_input_families};

/* ---- step program ------------------------------------------------------------------------------------------------ */

/* Fast code keeps a byte an output element, so that X may die; a byte names up to 256 taps. */
static bool keeps_winner(const Program *p, const Layer *l)
{
    Window w;
    pool_window(l, CEIL, &w);
    return p->target && p->mode == PROGRAM_TRAIN && needs_gradient(p, l->input[0]) && w.kernel[0] * w.kernel[1] <= 256;
}

static Tensor *winner_of(Program *p, const Layer *l)
{
    const int64_t *out = l->output.dim;
    return saved_of(p, l, "winner", TYPE_BYTE, 4, (int64_t[]){l->graph->batch, out[0], out[1], out[2]});
}

static void maxpool_forward(Program *p, const Layer *l)
{
    if (!keeps_winner(p, l)) {
        forward_elementwise(p, l, &forward);
        return;
    }
    Kernel *k = add_kernel(p, &forward_train, l);
    reads(k, "X", activation_of(p, l->input[0]));
    writes(k, "Y", activation_of(p, l));
    writes(k, "winner", winner_of(p, l));
}

static void maxpool_backward(Program *p, const Layer *l)
{
    if (!keeps_winner(p, l)) {
        backward_elementwise(p, l, &grad_input, NEED_X);
        return;
    }
    Kernel *k = add_kernel(p, &grad_from_winner, l);
    reads(k, "winner", winner_of(p, l));
    reads(k, "dY", gradient_of(p, l));
    contributes(p, k, "dX", l->input[0]);
}

const Op op_maxpool = {
    .keyword   = "maxpool",
    .summary   = "largest value of each window",
    .reference = "Dive into Deep Learning 7.5; overlapping: Krizhevsky et al. 2012, section 3.4",
    .formula   = "Y[n,c,i,j] = max_{r,s} X[n,c,$ih,$iw]",
    .grad      = "dX = sum of dY over the windows whose first maximum is there",
    .attrs = {
        {"kernel", ATTR_PAIR, true,  0, 1, 0, "window, a number or (height, width)"},
        {"stride", ATTR_PAIR, false, 0, 1, 0, "step between windows; not given: the kernel"},
        {"pad",    ATTR_PAD,  false, 0, 0, 0, "border that never wins; written as for conv"},
        {"ceil",   ATTR_FLAG, false, 0, 0, 1, "round the output size up, so that no pixel is left over"},
    },
    .shape = maxpool_shape, .describe = maxpool_describe,
    .forward = maxpool_forward, .backward = maxpool_backward,
};
