/* maxpool.c - the largest value of each window, and its gradient, on blocked pictures.
 *
 * Requires: at most 256 taps, so that a byte names one. Establishes, in training: `winner`, the tap r * S + s whose
 * value each window took, one byte an output element. The gradient reads these instead of X, which may die after the
 * forward pass. Rules of ops/maxpool.c: the first of equal values wins, a NaN wins always, the padding never.
 *
 * Both passes are bound by memory. The forward one keeps the best of L channels in a register and replaces it by masks;
 * the gradient gathers rows of dX from the windows that hold them (elements.c): no two threads write one plane.
 */
#include "elements.h"

/* ---- forward ----------------------------------------------------------------------------------------------------- */

static void write_tap(Emitter *e, const Kernel *k, bool keeps)
{
    let(e, "x", "%s", substitute(e, pixel(e, k, "X", "n", "cb", substitute(e, "$ih"), substitute(e, "$iw"))));
    line(e, "vec x = load($x);");
    line(e, "mask wins = (x > best) | (x != x);");
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

static bool gradient_fits(const Kernel *k, const Target *target)
{
    Window w;
    maxpool_window(k->layer, &w);
    return row_fits(&w, target->lanes);
}

static void grad_input_body(Emitter *e, const Kernel *k)
{
    Window w;
    maxpool_window(k->layer, &w);
    let_int(e, "S", w.kernel[1]);
    let(e, "column", w.stride[1] == 1 ? "j + s" : "j * %lld + s", (long long)w.stride[1]);
    let(e, "row_set", "%s", row_set(&w));
    loop_rows(e, k, &w);
        let(e, "winner", "%s", pixel(e, k, "winner", "n", "cb", "i", "j"));
        let(e, "dy", "%s", pixel(e, k, "dY", "n", "cb", "i", "j"));
        line(e, "vec tap = load_bytes($winner) - splat(($at - i * $stride) * $S);    /* its s, if in row h */");
        line(e, "vec dy = load($dy);");
        (w.kernel[1] <= 16 ? unrolled : loop)(e, "s", w.kernel[1]);
            line(e, "row[$column] $row_set choose(tap == splat(s), dy, zero);");
        end(e, 1);
    store_rows(e, k, &w);
}

static const FastKernel forward = {.name = "vectors", .fuses = FUSE_RELU, .plan = plan_planes, .body = forward_body};
static const FastKernel grad_input = {
    .name = "rows", .fuses = FUSE_MASK, .fits = gradient_fits, .plan = plan_planes, .body = grad_input_body};

const FastKernel *const maxpool_forward_families[] = {&forward, NULL};
const FastKernel *const maxpool_grad_input_families[] = {&grad_input, NULL};
