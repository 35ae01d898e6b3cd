/* loss.c - softmax over rows, alone and in the cross-entropy loss; classes in the lanes.
 *
 * As in ops/cross_entropy.c and ops/softmax.c the largest logit is subtracted first, so that nothing overflows; a NaN
 * comes through. Rows are shared among threads; one thread adds the losses in the order of the images.
 *
 * Requires: X, P, Y and gradients in rows (layout.h). Spare lanes hold zeros, which are no logits: they are masked.
 */
#include "../unit.h"
#include "kernels.h"

/* Full vectors of classes, and how many are in one more. */
typedef struct { int64_t whole, left; } Classes;

/* Binds $KB vectors of classes, of which $whole are full; $left are in the last where that is not. */
static Classes let_classes(Emitter *e, const Kernel *k, const char *role)
{
    const Tensor *t = operand_of(k, role)->tensor;
    int64_t classes = t->dim[1], lanes = t->layout.lanes;
    let_int(e, "KB", blocks_of(classes, (int)lanes));
    let_int(e, "whole", classes / lanes);
    let_int(e, "left", classes % lanes);
    return (Classes){classes / lanes, classes % lanes};
}

/* Declares `lane`, the numbers of the lanes. */
static void declare_lane_numbers(Emitter *e, const Kernel *k)
{
    const char *numbers = "0";
    for (int i = 1; i < k->operand[0].tensor->layout.lanes; i++)
        numbers = arena_printf(emitter_arena(e), "%s, %d", numbers, i);
    let(e, "numbers", "%s", numbers);
    line(e, "const vec lane = {$numbers};");
}

/* The statement `before value after` for every vector kb of classes; in the last one, where it is not full, `otherwise`
 * takes the place of `value` in the spare lanes. */
static void each_vector(Emitter *e, Classes c, const char *before, const char *value, const char *otherwise,
                        const char *after)
{
    let(e, "before", "%s", before);
    let(e, "value", "%s", value);
    let(e, "after", "%s", after);
    if (c.whole > 0) {
        loop_between(e, "kb", "0", "$whole");
            line(e, "${before}${value}${after}");
        end(e, 1);
    }
    if (c.left == 0)
        return;
    let(e, "otherwise", "%s", otherwise);
    loop_between(e, "kb", "$whole", "$KB");
        line(e, "${before}choose(lane < splat($left), $value, $otherwise)${after}");
    end(e, 1);
}

/* Inside the loop over n: `largest` and `sum` of row X[n], its exponentials in `to`[n], not yet divided by the sum. */
static void write_exponentials(Emitter *e, Classes c, const char *to)
{
    line(e, "vec most = splat(X[n][0]), total = zero;");
    each_vector(e, c, "most = larger(most, ", "load(&X[n][kb * L])", "most", ");");
    line(e, "real largest = most[0];");
    loop_between(e, "l", "1", "L");
        line(e, "largest = most[l] > largest ? most[l] : largest;");
    end(e, 1);
    let(e, "to", "%s", to);
    each_vector(e, c, arena_printf(emitter_arena(e), "store(&%s[n][kb * L], ", to),
                "vec_exp(load(&X[n][kb * L]) - splat(largest))", "zero", ");");
    loop_between(e, "kb", "0", "$KB");
        line(e, "total += load(&$to[n][kb * L]);");
    end(e, 1);
    line(e, "const real sum = sum_lanes(total);");
}

/* The caller's pictures lie at any address, and need not be whole vectors. */
static bool is_aligned(const Kernel *k, const Target *target)
{
    (void)target;
    return operand_of(k, "X")->tensor->storage->kind != TENSOR_INPUT;
}

/* ---- cross-entropy ----------------------------------------------------------------------------------------------- */

static void plan_loss(Program *p, Kernel *k)
{
    k->schedule.text = "classes in the lanes, images shared among threads";
    scratch_of(p, k, "losses", 1, (int64_t[]){p->graph->batch});
}

