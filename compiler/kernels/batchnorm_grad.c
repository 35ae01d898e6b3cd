/* batchnorm_grad.c - gradients of batch normalisation for blocked pictures and for rows.
 *
 * Ioffe and Szegedy 2015, section 3. The gradient of X needs the sums over dY and dY * (X - mean), which are the
 * gradients of shift and scale: X and dY are read twice. One kernel does both, group by group of channel blocks, so
 * that the second time they come from cache:
 *
 *   grad              reads X, dY, writes dX           3 tensors through memory (5 if a group outgrows the cache)
 *     with FUSE_GATE  the same, and the gradient of the ReLU behind is taken on the way: its own kernel would read two
 *                     tensors and write one. Where it let values pass is found from X as the forward pass found it
 *     behind a kernel that stored `partial` (FUSE_SUMS): the same 3, and that kernel reads X once more
 *     in place of dY  the same, without reading what it overwrites
 *   grad_scale        reads X, dY                      2, where nothing before this layer learns
 *
 * Requires: X, dY in vectors of L channels, mean and inverse_deviation from training's forward pass. Establishes:
 * dscale, dshift; dX with zero border and spare lanes (scale is 0 there). Sums are floats along a row, double from row
 * to row, and merged in order of the images.
 */
#include "batchnorm.h"

static bool is_gated(const Kernel *k)
{
    return (k->fuses & FUSE_GATE) != 0;
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

/* partial: sums over each plane of dY and of dY * (X - mean). */
static void sum_planes(Emitter *e, const Kernel *k)
{
    int depth = loop_planes(e, k);
        sums_of_plane(e, k, "dY", "", "n", "cb");
    end(e, depth);
}

/* True when the kernel that made dY has stored the sums. */
static bool has_sums(const Kernel *k)
{
    return operand_of(k, "partial")->access == OPERAND_READ;
}

static void merge_sums(Emitter *e, const Kernel *k)
{
    const int64_t pieces = operand_of(k, "partial")->tensor->dim[0];
    comment(e, "From the planes to the channels: the gradients of shift and scale.");
    int depth = loop_blocks(e, k);
        line(e, "wide total = {0}, products = {0};");
        if (!planes_of(k).flat)
            loop(e, "n", pieces);
        line(e, "total += widen(load($partial[0]));");
        line(e, "products += widen(load($partial[1]));");
        if (!planes_of(k).flat)
            end(e, 1);
        line(e, "store(&dshift[cb * L], narrow(total));");
        line(e, "store(&dscale[cb * L], narrow(products * widen(load(&inverse_deviation[cb * L]))));");
        if (has_operand(k, "sums")) {
            line(e, "store(sums[cb][0], load(&dshift[cb * L]));");
            line(e, "store(sums[cb][1], load(&dscale[cb * L]));");
        }
    end(e, depth);
    if (has_operand(k, "sums"))
        line(e, "const int ranks = sum_ranks(exchange, sums[$first][0], 2 * ($last - $first) * L);");
}

static void grad_scale_body(Emitter *e, const Kernel *k)
{
    let_planes(e, k);
    loop_groups(e, k);
    sum_planes(e, k);
    merge_sums(e, k);
}

static void plan_grad_scale(Program *p, Kernel *k)
{
    add_partial(p, k);
    plan_groups(p, k, 0);
}

/* ---- all three gradients ----------------------------------------------------------------------------------------- */

static void apply(Emitter *e, const Kernel *k)
{
    comment(e, "dX; normal * dscale = (X - mean) * (inverse_deviation * dscale).");
    int depth = loop_planes(e, k);
        line(e, "const vec m = load(&mean[cb * L]), scales = load(&scale[cb * L]) * load(&inverse_deviation[cb * L]);");
        if (is_gated(k))
            line(e, "const vec shifts = load(&shift[cb * L]);");
        let(e, "d", is_gated(k) ? "where_positive(x * scales + shifts, load(%s))" : "load(%s)", substitute(e, "$dy"));
        let(e, "dshift", has_operand(k, "sums") ? "sums[cb][0]" : "&dshift[cb * L]");
        let(e, "dscale", has_operand(k, "sums") ? "sums[cb][1]" : "&dscale[cb * L]");
        line(e, "const vec a = load($dshift) / splat($all);");
        line(e, "const vec b = load($dscale) * load(&inverse_deviation[cb * L]) / splat($all);");
        int pixels = loop_pixels_of(e, k);
            line(e, "const vec x = load($x) - m, d = $d;");
            store_pixel(e, k, "dX", "scales * (d - a - x * b)", substitute(e, "$n"), "cb", "i", substitute(e, "$j"));
        end(e, pixels);
        clear_border(e, k, "dX", "n", "cb");
        finish_stores(e, k, "dX");
    end(e, depth);
}

static void grad_body(Emitter *e, const Kernel *k)
{
    let_planes(e, k);
    int groups = loop_groups(e, k);
        if (groups)
            comment(e, "A group of channel blocks: it is still in cache when it is read for the second time.");
        if (!has_sums(k))
            sum_planes(e, k);
        merge_sums(e, k);
        apply(e, k);
    end(e, groups);
}

/* For one of several processes: the gradients of shift and scale, which are then summed over all ranks for dX. */
static void plan_grad(Program *p, Kernel *k)
{
    const int64_t L = p->target->lanes;
    add_partial(p, k);
    if (k->layer->graph->exchanges)
        scratch_of(p, k, "sums", 3, (int64_t[]){blocks_of(k->layer->output.dim[0], (int)L), 2, L});
    plan_groups(p, k, 2);
}

static const FastKernel grad_scale = {
    .name = "planes", .any_picture = true, .fuses = FUSE_GATE, .plan = plan_grad_scale, .body = grad_scale_body};
static const FastKernel grad = {
    .name = "planes", .any_picture = true, .fuses = FUSE_MASK | FUSE_GATE, .in_place = true, .plan = plan_grad,
    .body = grad_body};
const FastKernel *const batchnorm_grad_scale_families[] = {&grad_scale, NULL};
const FastKernel *const batchnorm_grad_families[] = {&grad, NULL};
