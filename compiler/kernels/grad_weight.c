/* grad_weight.c - direct weight gradient of a convolution on blocked pictures: the code of a plan (grad_weight.h).
 *
 * Requires: X with the convolution's padding as its border; one group, or groups of whole blocks. Establishes: dW, with
 * zeros in its spare lanes because those of X and dY hold zeros.
 */
#include "../unit.h"
#include "grad_weight.h"

static bool fits(const Kernel *k, const Target *target)
{
    const int64_t *weight = k->layer->param[0].dim, groups = conv_groups(k->layer);
    return groups == 1 || (weight[1] % target->lanes == 0 && weight[0] / groups % target->lanes == 0);
}

/* Of X: what of the padding the windows reach. */
static Border border(const Kernel *k, const Operand *o)
{
    Border b = {0, 0, 0, 0};
    if (o->role[0] != 'X')
        return b;
    Window w;
    conv_window(k->layer, &w);
    int64_t beyond[2];
    for (int d = 0; d < 2; d++)
        beyond[d] = (w.out[d] - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] + 1 - w.before[d] - w.in[d];
    return (Border){w.before[0], beyond[0] > 0 ? beyond[0] : 0, w.before[1], beyond[1] > 0 ? beyond[1] : 0};
}

/* ---- body: names ------------------------------------------------------------------------------------------------- */

/* "i * 2 + r * 3 - 1": the input row (or column) under a tap; tap "0": the only one. */
static const char *under_tap(Emitter *e, const Window *w, int d, const char *at, const char *tap)
{
    return sum_text(e, times(e, at, w->stride[d]), tap, tap[0] == '0' ? 0 : w->dilation[d], -w->before[d]);
}

/* Binds how filters, channels and taps are numbered inside a tile: $filter, $cb, $xb, $r, $s, $c. */
static void let_places(Emitter *e, const GradWeight *p, const GradWeightPlan *plan)
{
    const GradWeightTile *t = &plan->tile;
    const char *kb = plan->blocks > t->blocks ? "kg + kb" : "kb", *cb = plan->channels > 1 ? "cg + cb" : "cb";
    let(e, "filter", t->blocks > 1 ? "%s + v" : "%s", kb);
    let(e, "cb", "%s", cb);
    let(e, "xb", "%s", cb);
    if (p->groups > 1)
        let(e, "xb", plan->blocks > t->blocks ? "(%s) / %lld * %lld + %s" : "%s / %lld * %lld + %s", kb,
            (long long)p->filters, (long long)p->channels, cb);
    let(e, "r", p->w.kernel[0] > 1 ? "r" : "0");
    let(e, "s", p->w.kernel[1] > 1 ? "s" : "0");
    let(e, "c", p->inner == 1 ? "0" : t->channels == 1 ? "c" : t->channels == p->inner ? "t" : "c + t");
}

/* Binds $sum, one sum of the tile, and $sums, the declaration of all, set to zero. */
static void let_sums(Emitter *e, const GradWeightTile *t)
{
    Arena *arena = emitter_arena(e);
    const int64_t sizes[4] = {t->blocks, t->rows, t->columns, t->channels};
    const char *const letters[4] = {"v", "r", "s", "t"};
    const char *sum = "sum", *sums = "sum", *open = "", *close = "";
    for (int d = 0; d < 4; d++)
        if (sizes[d] > 1) {
            sum = arena_printf(arena, "%s[%s]", sum, letters[d]);
            sums = arena_printf(arena, "%s[%lld]", sums, (long long)sizes[d]);
            open = arena_printf(arena, "%s{", open);
            close = arena_printf(arena, "%s}", close);
        }
    let(e, "sum", "%s", sum);
    let(e, "sums", "vec %s = %szero%s;", sums, open, close);
}

/* ---- body: loops ------------------------------------------------------------------------------------------------- */

static int open_vectors(Emitter *e, const GradWeightTile *t)
{
    if (t->blocks == 1)
        return 0;
    unrolled(e, "v", t->blocks);
    return 1;
}

/* The loops over a tile's taps and channels; their number. */
static int open_elements(Emitter *e, const GradWeightTile *t)
{
    const struct { const char *variable; int64_t count; } loops[] = {
        {"r", t->rows}, {"s", t->columns}, {"t", t->channels},
    };
    int depth = 0;
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (loops[i].count > 1) {
            unrolled(e, loops[i].variable, loops[i].count);
            depth++;
        }
    return depth;
}

