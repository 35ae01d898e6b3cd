/* maxpool.c - the largest value of each window.
 *
 * Dive into Deep Learning 7.5. As in PyTorch: padding never wins; a NaN in the window does, so that it stays visible;
 * of equal values the first in row-major order receives the gradient.
 */
#include "helpers.h"

enum { CEIL = POOL_PAD + 1 };

static bool maxpool_shape(Layer *l)
{
    return pool_shape(l, CEIL);
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
    Window w;
    pool_window(l, CEIL, &w);
    let_window(e, &w);
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "c", l->output.dim[0]);
            loop(e, "i", w.out[0]);
                loop(e, "j", w.out[1]);
                    line(e, "real best = -INFINITY;");
                    loop_taps(e, &w);
                        line(e, "real x = X[n][c][$ih][$iw];");
                        when(e, "x > best || isnan(x)");
                            line(e, "best = x;");
                        end(e, 1);
                    end_taps(e, &w);
                    line(e, "Y[n][c][i][j] = best;");
    end(e, 4);
}

/* Finds the winner once more: cheaper to read than to keep, and nothing is stored between the passes. Windows may
 * overlap, so gradients are added; a thread owns whole pictures. */
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

static const KernelDef forward = {"forward", .textbook = forward_body};
static const KernelDef grad_input = {
    "grad_input", "dX[n,c,h,w] = sum of dY[n,c,i,j] over the windows i, j whose first maximum is at h, w",
    .textbook = grad_input_body};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static void maxpool_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void maxpool_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_X);
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
