/* avgpool.c - the mean of each window.
 *
 * Dive into Deep Learning 7.5. The divisor is PyTorch's: with count_pad the window clipped to the padded picture (which
 * is smaller than the kernel only in ceil mode), without it the real pixels of the window.
 */
#include "../kernels/kernels.h"
#include "helpers.h"

enum { COUNT_PAD = POOL_PAD + 1, CEIL };

static bool avgpool_shape(Layer *l)
{
    return pool_shape(l, CEIL);
}

bool avgpool_window(const Layer *l, Window *w)
{
    return pool_window(l, CEIL, w);
}

bool avgpool_counts_pad(const Layer *l)
{
    return l->attr[COUNT_PAD].n[0];
}

static char *avgpool_describe(Arena *arena, const Layer *l)
{
    Window w;
    pool_window(l, CEIL, &w);
    bool padded = w.before[0] || w.before[1] || w.after[0] || w.after[1];
    return arena_printf(arena, "%s%s%s", window_text(arena, &w),
                        padded && !l->attr[COUNT_PAD].n[0] ? ", count_pad no" : "", l->attr[CEIL].n[0] ? ", ceil" : "");
}

/* ---- textbook code ----------------------------------------------------------------------------------------------- */

/* What a window's sum is divided by. */
typedef enum {
    DIVISOR_FIXED,              /* the kernel's size: every window lies in the padded picture   */
    DIVISOR_CLIPPED,            /* rows x columns inside the padded picture                     */
    DIVISOR_COUNTED,            /* real pixels, counted                                         */
} Divisor;

static Divisor divisor_of(const Layer *l, const Window *w)
{
    bool overhangs = window_overhangs(w, 0) || window_overhangs(w, 1);
    bool padded = w->before[0] || w->before[1] || w->after[0] || w->after[1];
    if (l->attr[COUNT_PAD].n[0])
        return overhangs ? DIVISOR_CLIPPED : DIVISOR_FIXED;
    return overhangs || padded ? DIVISOR_COUNTED : DIVISOR_FIXED;
}

/* Writes what the divisor needs before a window's pixels are visited, and binds $count. */
static void let_divisor(Emitter *e, const Window *w, Divisor divisor)
{
    if (divisor == DIVISOR_FIXED)
        let_int(e, "count", w->kernel[0] * w->kernel[1]);
    if (divisor == DIVISOR_COUNTED) {
        let(e, "count", "count");
        line(e, "int count = 0;");
    }
    if (divisor == DIVISOR_CLIPPED) {
        static const char *const index[] = {"i", "j"}, *const extent[] = {"rows", "columns"};
        for (int d = 0; d < 2; d++) {
            let_int(e, extent[d], w->kernel[d]);
            if (!window_overhangs(w, d))
                continue;
            let(e, "extent", "%s", extent[d]);
            let(e, "at", w->stride[d] == 1 ? "%s" : "%s * %lld", index[d], (long long)w->stride[d]);
            let_int(e, "kernel", w->kernel[d]);
            let_int(e, "padded", w->before[d] + w->in[d] + w->after[d]);
            line(e, "int $extent = $at + $kernel > $padded ? $padded - $at : $kernel;");
            let(e, extent[d], "%s", extent[d]);
        }
        let(e, "count", "(%s)", substitute(e, "$rows * $columns"));
    }
}

static void forward_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    Window w;
    pool_window(l, CEIL, &w);
    Divisor divisor = divisor_of(l, &w);
    let_window(e, &w);
    parallel(e);
    loop(e, "n", l->graph->batch);
        loop(e, "c", l->output.dim[0]);
            loop(e, "i", w.out[0]);
                loop(e, "j", w.out[1]);
                    let_divisor(e, &w, divisor);
                    line(e, "real sum = 0;");
                    loop_taps(e, &w);
                        line(e, "sum += X[n][c][$ih][$iw];");
                        if (divisor == DIVISOR_COUNTED)
                            line(e, "count++;");
                    end_taps(e, &w);
                    line(e, "Y[n][c][i][j] = sum / $count;");
    end(e, 4);
}

static void grad_input_body(Emitter *e, const Kernel *kernel)
{
    const Layer *l = kernel->layer;
    Window w;
    pool_window(l, CEIL, &w);
    Divisor divisor = divisor_of(l, &w);
    let_window(e, &w);
    parallel(e);
    loop(e, "n", l->graph->batch);
        clear_input_gradient(e, kernel);
        loop(e, "c", l->output.dim[0]);
            loop(e, "i", w.out[0]);
                loop(e, "j", w.out[1]);
                    let_divisor(e, &w, divisor);
                    if (divisor == DIVISOR_COUNTED) {
                        loop_taps(e, &w);
                            line(e, "count++;");
                        end_taps(e, &w);
                    }
                    line(e, "real share = dY[n][c][i][j] / $count;");
                    loop_taps(e, &w);
                        line(e, "dX[n][c][$ih][$iw] += share;");
                    end_taps(e, &w);
    end(e, 4);
}

static const KernelDef forward = {"forward", .textbook = forward_body, .fast = avgpool_forward_families};
static const KernelDef grad_input = {
    "grad_input", "dX[n,c,h,w] = sum of dY[n,c,i,j] / count[i,j] over the windows i, j that hold h, w",
    .textbook = grad_input_body, .fast = avgpool_grad_input_families};

/* ---- step program ------------------------------------------------------------------------------------------------ */

static void avgpool_forward(Program *p, const Layer *l)
{
    forward_elementwise(p, l, &forward);
}

static void avgpool_backward(Program *p, const Layer *l)
{
    backward_elementwise(p, l, &grad_input, NEED_NOTHING);
}

const Op op_avgpool = {
    .keyword   = "avgpool",
    .summary   = "mean of each window",
    .reference = "Dive into Deep Learning 7.5; LeCun et al. 1998, section II.B",
    .formula   = "Y[n,c,i,j] = sum_{r,s} X[n,c,$ih,$iw] / count[i,j]",
    .grad      = "dX = sum of dY / count over the windows that hold the pixel",
    .attrs = {
        {"kernel",    ATTR_PAIR, true,  0, 1, 0, "window, a number or (height, width)"},
        {"stride",    ATTR_PAIR, false, 0, 1, 0, "step between windows; not given: the kernel"},
        {"pad",       ATTR_PAD,  false, 0, 0, 0, "zeros around: a number, (h, w), (top, bottom, left, right) or same"},
        {"count_pad", ATTR_FLAG, false, 1, 0, 1, "does padding count in the divisor?"},
        {"ceil",      ATTR_FLAG, false, 0, 0, 1, "round the output size up, so that no pixel is left over"},
    },
    .shape = avgpool_shape, .describe = avgpool_describe,
    .forward = avgpool_forward, .backward = avgpool_backward,
};