/* What the tile will need of the next block of pixels: each tile fetches it a little, so memory is never waited for. */
static void prefetch_ahead(Emitter *e, const Kernel *k, const GradWeight *p, const GradWeightPlan *plan)
{
    const GradWeightTile *t = &plan->tile;
    bool whole = plan->row_blocks == 1;
    const char *n = whole ? "n + ahead" : "n", *i = whole ? "i" : "i + ahead";
    const char *scaled = whole || p->w.stride[0] == 1 ? i : "(i + ahead)";
    const char *row = under_tap(e, &p->w, 0, scaled, t->rows > 1 ? "0" : substitute(e, "$r"));
    for (int64_t s = 0; s < least(p->w.stride[1], p->w.kernel[1]); s++) {
        const char *column = under_tap(e, &p->w, 1, "j", arena_printf(emitter_arena(e), "%lld", (long long)s));
        let(e, "next", "%s", pixel(e, k, "X", n, substitute(e, "$xb"), row, column));
        line(e, "prefetch($next);");
    }
    let(e, "next", "%s", pixel(e, k, "dY", n, substitute(e, "$filter"), i, "j"));
    int depth = open_vectors(e, t);
        line(e, "prefetch($next);");
    end(e, depth);
}

/* All products of one pixel. */
static void add_pixel(Emitter *e, const Kernel *k, const GradWeight *p, const GradWeightPlan *plan)
{
    const GradWeightTile *t = &plan->tile;
    let(e, "dy", "%s", pixel(e, k, "dY", "n", substitute(e, "$filter"), "i", "j"));
    let(e, "x", "%s[%s]", pixel(e, k, "X", "n", substitute(e, "$xb"), under_tap(e, &p->w, 0, "i", substitute(e, "$r")),
                                under_tap(e, &p->w, 1, "j", substitute(e, "$s"))), substitute(e, "$c"));
    if (plan->pixel_blocks > 1)
        prefetch_ahead(e, k, p, plan);
    line(e, t->blocks > 1 ? "vec dy[$blocks];" : "const vec dy = load($dy);");
    int depth = open_vectors(e, t);
        if (depth)
            line(e, "dy[v] = load($dy);");
    end(e, depth);
    depth = open_elements(e, t);
        line(e, "const vec x = splat($x);");
        int inside = open_vectors(e, t);
            line(e, t->blocks > 1 ? "$sum += dy[v] * x;" : "$sum += dy * x;");
    end(e, depth + inside);
}

/* Several blocks of pixels are added up in dW itself, and the last of them completes it. */
static bool learns_at_last(const Kernel *k, const GradWeightPlan *plan)
{
    return k->fuses & FUSE_SGD && plan->chunks == 1 && plan->pixel_blocks > 1;
}

static void store_sum(Emitter *e, const Kernel *k, const GradWeightPlan *plan)
{
    if (plan->chunks == 1 && plan->pixel_blocks == 1) {
        store_gradient(e, k, "$T[$filter][$cb][$r][$s][$c]", "$sum");
        return;
    }
    line(e, "real *w = $dW[$filter][$cb][$r][$s][$c];");
    if (learns_at_last(k, plan))
        line(e, "learn(w, W[$filter][$cb][$r][$s][$c], velocity[$filter][$cb][$r][$s][$c], "
                "first ? $sum : load(w) + $sum, last);");
    else
        line(e, plan->pixel_blocks > 1 ? "store(w, first ? $sum : load(w) + $sum);" : "store(w, $sum);");
}

/* One tile over one block of pixels. */
static void add_tile(Emitter *e, const Kernel *k, const GradWeight *p, const GradWeightPlan *plan)
{
    const GradWeightTile *t = &plan->tile;
    line(e, "$sums");
    bool whole = plan->row_blocks == 1;
    if (plan->images > 1)
        loop_between(e, "n", "$first_image", "$last_image");
    loop_between(e, "i", whole ? "0" : "top", whole ? "$height" : "bottom");
        loop(e, "j", p->w.out[1]);
            add_pixel(e, k, p, plan);
    end(e, 2 + (plan->images > 1));
    int depth = open_vectors(e, t);
    depth += open_elements(e, t);
        store_sum(e, k, plan);
    end(e, depth);
}

/* The tiles of a task, each over the same block of pixels. */
static void add_block(Emitter *e, const Kernel *k, const GradWeight *p, const GradWeightPlan *plan)
{
    const GradWeightTile *t = &plan->tile;
    const struct { const char *variable; int64_t count, step; } loops[] = {
        {"kb", plan->blocks, t->blocks},
        {"cb", plan->channels, 1},
        {"r", p->w.kernel[0], t->rows},
        {"s", p->w.kernel[1], t->columns},
        {"c", p->inner, t->channels},
    };
    int depth = 0;
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (loops[i].count > loops[i].step) {
            step_loop(e, loops[i].variable, loops[i].count, loops[i].step);
            depth++;
        }
    add_tile(e, k, p, plan);
    end(e, depth);
}

