/* batchnorm.c - batch normalisation of blocked pictures and of rows: training's forward pass, prediction, folding.
 *
 * Ioffe and Szegedy 2015, algorithm 1. All of it is bound by memory, so what counts is how often a tensor passes
 * through it. A training step reads X for the statistics and again to apply them; the channels are worked in groups
 * of blocks that stay in cache between the two, so that X comes from memory once:
 *
 *   forward_train     reads X, writes Y                2 tensors through memory (3 if a group outgrows the cache)
 *     behind a convolution that stored `partial` (FUSE_STATS): the same 2, and no first pass
 *   forward_predict   reads X, writes Y                2; none where a convolution takes it over (batchnorm_fold)
 *
 * An output larger than the last cache is stored past it, which saves reading what it overwrites.
 *
 * Requires: X in vectors of L channels (pictures or rows). Establishes: Y likewise, border and spare lanes zero; mean
 * and inverse_deviation, zero in spare lanes; running statistics.
 *
 * Statistics are taken a plane (an image's block of channels) at a time, or by convolutions a piece of the batch at a
 * time, and merged in a fixed order by the formula of Chan, Golub and LeVeque 1983, "Algorithms for computing the
 * sample variance", equation 2.1b. So they depend neither on the number of threads nor on the groups.
 */
#include "batchnorm.h"

/* ---- planes and groups ------------------------------------------------------------------------------------------- */

Planes planes_of(const Kernel *k)
{
    const Layer *l = k->layer;
    const Shape *s = &l->output;
    const int64_t N = l->graph->batch, blocks = blocks_of(s->dim[0], operand_of(k, "X")->tensor->layout.lanes);
    return s->rank == 3 ? (Planes){false, s->dim[0], blocks, N, s->dim[1], s->dim[2]}
                        : (Planes){true, s->dim[0], blocks, 1, N, 1};
}

/* The text of pixel i, j of the plane's operand. */
static const char *plane_pixel(Emitter *e, const Kernel *k, const char *role)
{
    Planes p = planes_of(k);
    return pixel(e, k, role, p.flat ? "i" : "n", "cb", "i", p.columns == 1 ? "0" : "j");
}

void let_planes(Emitter *e, const Kernel *k)
{
    Planes p = planes_of(k);
    let_batchnorm(e, k);
    let_int(e, "C", p.channels);
    let_int(e, "images", p.images);
    let_int(e, "plane", p.rows * p.columns);
    let(e, "n", p.flat ? "i" : "n");
    let(e, "j", p.columns == 1 ? "0" : "j");
    let(e, "partial", p.flat ? "partial[0][cb]" : "partial[n][cb]");
    let(e, "x", "%s", plane_pixel(e, k, "X"));
    if (has_operand(k, "dY"))
        let(e, "dy", "%s", plane_pixel(e, k, "dY"));
}

int loop_groups(Emitter *e, const Kernel *k)
{
    Planes p = planes_of(k);
    const int64_t group = k->schedule.blocks;
    bool several = group > 0 && group < p.blocks;
    let(e, "first", several ? "group" : "0");
    let(e, "last", several ? "group + %lld" : "%lld", (long long)(several ? group : p.blocks));
    if (several)
        step_loop(e, "group", p.blocks, group);
    return several;
}

int loop_planes(Emitter *e, const Kernel *k)
{
    Planes p = planes_of(k);
    parallel_over(e, p.flat ? 1 : 2);
    if (!p.flat)
        loop(e, "n", p.images);
    loop_between(e, "cb", "$first", "$last");
    return p.flat ? 1 : 2;
}

int loop_blocks(Emitter *e, const Kernel *k)
{
    (void)k;
    parallel(e);
    loop_between(e, "cb", "$first", "$last");
    return 1;
}

int loop_pixels_of(Emitter *e, const Kernel *k)
{
    Planes p = planes_of(k);
    loop(e, "i", p.rows);
    if (p.columns > 1)
        loop(e, "j", p.columns);
    return p.columns > 1 ? 2 : 1;
}

void add_partial(Program *program, Kernel *k)
{
    const int64_t L = program->target->lanes, N = k->layer->graph->batch;
    const Shape *s = &k->layer->output;
    scratch_of(program, k, "partial", 4,
               (int64_t[]){s->rank == 3 ? N : 1, blocks_of(s->dim[0], (int)L), 2, L});
}

/* Groups are equal, so that each is the same code: the largest divisor of the number of blocks whose inputs fill no
 * more than half of the last cache, where they stay until the second pass. */
