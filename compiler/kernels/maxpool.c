/* maxpool.c - the largest value of each window, and its gradient, on blocked pictures.
 *
 * Requires: at most 256 taps, so that a byte names one. Establishes, in training: `winner`, the tap r * S + s whose
 * value each window took, one byte an output element. The gradient reads these instead of X, which may die after the
 * forward pass. Rules of ops/maxpool.c: the first of equal values wins, a NaN wins always, the padding never.
 *
 * Both passes are bound by memory. The forward one keeps the best of L channels in a register and replaces it by masks;
 * in the gradient each pixel asks the windows that hold it whether it won (elements.c).
 */
#include "elements.h"

/* ---- forward ----------------------------------------------------------------------------------------------------- */

static void write_tap(Emitter *e, const Kernel *k, bool keeps)
{
    let(e, "x", "%s", substitute(e, pixel(e, k, "X", "n", "cb", substitute(e, "$ih"), substitute(e, "$iw"))));
    line(e, "vec x = load($x);");
    line(e, "mask wins = (x != x) | (x > best);");
    line(e, "best = choose(wins, x, best);");
    if (keeps)
        line(e, "tap = choose(wins, splat(r * $S + s), tap);");
}

static void begin_window(Emitter *e, bool keeps)
{
    line(e, keeps ? "vec best = splat(-INFINITY), tap = zero;" : "vec best = splat(-INFINITY);");
}

static void end_window(Emitter *e, const Kernel *k, bool keeps)
{
    store_pixel(e, k, "Y", "best", "n", "cb", "i", "j");
    if (keeps) {
        let(e, "winner", "%s", pixel(e, k, "winner", "n", "cb", "i", "j"));
        line(e, "store_bytes($winner, tap);");
    }
}

static void forward_body(Emitter *e, const Kernel *k)
{
    Window w;
    maxpool_window(k->layer, &w);
    bool keeps = has_operand(k, "winner");
    let_window(e, &w);
    let_int(e, "S", w.kernel[1]);
    share_planes(e, k, "Y");
        loop(e, "i", w.out[0]);
            if (loop_inner_columns(e, &w)) {
                begin_window(e, keeps);
                loop_inner_taps(e, &w);
                    write_tap(e, k, keeps);
                end_inner_taps(e, &w);
                end_window(e, k, keeps);
                end(e, 1);
            }
            if (loop_edge_columns(e, &w)) {
                begin_window(e, keeps);
                loop_taps(e, &w);
                    write_tap(e, k, keeps);
                end_taps(e, &w);
                end_window(e, k, keeps);
                end(e, 1);
            }
    end(e, 3);
}

/* ---- gradient ---------------------------------------------------------------------------------------------------- */

static void write_share(Emitter *e, const Kernel *k, const Window *w, Share share)
{
    if (share == SHARE_ROW) {
        let_int(e, "S", w->kernel[1]);
        line(e, "const int first = ($h - i * $stride) * $S;      /* row h's first tap */");
        return;
    }
    let(e, "winner", "%s", pixel(e, k, "winner", "n", "cb", "i", substitute(e, "$window")));
    let(e, "dy", "%s", pixel(e, k, "dY", "n", "cb", "i", substitute(e, "$window")));
    line(e, "mask won = equal_bytes($winner, first + s);");
    line(e, "$sum = choose(won, $sum + load($dy), $sum);");
}

static void grad_input_body(Emitter *e, const Kernel *k)
{
    Window w;
    maxpool_window(k->layer, &w);
    write_gradient(e, k, &w, write_share);
}

static const FastKernel forward = {.name = "vectors", .fuses = FUSE_RELU, .plan = plan_planes, .body = forward_body};
static const FastKernel grad_input = {
    .name = "pixels", .fuses = FUSE_MASK | FUSE_SUMS, .plan = plan_planes, .body = grad_input_body};

const FastKernel *const maxpool_forward_families[] = {&forward, NULL};
const FastKernel *const maxpool_grad_input_families[] = {&grad_input, NULL};