/* Opens the loop over a task's blocks of pixels and says which rows or pictures a block holds; the number of loops. */
static int open_pixels(Emitter *e, const Kernel *k, const GradWeight *p, const GradWeightPlan *plan)
{
    let_int(e, "pixel_blocks", plan->pixel_blocks);
    let_int(e, "chunks", plan->chunks);
    let(e, "start", "%s", plan->chunks > 1 ? substitute(e, "chunk * $pixel_blocks / $chunks") : "0");
    let(e, "stop", "%s", substitute(e, plan->chunks > 1 ? "(chunk + 1) * $pixel_blocks / $chunks" : "$pixel_blocks"));
    let(e, "first_image", "0");
    let_int(e, "last_image", p->batch);
    if (plan->pixel_blocks == 1) {
        if (plan->images == 1)
            line(e, "const int n = 0;");
        return 0;
    }
    const char *block = plan->row_blocks == 1 && plan->images == 1 ? "n" : "block";
    let(e, "block", "%s", block);
    loop_between(e, block, "$start", "$stop");
    line(e, "const int first = $block == $start;");
    if (learns_at_last(k, plan))
        line(e, "const cnn_rule *last = $block + 1 == $stop ? rule : NULL;");
    if (plan->row_blocks > 1) {
        line(e, "const int n = block / $row_blocks, top = block % $row_blocks * $rows;");
        line(e, p->w.out[0] % plan->rows ? "const int bottom = top + $rows < $height ? top + $rows : $height;"
                                         : "const int bottom = top + $rows;");
        line(e, "const int ahead = bottom + $rows <= $height ? $rows : 0;        /* rows to the next block */");
    } else if (plan->images > 1) {
        let(e, "first_image", "from");
        let(e, "last_image", "to");
        line(e, "const int from = block * $images;");
        line(e, p->batch % plan->images ? "const int to = from + $images < $N ? from + $images : $N;"
                                        : "const int to = from + $images;");
        line(e, "const int ahead = to + $images <= $N ? $images : 0;        /* pictures to the next block */");
    } else {
        line(e, "const int ahead = n + 1 < $N;        /* pictures to the next block */");
    }
    return 1;
}

/* dW = the chunks' sums, added in order. */
static void add_chunks(Emitter *e, const Kernel *k, const GradWeight *p)
{
    int64_t taps = p->w.kernel[0] * p->w.kernel[1];
    comment(e, "dW: the chunks' sums, added in order");
    parallel(e);
    step_loop(e, "w", p->groups * p->filters * p->channels * taps * p->inner * p->lanes, p->lanes);
        line(e, "vec sum = load(&partial[0][w]);");
        loop_between(e, "chunk", "1", "$chunks");
            line(e, "sum += load(&partial[chunk][w]);");
        end(e, 1);
        store_gradient(e, k, "(real *)$T + w", "sum");
    end(e, 1);
}

static void body(Emitter *e, const Kernel *k)
{
    const GradWeightPlan *plan = k->schedule.more;
    GradWeight p = grad_weight_of(k, operand_of(k, "dY")->tensor->layout.lanes);
    let_int(e, "height", p.w.out[0]);
    let_int(e, "rows", plan->rows);
    let_int(e, "row_blocks", plan->row_blocks);
    let_int(e, "images", plan->images);
    let_int(e, "blocks", plan->tile.blocks);
    let_int(e, "R", p.w.kernel[0]);
    let_int(e, "S", p.w.kernel[1]);
    let_int(e, "inner", p.inner);
    let_int(e, "CB", p.channels);
    let(e, "dW", plan->chunks > 1 ? "part" : "dW");
    let_places(e, &p, plan);
    let_sums(e, &plan->tile);
    let_int(e, "task_blocks", plan->blocks);
    let_int(e, "task_channels", plan->channels);
    comment(e, "a task: $task_blocks blocks of filters x $task_channels of input channels");
    parallel_over(e, plan->chunks > 1 ? 3 : 2);
    if (plan->chunks > 1)
        loop(e, "chunk", plan->chunks);
    step_loop(e, plan->blocks > plan->tile.blocks ? "kg" : "kb", p.groups * p.filters, plan->blocks);
        step_loop(e, plan->channels > 1 ? "cg" : "cb", p.channels, plan->channels);
            if (plan->chunks > 1)
                line(e, "real (*part)[$CB][$R][$S][$inner][$L] = (void *)partial[chunk];");
            int depth = open_pixels(e, k, &p, plan);
                add_block(e, k, &p, plan);
    end(e, depth + 2 + (plan->chunks > 1));
    if (plan->chunks > 1)
        add_chunks(e, k, &p);
}

const FastKernel direct_grad_weight = {
    .name = "direct", .fuses = FUSE_SGD, .fits = fits, .plan = plan_grad_weight, .border = border, .body = body,
};