void plan_groups(Program *program, Kernel *k, int tensors)
{
    const Shape *s = &k->layer->output;
    const int64_t L = program->target->lanes, blocks = blocks_of(s->dim[0], (int)L);
    const int64_t pixels = k->layer->graph->batch * (s->rank == 3 ? s->dim[1] * s->dim[2] : 1);
    int64_t group = blocks;
    while (group > 1 && (blocks % group != 0 || group * pixels * L * 4 * tensors > program->target->l3 / 2))
        group--;
    k->schedule.blocks = (int)group;
    k->schedule.twice = group * pixels * L * 4 * tensors;
    k->schedule.streams = blocks * pixels * L * 4 > program->target->l3;
    k->schedule.text = arena_printf(program->arena, "shared among threads, %lld of %lld blocks of channels at a time",
                                    (long long)group, (long long)blocks);
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

/* True when the convolution before has stored the planes' statistics. */
static bool has_statistics(const Kernel *k)
{
    return operand_of(k, "partial")->access == OPERAND_READ;
}

Tensor *leave_partial(Kernel *k, int64_t pieces)
{
    const bool forward = has_operand(k, "Y");
    k->schedule.blocks = 0;
    k->schedule.text = forward ? "shared among threads; the convolution has stored the statistics"
                               : "shared among threads; the kernel that made dY has stored the sums";
    Tensor *partial = operand_of(k, "partial")->tensor;
    for (int i = 0; i < k->operand_count; i++)
        if (k->operand[i].tensor == partial)
            k->operand[i].access = OPERAND_READ;
    if (pieces) {
        partial->dim[0] = pieces;
        partial->dim[2] = forward ? 3 : 2;
    }
    return partial;
}

/* Mean and squares about it of the channel's values, from those of its planes, which are equal in size, or of its
 * pieces, which say how many pixels they have: squares = sum of squares_n + pixels_n * (mean_n - mean)^2. */
static void merge_statistics(Emitter *e, const Kernel *k)
{
    const int64_t *dim = operand_of(k, "partial")->tensor->dim;
    if (dim[0] == 1) {
        line(e, "const wide m = widen(load(partial[0][cb][0])), squares = widen(load(partial[0][cb][1]));");
        return;
    }
    const bool counted = dim[2] == 3;
    line(e, "wide m = {0}, squares = {0};");
    loop(e, "n", dim[0]);
        line(e, counted ? "m += widen(load($partial[2])) * widen(load($partial[0]));"
                        : "m += widen(load($partial[0]));");
    end(e, 1);
    line(e, counted ? "m /= $M.0;" : "m /= $images.0;");
    let(e, "pixels", "%s", substitute(e, counted ? "widen(load($partial[2]))" : "$plane.0"));
    loop(e, "n", dim[0]);
        line(e, "const wide apart = widen(load($partial[0])) - m;");
        line(e, "squares += widen(load($partial[1])) + $pixels * apart * apart;");
    end(e, 1);
}

/* Ends the loop over blocks that found m and squares, and begins another in which they are those of all ranks. */
static void merge_over_ranks(Emitter *e)
{
        line(e, "store(&mean[cb * L], narrow(m));");
        line(e, "store(&inverse_deviation[cb * L], narrow(squares));");
    end(e, 1);
    line(e, "const int ranks = merge_ranks(exchange, &mean[$first * L], &inverse_deviation[$first * L],");
    line(e, "                              ($last - $first) * L, $M);");
    parallel(e);
    loop_between(e, "cb", "$first", "$last");
        line(e, "const wide m = widen(load(&mean[cb * L])), squares = widen(load(&inverse_deviation[cb * L]));");
}

static void write_channels(Emitter *e, const Kernel *k)
{
    Planes p = planes_of(k);
    bool spare = p.channels < p.blocks * operand_of(k, "X")->tensor->layout.lanes;
    if (k->layer->graph->exchanges)
        merge_over_ranks(e);
    loop(e, "l", operand_of(k, "X")->tensor->layout.lanes);
        line(e, "const int c = cb * L + l;");
        line(e, "mean[c] = m[l];");
        line(e, spare ? "inverse_deviation[c] = c < $C ? 1 / sqrt(squares[l] / $all + eps) : 0;"
                      : "inverse_deviation[c] = 1 / sqrt(squares[l] / $all + eps);");
        line(e, "running_mean[c] = (1 - momentum) * running_mean[c] + momentum * m[l];");
        line(e, "running_var[c] = (1 - momentum) * running_var[c] + momentum * squares[l] / $others;");
    end(e, 1);
}

/* Y of one plane, with m, scales and shifts of its channels at hand. */
static void apply_plane(Emitter *e, const Kernel *k)
{
    int pixels = loop_pixels_of(e, k);
        store_pixel(e, k, "Y", "(load($x) - m) * scales + shifts", substitute(e, "$n"), "cb", "i", substitute(e, "$j"));
    end(e, pixels);
    clear_border(e, k, "Y", "n", "cb");
    finish_stores(e, k, "Y");
}

static void apply(Emitter *e, const Kernel *k)
{
    int depth = loop_planes(e, k);
        line(e, "const vec m = load(&mean[cb * L]), shifts = load(&shift[cb * L]);");
        line(e, "const vec scales = load(&scale[cb * L]) * load(&inverse_deviation[cb * L]);");
        apply_plane(e, k);
    end(e, depth);
}

static void train_body(Emitter *e, const Kernel *k)
{
    int depth, groups;
    let_planes(e, k);
    line(e, "const double eps = $eps, momentum = $momentum;");
    if (has_statistics(k))
        comment(e, "The convolution has stored each plane's mean and squares about it.");
    groups = loop_groups(e, k);
        if (groups)
            comment(e, "A group of channel blocks: it is still in cache when it is read for the second time.");
        if (!has_statistics(k)) {
            depth = loop_planes(e, k);
                statistics_of_plane(e, k, "X", "n", "cb");
            end(e, depth);
        }
        comment(e, "From the planes to the channels, in double precision, L channels at a time.");
        depth = loop_blocks(e, k);
            merge_statistics(e, k);
            write_channels(e, k);
            when(e, "cb == 0");
                line(e, "num_batches_tracked[0] += 1;");
            end(e, 1);
        end(e, depth);
        comment(e, "Apply.");
        apply(e, k);
    end(e, groups);
}

static void plan_train(Program *p, Kernel *k)
{
    add_partial(p, k);
    plan_groups(p, k, 1);
}

static const FastKernel train = {
    .name = "planes", .any_picture = true, .fuses = FUSE_ADD | FUSE_RELU, .in_place = true, .plan = plan_train,
    .body = train_body};
const FastKernel *const batchnorm_train_families[] = {&train, NULL};

/* The backward pass may want Y again when it has been forgotten (recompute.c). */
static void apply_body(Emitter *e, const Kernel *k)
{
    let_planes(e, k);
    loop_groups(e, k);
    apply(e, k);
}

static const FastKernel apply_again = {
    .name = "planes", .any_picture = true, .fuses = FUSE_ADD | FUSE_RELU, .body = apply_body};
const FastKernel *const batchnorm_apply_families[] = {&apply_again, NULL};

/* ---- prediction -------------------------------------------------------------------------------------------------- */

static void predict_body(Emitter *e, const Kernel *k)
{
    Planes p = planes_of(k);
    const int lanes = operand_of(k, "X")->tensor->layout.lanes;
    let_planes(e, k);
    loop_groups(e, k);
    line(e, "const double eps = $eps;");
    int depth = loop_planes(e, k);
        line(e, "const vec m = load(&running_mean[cb * L]), shifts = load(&shift[cb * L]);");
        line(e, "vec scales = zero;");
        loop(e, "l", p.channels < lanes ? p.channels : lanes);
            if (p.channels > lanes && p.channels % lanes != 0)
                when(e, "cb * L + l < $C");
            line(e, "scales[l] = scale[cb * L + l] / sqrt(running_var[cb * L + l] + eps);");
            if (p.channels > lanes && p.channels % lanes != 0)
                end(e, 1);
        end(e, 1);
        apply_plane(e, k);
    end(e, depth);
}

static void plan_predict(Program *p, Kernel *k)
{
    plan_groups(p, k, 0);
}

static const FastKernel predict = {
    .name = "planes", .any_picture = true, .fuses = FUSE_ADD | FUSE_RELU, .in_place = true, .plan = plan_predict,
    .body = predict_body};
const FastKernel *const batchnorm_predict_families[] = {&predict, NULL};

/* ---- folding into a convolution ---------------------------------------------------------------------------------- */

/* A few hundred channels: one thread does it, and writes zeros in the spare lanes. */
static void fold_body(Emitter *e, const Kernel *k)
{
    const int lanes = operand_of(k, "fold_scale")->tensor->layout.lanes;
    const int64_t channels = k->layer->output.dim[0];
    k->def->textbook(e, k);
    if (channels % lanes == 0)
        return;
    let_int(e, "padded", blocks_of(channels, lanes) * lanes);
    parallel(e);
    loop_between(e, "c", "$C", "$padded");
        line(e, "fold_scale[c] = fold_shift[c] = 0;");
    end(e, 1);
}

static const FastKernel fold = {.name = "channels", .body = fold_body};
const FastKernel *const batchnorm_fold_families[] = {&fold, NULL};
