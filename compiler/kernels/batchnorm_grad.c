/* batchnorm_grad.c - gradients of batch normalisation for blocked pictures and for rows.
 *
 * Ioffe and Szegedy 2015, section 3. The gradient of X needs the sums over dY and dY * (X - mean), which are the
 * gradients of shift and scale: X and dY are read twice. One kernel does both, group by group of channel blocks, so
 * that the second time they come from cache:
 *
 *   grad              reads X, dY, writes dX           3 tensors through memory (5 if a group outgrows the cache)
 *     with FUSE_GATE  the same, and the gradient of the ReLU behind is taken on the way: its own kernel would read two
 *                     tensors and write one. Where it let values pass is found from X as the forward pass found it
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

/* The vectors of a block of channels; `needs_scale`: for dX. */
static void load_channels(Emitter *e, const Kernel *k, bool needs_scale)
{
    line(e, "const vec m = load(&mean[cb * L]);");
    if (needs_scale || is_gated(k))
        line(e, "const vec scales = load(&scale[cb * L]) * load(&inverse_deviation[cb * L]);");
    if (is_gated(k))
        line(e, "const vec shifts = load(&shift[cb * L]);");
    let(e, "d", is_gated(k) ? "where_positive(x * scales + shifts, load(%s))" : "load(%s)", substitute(e, "$dy"));
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

enum { ACCUMULATORS = 4 };              /* pairs of sums along a row: enough to hide the latency of an addition      */

static void add_pixel(Emitter *e, const char *t)
{
    let(e, "t", "%s", t);
    line(e, "const vec x = load($x) - m, d = $d;");
    line(e, "sum[$t] += d;");
    line(e, "product[$t] += d * x;");
}

/* Adds row i of the plane to `total` and `products`. */
static void sum_row(Emitter *e, const Kernel *k)
{
    const int64_t columns = planes_of(k).columns, whole = columns / ACCUMULATORS * ACCUMULATORS;
    if (columns == 1) {
        line(e, "const vec x = load($x) - m, d = $d;");
        line(e, "total += widen(d);");
        line(e, "products += widen(d * x);");
        return;
    }
    line(e, "vec sum[4] = {zero, zero, zero, zero}, product[4] = {zero, zero, zero, zero};");
    if (whole > 0) {
        step_loop(e, "column", whole, ACCUMULATORS);
            unrolled(e, "t", ACCUMULATORS);
                line(e, "const int j = column + t;");
                add_pixel(e, "t");
        end(e, 2);
    }
    if (whole < columns) {
        let_int(e, "whole", whole);
        let_int(e, "columns", columns);
        loop_between(e, "j", "$whole", "$columns");
            add_pixel(e, "0");
        end(e, 1);
    }
    line(e, "total += widen((sum[0] + sum[1]) + (sum[2] + sum[3]));");
    line(e, "products += widen((product[0] + product[1]) + (product[2] + product[3]));");
}

/* partial: sums over each plane of dY and of dY * (X - mean). */
static void sum_planes(Emitter *e, const Kernel *k)
{
    int depth = loop_planes(e, k);
        load_channels(e, k, false);
        line(e, "wide total = {0}, products = {0};");
        loop(e, "i", planes_of(k).rows);
            sum_row(e, k);
        end(e, 1);
        line(e, "store($partial[0], narrow(total));");
        line(e, "store($partial[1], narrow(products));");
    end(e, depth);
}

static void merge_sums(Emitter *e, const Kernel *k)
{
    comment(e, "From the planes to the channels: the gradients of shift and scale.");
    int depth = loop_blocks(e, k);
        line(e, "wide total = {0}, products = {0};");
        if (!planes_of(k).flat)
            loop(e, "n", planes_of(k).images);
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
        load_channels(e, k, true);
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