static void loss_forward_body(Emitter *e, const Kernel *kernel)
{
    Classes c = let_classes(e, kernel, "X");
    let_int(e, "K", kernel->layer->output.dim[0]);
    if (c.left)
        declare_lane_numbers(e, kernel);
    parallel(e);
    loop_between(e, "n", "0", "$N");
        write_exponentials(e, c, "P");
        loop_between(e, "kb", "0", "$KB");
            line(e, "store(&P[n][kb * L], load(&P[n][kb * L]) / splat(sum));");
        end(e, 1);
        line(e, "real expected = X[n][labels[n]];");
        when(e, "target");
            line(e, "expected = 0;");
            loop(e, "k", kernel->layer->output.dim[0]);
                line(e, "expected += wanted(target, labels, n, k, $K) * X[n][k];");
        end(e, 2);
        line(e, "losses[n] = real_log(sum) + largest - expected;");
    end(e, 1);
    comment(e, "one thread, in the order of the images");
    parallel(e);
    loop(e, "once", 1);
        line(e, "real total = 0;");
        loop_between(e, "n", "0", "$N");
            line(e, "total += losses[n];");
        end(e, 1);
        line(e, "loss[once] = total / $N;");
    end(e, 1);
}

static void plan_rows(Program *p, Kernel *k)
{
    (void)p;
    k->schedule.text = "classes in the lanes, images shared among threads";
}

static void loss_backward_body(Emitter *e, const Kernel *kernel)
{
    let_classes(e, kernel, "P");
    let_int(e, "K", kernel->layer->output.dim[0]);
    declare_lane_numbers(e, kernel);
    parallel(e);
    loop_between(e, "n", "0", "$N");
        loop_between(e, "kb", "0", "$KB");
            line(e, "vec q = choose(lane + splat(kb * L) == splat(labels[n]), splat(1), zero);");
            when(e, "target");
                loop_between(e, "l", "0", "L");
                    line(e, "q[l] = kb * L + l < $K ? wanted(target, labels, n, kb * L + l, $K) : 0;");
            end(e, 2);
            store_pixel(e, kernel, "dX", "(load(&P[n][kb * L]) - q) / splat($N)", "n", "kb", "0", "0");
    end(e, 2);
}

static const FastKernel forward = {.name = "rows", .fits = is_aligned, .plan = plan_loss, .body = loss_forward_body};
static const FastKernel backward = {.name = "rows", .plan = plan_rows, .body = loss_backward_body};

const FastKernel *const loss_forward_families[] = {&forward, NULL};
const FastKernel *const loss_backward_families[] = {&backward, NULL};

/* ---- softmax of flat features ------------------------------------------------------------------------------------ */

static bool is_flat(const Kernel *k, const Target *target)
{
    return k->layer->output.rank == 1 && (!has_operand(k, "X") || is_aligned(k, target));
}

static void softmax_body(Emitter *e, const Kernel *kernel)
{
    Classes c = let_classes(e, kernel, "X");
    if (c.left)
        declare_lane_numbers(e, kernel);
    parallel(e);
    loop_between(e, "n", "0", "$N");
        write_exponentials(e, c, "Y");
        loop_between(e, "kb", "0", "$KB");
            line(e, "store(&Y[n][kb * L], load(&Y[n][kb * L]) / splat(sum));");
    end(e, 2);
}

static void softmax_grad_input_body(Emitter *e, const Kernel *kernel)
{
    let_classes(e, kernel, "Y");
    parallel(e);
    loop_between(e, "n", "0", "$N");
        line(e, "vec total = zero;");
        loop_between(e, "kb", "0", "$KB");
            line(e, "total += load(&dY[n][kb * L]) * load(&Y[n][kb * L]);");
        end(e, 1);
        line(e, "const real sum = sum_lanes(total);");
        loop_between(e, "kb", "0", "$KB");
            store_pixel(e, kernel, "dX", "load(&Y[n][kb * L]) * (load(&dY[n][kb * L]) - splat(sum))", "n", "kb", "0",
                        "0");
    end(e, 2);
}

static const FastKernel softmax = {.name = "rows", .fits = is_flat, .plan = plan_rows, .body = softmax_body};
static const FastKernel softmax_grad_input = {
    .name = "rows", .fits = is_flat, .plan = plan_rows, .body = softmax_grad_input_body};

const FastKernel *const softmax_forward_families[] = {&softmax, NULL};
const FastKernel *const softmax_grad_input_families[] = {&softmax_grad_input, NULL};
